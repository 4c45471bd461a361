"""What is done about the server when the services of its application have crashed.

Theory: ASGI has no word for it. An application whose lifespan raises in mid-life is let be: uvicorn swallows that, and so does
Hypercorn on asyncio, and both go on to serve (on trio Hypercorn ends). What every server does understand is a signal that asks
it to stop, and signals belong to it. So, in the process of a server, its own handler is called, by a SIGTERM to ourselves; the
server finishes what it is answering, and shuts the lifespan down, and then that says what has happened.

- *A server of structmode's own* is told directly, and crashes.
- *SIGTERM has a handler*, and this is the main thread, where handlers are called: raise it.
- *A worker process without a handler*, on asyncio: that is how Hypercorn runs its workers, which take orders from its
  main process only. There the event loop is left by SystemExit, which has all tasks cancelled, and Hypercorn stops the
  other workers too.
- *Otherwise* no server is known to listen: a test, a notebook, a server in a thread. The lifespan ends at once, by raising,
  which is all that can be done without taking down what is not ours; and all that is needed on trio.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from typing import Literal, NoReturn, TypeAlias

import anyio

from structmode import _engine as engine
from structmode.contrib.asgi._conversation import tell_server
from structmode.utils.futures import maybe_async

__all__ = ("OnCrash", "TakeDown", "checked_on_crash")

OnCrash: TypeAlias = Literal["signal", "raise"] | Callable[[BaseException], object]


class TakeDown:
    """Takes down the server of one life of an application.

    Args:
        on_crash: How.
        body: The scope in which the lifespan waits for the end; cancelled where it has to end at once.
    """

    def __init__(self, on_crash: OnCrash, body: anyio.CancelScope) -> None:
        self._on_crash = on_crash
        self._body = body
        self._tell = tell_server.get()

    async def __call__(self, reason: BaseException) -> None:
        """Begin to take the server down; returns at once."""
        if self._tell is not None:
            await self._tell(reason)
        elif callable(self._on_crash):
            await self._leave_it_to(self._on_crash, reason)
        elif self._on_crash == "raise" or not _asked_server():
            self._body.cancel()

    async def _leave_it_to(
        self, function: Callable[[BaseException], object], reason: BaseException
    ) -> None:
        try:
            await maybe_async(function(reason))
        except BaseException:
            self._body.cancel()  # nobody else is known to end what serves without its services
            raise


def checked_on_crash(on_crash: object) -> None:
    """Refuse what does not say how."""
    if on_crash not in ("signal", "raise") and not callable(on_crash):
        raise ValueError(
            f"on_crash is 'signal', 'raise', or a function that takes the exception; not {on_crash!r}"
        )


def _asked_server() -> bool:
    """Ask whoever serves in this process to stop; returns whether there is somebody to ask."""
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN):
        signal.raise_signal(signal.SIGTERM)
        return True
    return multiprocessing.parent_process() is not None and _left_asyncio()


def _left_asyncio() -> bool:
    """Have asyncio's event loop be left soon; returns whether it is asyncio's."""
    try:
        engine.running_asyncio_loop().call_soon(_leave)
    except RuntimeError:
        return False
    return True


def _leave() -> NoReturn:
    raise SystemExit(1)
