"""The server's side of the lifespan protocol, as a service: it starts an application up, and shuts it down.

Theory: an application is called once for its whole life, with a scope of type "lifespan". It is told to start up and
answers that it has, or that it failed; much later it is told to shut down. So the call is a task, the answer to the start-up
ends the start of the service, and the shut-down is its stop.

An application may have no lifespan: it raises an error, or returns, before it has answered anything. By the ASGI
specification a server goes on then, without. What means to end the program, such as SystemExit, ends the start. What is
raised after the start-up was answered is a failure in mid-life, and a crash.

One that says that it failed usually raises the reason then, and gets a moment for it. It may as well never return.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias, cast

import anyio
import anyio.lowlevel

from structmode.contrib.asgi._types import AsgiApp, Message, Scope
from structmode.exceptions import StructmodeError
from structmode.services import Service
from structmode.utils.logging import get_logger

__all__ = ("AppLifespan", "LifespanFailed", "tell_server")

#: How long an application that has said that it failed may take to raise the reason, in seconds.
PATIENCE = 1.0

#: Takes in why the services of an application have crashed.
Listener: TypeAlias = Callable[[BaseException], Awaitable[None]]

#: The server of structmode's own that the current task belongs to, if there is one.
tell_server: ContextVar[Listener | None] = ContextVar("tell_server", default=None)


class LifespanFailed(StructmodeError, RuntimeError):
    """An application has said that its start-up or its shut-down failed, and raised nothing.

    Args:
        stage: Which of the two: "startup" or "shutdown".
        message: What it said.
    """

    def __init__(self, stage: Literal["startup", "shutdown"], message: str) -> None:
        super().__init__(
            f"The {stage} of the application failed: {message or 'it did not say why'}"
        )
        self.stage = stage
        self.message = message


class AppLifespan(Service):
    """The life of an ASGI application.

    Args:
        app: The application.
        scope: The scope to call it with.
        on_crash: Told when services inside have crashed that `lifespan` owns.
    """

    mundane_level = "debug"

    logger: logging.Logger = get_logger("structmode.contrib.asgi")

    def __init__(self, app: AsgiApp, scope: Scope, on_crash: Listener | None = None) -> None:
        self._app = app
        self._scope = scope
        self._on_crash = on_crash
        super().__init__()

    async def on_start(self) -> None:
        """Start the application up.

        Raises:
            BaseException: What it raised after it had said that the start-up failed.
            LifespanFailed: If it said so, and raised nothing.
        """
        self._stages = ["startup", "shutdown"]
        self._up = False
        self._problem: LifespanFailed | None = None
        self._failure: BaseException | None = None
        self._told: BaseException | None = None
        self._answered, self._leave, self._left = anyio.Event(), anyio.Event(), anyio.Event()
        self._patience = anyio.CancelScope()
        _ = self.add_future(self._converse, name="conversation")
        await self._until(self._answered)
        if self._failure is not None:
            raise self._failure

    async def on_stop(self) -> None:
        """Shut the application down."""
        self._leave.set()
        await self._until(self._left)

    async def _until(self, event: anyio.Event) -> None:
        """Wait for an event; but only for a moment once the application has said that it failed.

        Raises:
            LifespanFailed: If that has passed.
        """
        with anyio.CancelScope() as self._patience:
            self._limit_patience()
            await event.wait()
        if self._problem is not None and not event.is_set():
            raise self._problem

    def _limit_patience(self) -> None:
        if self._problem is not None:
            self._patience.deadline = anyio.current_time() + PATIENCE

    async def _converse(self) -> None:
        if self._on_crash is not None:
            tell_server.set(self._tell)
        failure: BaseException | None = None
        try:
            await self._app(self._scope, self._receive, self._send)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:  # noqa: BLE001 - what it means depends on what was said before
            failure = exc
        finally:
            self._left.set()
        self._conclude(failure)

    def _conclude(self, failure: BaseException | None) -> None:
        """Judge how the call has ended."""
        if not self._up:
            means_to_end = failure is not None and not isinstance(failure, Exception)
            if self._problem is None and not means_to_end:
                self.log.debug("The application has no lifespan: %r", failure)
            else:
                self._failure = failure or self._problem
            self._answered.set()
        elif failure is not None and not _is_made_of(failure, self._told):
            raise failure
        elif failure is None and self._problem is not None:
            raise self._problem

    async def _tell(self, reason: BaseException) -> None:
        self._told = reason  # it leaves the application once more, when that is shut down
        if self._on_crash is not None:  # pragma: no branch - nobody is told to tell otherwise
            await self._on_crash(reason)

    async def _receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if self._problem is not None:
            raise self._problem  # it has failed, and goes on as if there were something to come
        if not self._stages:
            await anyio.sleep_forever()
        stage = self._stages.pop(0)
        if stage == "shutdown":
            await self._leave.wait()
        return {"type": f"lifespan.{stage}"}

    async def _send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.complete":
                self._up = True
                self._answered.set()
            case "lifespan.startup.failed":
                self._fail("startup", message)
            case "lifespan.shutdown.complete":
                self._left.set()
            case "lifespan.shutdown.failed":
                self._fail("shutdown", message)
            case other:
                raise ValueError(f"{other!r} is no message that a lifespan may send")

    def _fail(self, stage: Literal["startup", "shutdown"], message: Message) -> None:
        self._problem = LifespanFailed(stage, message.get("message", ""))
        self._limit_patience()


def _is_made_of(failure: BaseException, known: BaseException | None) -> bool:
    """Tell whether a failure is a known one, or a group of nothing else: some frameworks wrap what passes through them."""
    if isinstance(failure, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", failure).exceptions
        return all(_is_made_of(part, known) for part in parts)
    return failure is known


LifespanFailed.__module__ = "structmode.contrib.asgi"
