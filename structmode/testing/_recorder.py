"""Lifecycle events as a test wants them: recorded, put in order, waited for.

Theory: a test that sleeps until something must have happened is slow when it is right, and wrong when the machine is slow.
Everything that happens in the life of a service is told as an event, so a test can wait for just that, and look at the
order afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Self, TypeVar

import anyio

from structmode.events import LifecycleEvent, subscribe
from structmode.exceptions import LifecycleError
from structmode.services import Service

__all__ = ("Recorder", "wait_for_event", "wait_for_state")

EventT = TypeVar("EventT", bound=LifecycleEvent)


class Recorder:
    """Records the lifecycle events of all services, for the length of a ``with`` block.

        with Recorder() as record:
            async with App():
                ...
        record.assert_order("Started Cache", "Started App", "Stopping App", "Stopped Cache")

    It can be entered again when it has been left, and goes on with what it has. Entering it while it records raises
    `LifecycleError`.

    Attributes:
        events: What has been told, in order.
    """

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []
        self._unsubscribe: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        if self._unsubscribe is not None:
            raise LifecycleError("this recorder records already", "Enter another Recorder()")
        self._unsubscribe = subscribe(self.events.append)
        return self

    def __exit__(self, *exc_info: object) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()

    def lines(self, *subjects: object) -> list[str]:
        """Return the events as text, such as "Started App".

        Args:
            *subjects: The services to look at; without any, all of them.
        """
        return [
            _line(event)
            for event in self.events
            if not subjects or any(event.subject is one for one in subjects)
        ]

    def assert_order(self, *expected: str) -> None:
        """Check that these events have come in this order; others may have come between them.

        Raises:
            AssertionError: If one is missing or came too early; the text has all that was recorded.
        """
        left = iter(recorded := self.lines())
        for line in expected:
            if line not in left:  # what has been looked at is used up
                told = "\n".join(f"    {one}" for one in recorded) or "    (nothing)"
                where = "was not recorded" if line not in recorded else "came too early"
                raise AssertionError(f"{line!r} {where}; recorded was:\n{told}")


def _line(event: LifecycleEvent) -> str:
    return f"{type(event).__name__} {getattr(event.subject, 'label', event.subject)}"


@contextmanager
def _listening(listener: Callable[[LifecycleEvent], None]) -> Generator[None]:
    unsubscribe = subscribe(listener)
    try:
        yield
    finally:
        unsubscribe()


async def wait_for_event(
    kind: type[EventT], subject: object = None, *, timeout: float = 5.0
) -> EventT:
    """Wait until something happens in the life of a service.

    Only what happens from now on counts. It must happen on the event loop of the caller.

    Args:
        kind: The kind of event.
        subject: The service; None for any.
        timeout: The seconds, on the event loop's clock, after which to give up.

    Raises:
        TimeoutError: If it has not happened by then.
    """
    found: list[EventT] = []
    told = anyio.Event()

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, kind) and (subject is None or event.subject is subject):
            found.append(event)
            told.set()

    with _listening(listen), anyio.move_on_after(timeout):
        await told.wait()
    if not found:
        whose = "any service" if subject is None else repr(subject)
        raise TimeoutError(f"no {kind.__name__} of {whose} within {timeout:g} s")
    return found[0]


async def wait_for_state(service: Service, state: str, *, timeout: float = 5.0) -> None:
    """Wait until a service is in a state; returns at once if it is.

    A state that has passed by again when the caller is woken counts, too. The service must run on the caller's event loop.

    Args:
        service: The service.
        state: The state, as `Service.state` has it.
        timeout: The seconds, on the event loop's clock, after which to give up.

    Raises:
        TimeoutError: If it has not been in that state by then; the text has the state it is in.
    """
    reached = anyio.Event()

    def listen(event: object) -> None:
        if service.state == state:
            reached.set()

    listen(None)
    with _listening(listen), anyio.move_on_after(timeout):
        await reached.wait()
    if not reached.is_set():
        raise TimeoutError(
            f"{service.label} was not {state!r} within {timeout:g} s; it is {service.state!r}"
        )
