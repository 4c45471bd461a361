"""What can go wrong with a program at one of its checkpoints.

Theory: a program can only be disturbed where one of its tasks gives way to the event loop. A *moment* is such a place, in
a run that goes on; a *fault* does one thing there. What comes from elsewhere (a stop, say) comes as a call from another
task, and the task that was about to be resumed is held back until that call has made its first step: so it arrives in
just that moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import anyio

from structmode import _engine as engine
from structmode._mixing import life_of
from structmode.exceptions import LifecycleError, StartAborted
from structmode.services import Service

from ._taps import Answer, cancel_current_task
from ._witness import KINDS, Kind, kind_of, life_in, owners_of

__all__ = ("FAULTS", "Fault", "InjectedError", "Moment", "Ownership", "Scenario")

Ownership: TypeAlias = Literal["block", "bare"]

# Frames of these are the operation that is awaited, not the program that awaits it.
_LIBRARIES = ("anyio", "asyncio", "trio", "structmode")


class InjectedError(Exception):
    """An exception that was put into a program to see what becomes of it."""


class Scenario:
    """A program to disturb: services, and what is done with them.

        class Shop(Scenario):
            def make(self):
                return App()

            async def use(self, app):
                await app.orders.restart()

    Each run of it begins with `make`, and should do the same every time; time is virtual.

    Attributes:
        expected: Exceptions that may come out of a disturbed run besides those that were put in: of a call that came when
            the service was stopping, for instance.
        kinds: The kinds of services in it.
        limit: The seconds of virtual time after which a run that has not ended is given up.
    """

    expected: ClassVar[tuple[type[BaseException], ...]] = (LifecycleError, StartAborted)
    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    limit: ClassVar[float] = 3600.0

    def make(self) -> Service:
        """Make the service that the program is about, with all that belongs to it."""
        raise NotImplementedError(f"{type(self).__qualname__}.make() is to return a new service")

    async def use(self, service: Any) -> None:
        """Do what its user does while it runs; by default, let ten seconds pass."""
        await anyio.sleep(10.0)

    def handles(self, error: InjectedError) -> bool:
        """Whether the program itself deals with an exception, where it was put in; then it need not come out."""
        return False


class Disturbed(Protocol):
    """What a moment asks of the run that it is in."""

    scenario: Scenario
    root: Any
    position: int

    def call(self, function: Callable[[], Awaitable[object]], *, here: bool) -> Answer:
        """Call something from another task, of this event loop or of the program's own."""
        ...

    def cancel_owner(self) -> Answer:
        """Cancel whoever owns the service, or called it."""
        ...

    def put_in(self, error: InjectedError, *, taken: bool) -> None:
        """Remember an exception that was put in, and whether something has taken it."""

    def abandon(self) -> Answer:
        """End the event loop run, and leave all as it is."""
        ...


class Moment:
    """A checkpoint at which something is about to go wrong.

    Attributes:
        root: The service that the scenario is about.
        service: The service whose task is about to be resumed; None if it is the user's own.
        error: What to put in.
    """

    def __init__(
        self, trial: Disturbed, coroutine: Coroutine[Any, Any, Any], *, has_failed: bool
    ) -> None:
        self._trial = trial
        self._coroutine = coroutine
        self._has_failed = has_failed
        self.root: Any = trial.root
        self.service: Any = _whose()
        self.error: InjectedError = InjectedError(f"put in at {trial.position}")

    def call(self, function: Callable[[], Awaitable[object]], *, here: bool = False) -> Answer:
        """Have something called from a task of its own; the present one is resumed when that has made its first step.

        Args:
            function: What to call.
            here: Whether to call it in the event loop of the task that is about to be resumed, be it that of a thread; if
                not, it is called in that of the scenario.
        """
        return self._trial.call(function, here=here)

    def cancel_owner(self) -> Answer:
        """Cancel whoever owns the service, or called it."""
        return self._trial.cancel_owner()

    def end_loop(self) -> Answer:
        """End the event loop run of the scenario, without stopping anything."""
        return self._trial.abandon()

    def fail_operation(self) -> Answer | None:
        """Have what is awaited raise; None where the program itself awaits nothing that may raise anything."""
        if self._has_failed or not _may_raise(engine.frames_of(self._coroutine)):
            return None
        self._put_in(engine.current_run())
        return Answer(error=self.error)

    def cancel_task(self) -> Answer | None:
        """Cancel the task by force, as asyncio lets anybody do; None where no task can be, or it is no service's."""
        if self.service is None or self._has_failed or not cancel_current_task():
            return None
        return Answer(passes=1)  # from now on it is cancelled; it learns of it when it is resumed

    def crash(self, service: Any, *, here: bool = False) -> Answer:
        """Crash a service.

        Args:
            service: The service.
            here: Where to call its `crash`, as in `call`.
        """

        async def crash() -> None:
            self._trial.put_in(self.error, taken=False)
            await _crash(service, self.error)
            # One that had ended by then has nobody to tell, and logs it.
            if self.error in life_in(service).current.failures:
                self._put_in(life_in(service).run)

        return self.call(crash, here=here)

    def _put_in(self, run: engine.Run | None) -> None:
        """Remember that something has taken the error: the user's own task, or a run; it comes out unless it is dealt with."""
        kinds = [kind_of(service, self._trial.scenario.kinds) for service in owners_of(run)]
        dealt_with = any(kind is not None and kind.deals_with_failures for kind in kinds)
        self._trial.put_in(self.error, taken=not dealt_with)


async def _crash(service: Any, error: InjectedError) -> None:
    if isinstance(service, Service):
        await service.crash(error)
    else:
        life_in(service).fail(error, "crash()")


def _handle(service: Any) -> Any:
    """Return what is told to stop or to restart, if a service is to."""
    return service if isinstance(service, Service) else life_of(service)


def _whose() -> Any:
    run = engine.current_run()
    if run is None:
        return None
    # What holds a thread for a service is no service itself.
    return run.unit.subject or getattr(run.unit, "service", None)


def _may_raise(frames: Sequence[FrameType]) -> bool:
    """Whether an exception may come from what a program awaits: not from what the lifecycle itself waits for."""
    for frame in reversed(frames):
        package, _, module = str(frame.f_globals.get("__name__")).partition(".")
        if package not in _LIBRARIES or module.startswith("testing"):
            return True
        ends_block = frame.f_code.co_name in {"__aexit__", "_nested_child_finished"}
        # What may raise is awaited in the room for waits, and comes down to the backend.
        waits = module.endswith(("_waiting", "_backend"))
        if ends_block or (module.startswith("_engine") and not waits):
            return False
    return False


@dataclass(frozen=True)
class Fault:
    """Something that can go wrong.

    Args:
        name: How it is called.
        strike: Does it; returns what is to happen to the task that is about to be resumed, or None where this fault does
            not apply.
        ownership: How the service must be owned for it to apply; None for any.
    """

    name: str
    strike: Callable[[Moment], Answer | None]
    ownership: Ownership | None = None

    def __repr__(self) -> str:
        return f"<Fault {self.name!r}>"


def _here(act: Callable[[Moment, Any], Answer]) -> Callable[[Moment], Answer | None]:
    def strike(moment: Moment) -> Answer | None:
        service = moment.service
        return None if service is None or service is moment.root else act(moment, service)

    return strike


#: All that is known to go wrong.
FAULTS: tuple[Fault, ...] = (
    Fault("the owner is cancelled", lambda moment: moment.cancel_owner(), "block"),
    Fault("the caller is cancelled", lambda moment: moment.cancel_owner(), "bare"),
    Fault("the event loop ends", lambda moment: moment.end_loop(), "bare"),
    Fault("the operation fails", lambda moment: moment.fail_operation()),
    Fault("a stop", lambda moment: moment.call(_handle(moment.root).stop)),
    Fault(
        "a stop of this service",
        _here(lambda moment, service: moment.call(_handle(service).stop, here=True)),
    ),
    Fault("a crash", lambda moment: moment.crash(moment.root)),
    Fault(
        "a crash of this service", _here(lambda moment, service: moment.crash(service, here=True))
    ),
    Fault("a restart", lambda moment: moment.call(_handle(moment.root).restart)),
    Fault(
        "a restart of this service",
        _here(lambda moment, service: moment.call(_handle(service).restart, here=True)),
    ),
    Fault("the task is cancelled by force", lambda moment: moment.cancel_task()),
    Fault("others come first", lambda moment: Answer(passes=5)),
)
