"""A service in a thread of its own as the engine sees it: the unit that its owner holds, and the unit inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from structmode import _engine as engine
from structmode._unit import HOOKS, ServiceUnit, label_in, rest_of
from structmode.exceptions import LifecycleError
from structmode.utils.times import want_seconds

if TYPE_CHECKING:
    from .service import ServiceThread

__all__ = ("InsideUnit", "OutsideLife", "OutsideUnit")


class InsideUnit(ServiceUnit):
    """The service as the engine in the thread sees it."""

    def __init__(self, service: ServiceThread) -> None:
        super().__init__(service)
        self._thread_service = service

    async def ready(self) -> None:
        await rest_of(super().ready())
        await self._hook("on_thread_started")

    async def tear_down(self) -> None:
        try:
            await rest_of(super().tear_down())
        finally:
            await self._hook("on_thread_stop")  # noqa: ASYNC102 - cut short as any hook is

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        home = self._thread_service._outside.home
        if home is not None and fate == "crash":
            home.told_inside.append(exc)
        if fate == "crash":
            self._thread_service.on_crash("Crashed in {0}: {1!r}", origin, exc)
        else:
            super().on_failure(exc, origin, fate)


class OutsideLife(engine.Life):
    """What the owner of a service in a thread holds of it."""

    def __init__(self, unit: OutsideUnit) -> None:
        super().__init__(unit)
        self._outside = unit

    def is_coming_up(self, run: engine.Run) -> bool:
        """As of any other; that it is undone in the thread, the run outside is told when that is over."""
        inside = self._outside.inside
        undone = inside is not None and inside.state is engine.State.STOPPING
        return super().is_coming_up(run) and not undone


class OutsideUnit:
    """The service as its owner's engine sees it: something that has a thread.

    It tells no events: the unit inside does.
    """

    subject = None
    step_names = HOOKS
    drain_timeout = 0.0

    def __init__(self, service: ServiceThread) -> None:
        self.service = service
        self.home: engine.ThreadHome | None = None
        #: The asyncio event loop of the owner, while the service runs.
        self.owner_loop: Any = None
        # What the life inside had been running when the present start began.
        self._former: engine.Run | None = None
        self._renewing = False

    @property
    def label(self) -> str:
        return label_in(self.service)

    @property
    def stop_timeout(self) -> float:
        return self._timeout + engine.MARGIN

    @property
    def start_timeout(self) -> float:
        """Longer than that of what is inside, which knows better what it waits for."""
        return want_seconds(self.service.start_timeout) + engine.MARGIN

    @property
    def _timeout(self) -> float:
        return want_seconds(self.service.shutdown_timeout)

    @property
    def inside(self) -> engine.Run | None:
        """The run in the thread, once it has begun."""
        run = self.service._life.run
        return None if run is self._former else run

    async def renew(self) -> None:
        engine.emit(engine.Restarting, self.service)
        self._renewing = True

    def first_set_up(self) -> None:
        pass

    def needs(self) -> Sequence[Sequence[engine.Life]]:
        return ()

    async def set_up(self) -> None:
        service, renewing = self.service, self._renewing
        self._renewing = False
        self._former = service._life.run
        if self.home is not None and self.home.alive:
            raise LifecycleError(
                f"{self.label} can't be started: its last thread was given up, and still hangs",
                "Find out what it does, for example from the ShutdownTimeout; or start another instance",
            )
        home = engine.ThreadHome(
            service._outer, service._life, service._run_arguments(), restarting=renewing
        )
        home.on_wakeup = service._woken
        self.home = home
        self.owner_loop = None if engine.on_trio() else engine.running_asyncio_loop()
        try:
            await self._begin(home)
        except BaseException:
            await home.undo(self.label, service, self._timeout)  # noqa: ASYNC102 - the wait shields itself
            self.owner_loop = None
            raise

    async def _begin(self, home: engine.ThreadHome) -> None:
        run = self.service._outer.current
        attend = engine.Task(home.attend, f"{self.label}.attend", finite=False)
        attend.until_idle = home.until_idle
        run.spawn(attend)
        name = f"{self.label}.pass_down_afflictions"
        run.spawn(engine.Task(home.pass_down_afflictions, name, finite=False))
        if not self.service.wait_for_thread:
            home.do_not_wait_for_start()
        home.begin(self.service.Worker(self.service))
        if self.service.wait_for_thread:
            await home.until_started()

    def work(self) -> Sequence[engine.Task[Any]]:
        return ()

    def ready(self) -> None:
        pass

    async def tear_down(self) -> None:
        try:
            if self.home is not None:  # pragma: no branch - one was made as it was set up
                await self.home.end(self.label, self.service, self._timeout)
        finally:
            self.owner_loop = None

    def hold(self) -> None:
        pass

    def farewell(self) -> None:
        pass

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        if fate == "unreceived" or self.home is None or not self.home.has_told(exc):
            ServiceUnit.on_failure(self.service._unit, exc, origin, fate)

    # It has no children: those of the service are inside.

    def on_child_failed(self, child: engine.Unit, exc: BaseException) -> bool:  # pragma: no cover
        return False

    def on_child_ended(self, child: engine.Unit) -> None:  # pragma: no cover
        pass

    def on_child_released(self, child: engine.Unit) -> None:  # pragma: no cover
        pass
