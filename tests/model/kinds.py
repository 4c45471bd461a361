"""The kinds of services that plans are made of: how each is made for real, and by which laws the model lets it live.

To add a kind (a supervisor, a thread, another face):

1. Write what makes the real thing of a script: a function like `make_service`. It must write the same lines as
   `ScriptedService` does, by `Play.log`, and so is best made of the same parts (`Acting`).
2. Where its life is other than a service's, write a subclass of `model.Unit` (or of `model.Run`) that says how; for a
   supervisor, what it does about the fault of a child in place of `Run.suffer`.
3. Put both in `KINDS` under a name. The machine then draws it too; `Kind.fits` says which scripts it can play.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Protocol

import anyio

from structmode import Service
from structmode.facet import ServiceMixin
from structmode.supervisors import (
    Backoff,
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
    Supervised,
    SupervisorStrategy,
)
from structmode.threads import ServiceThread
from structmode.types.services import ServiceT
from structmode.types.supervisors import ReplacementT

from .facet import Facet
from .model import Thread, Unit
from .plan import FOREVER, SECOND, Call, Context, HookName, Policy, Script, Then, Work
from .supervision import (
    Crashing,
    ForfeitOneForAll,
    ForfeitOneForOne,
    OneForAll,
    OneForOne,
    RestForOne,
)


class Play(Protocol):
    """A plan that is being played for real: what services need of it."""

    #: The event loop that it is played on: "asyncio" or "trio".
    backend: str
    services: dict[str, Service]
    #: By label of what they replace: the services that have not been used for that.
    substitutes: dict[str, Service]

    def log(self, text: str) -> None:
        """Write a line."""
        ...

    def ends(self, where: str, then: Then) -> bool:
        """Note that a place ends once more; returns whether it fails."""
        ...

    def fault(self, where: str) -> Exception:
        """Make the next failure of a place."""
        ...

    async def perform(self, call: Call) -> None:
        """Make a call."""
        ...


def _add(above: Service, child: Service, script: Script) -> None:
    _ = above.add_dependency(child)


@dataclass(frozen=True)
class Kind:
    """A kind of services.

    Attributes:
        make: Makes the real thing, without its children.
        unit: Its life in the model.
        fits: Whether it can play a script.
        adopt: Makes another service, of which the script is given, a child of it.
    """

    make: Callable[[Script, Play], Service]
    unit: type[Unit]
    fits: Callable[[Script], bool] = lambda _: True
    adopt: Callable[[Service, Service, Script], None] = _add


async def pause(time: int) -> None:
    """Let some time pass; none is no wait at all."""
    if time:
        await anyio.sleep(time / SECOND)


def end(play: Play, where: str, then: Then) -> None:
    """Return or raise, and write which."""
    if not play.ends(where, then):
        play.log(f"{where} returns")
        return
    fault = play.fault(where)
    play.log(f"{where} raises")
    raise fault


class Acting:
    """Does what a script says, and writes the lines of the log."""

    def __init__(self, script: Script, play: Play) -> None:
        self.script = script
        self.play = play

    async def hook(self, service: Service, name: HookName) -> None:
        """Do what a hook does."""
        hook = self.script.hooks.get(name)
        if hook is None:
            return
        where = f"{self.script.label}.{name}"
        self.play.log(f"{where} begins")
        try:
            if name == "on_start":
                await self._enter_contexts(service)
            with anyio.CancelScope(shield=hook.deaf):
                await pause(hook.takes)
            if hook.call is not None:
                await self.play.perform(hook.call)
                await pause(hook.rest)
        except anyio.get_cancelled_exc_class():
            self.play.log(f"{where} cut")
            raise
        self._end(where, hook.then)

    async def task(self, service: Service, number: int) -> None:
        """Do what a task does."""
        work, where = self.script.work[number], f"{self.script.label}.task {number}"
        self.play.log(f"{where} begins")
        told = False
        try:
            told = await self._work(service, work, where)
        except anyio.get_cancelled_exc_class():
            await self._clean_up(work, where)
            raise
        self._end(where, work.told_then if told else work.then)

    async def _work(self, service: Service, work: Work, where: str) -> bool:
        if not work.listens:
            await pause(work.takes)
        else:
            await service.sleep(work.takes / SECOND)
            if service.should_stop:
                self.play.log(f"{where} is told")
                await pause(work.winds_up)
                return True
        if work.call is not None:
            await self.play.perform(work.call)
            await pause(work.rest)
        return False

    async def _clean_up(self, work: Work, where: str) -> None:
        self.play.log(f"{where} is cancelled")
        if work.cleans_up:
            with anyio.CancelScope(shield=True):
                await pause(work.cleans_up)
        self._end(where, work.cancelled_then)

    async def _enter_contexts(self, service: Service) -> None:
        for number, context in enumerate(self.script.contexts):
            name = f"{self.script.label}.context {number}"
            if context.is_async:
                await service.add_async_context(self._async_context(name, context))
            else:
                service.add_context(self._sync_context(name))

    def _async_context(
        self, name: str, context: Context
    ) -> AbstractAsyncContextManager[None, bool | None]:
        @asynccontextmanager
        async def held() -> AsyncIterator[None]:
            await self._enter(name, context)
            try:
                yield
            finally:
                self.play.log(f"{name} leaving")
                try:
                    await pause(context.leaving)
                except anyio.get_cancelled_exc_class():
                    self.play.log(f"{name} cut")
                    raise
                self._end(name, context.then)

        return held()

    async def _enter(self, name: str, context: Context) -> None:
        try:
            await pause(context.entering)
        except anyio.get_cancelled_exc_class():
            self.play.log(f"{name} not entered")
            raise
        if self.play.ends(f"{name} entering", context.entered_then):
            self.play.log(f"{name} fails")
            raise self.play.fault(name)
        self.play.log(f"{name} entered")

    @contextmanager
    def _sync_context(self, name: str) -> Iterator[None]:
        self.play.log(f"{name} entered")
        try:
            yield
        finally:
            self.play.log(f"{name} leaving")

    def _end(self, where: str, then: Then) -> None:
        end(self.play, where, then)


class ScriptedService(Service):
    """A plain service that plays a script."""

    def __init__(self, script: Script, play: Play, **kwargs: Any) -> None:
        self.acting = Acting(script, play)
        super().__init__(**kwargs)
        self.shutdown_timeout = script.shutdown_timeout / SECOND
        self.drain_timeout = script.drain_timeout / SECOND
        self.wait_for_shutdown = script.asks

    @property
    def label(self) -> str:
        return self.acting.script.label

    @property
    def shortlabel(self) -> str:
        return self.acting.script.label

    async def on_first_start(self) -> None:
        await self.acting.hook(self, "on_first_start")

    async def on_start(self) -> None:
        await self.acting.hook(self, "on_start")

    async def on_started(self) -> None:
        await self.acting.hook(self, "on_started")

    async def on_stop(self) -> None:
        await self.acting.hook(self, "on_stop")

    async def on_shutdown(self) -> None:
        await self.acting.hook(self, "on_shutdown")

    async def on_restart(self) -> None:
        await self.acting.hook(self, "on_restart")


_classes: dict[tuple[type[Service], int], type[ScriptedService]] = {}


def _with_tasks(count: int, base: type[Service] = Service) -> type[ScriptedService]:
    """Return the class of services that have so many tasks: they are declared in the class body."""
    if (base, count) not in _classes:

        def task(number: int) -> Any:
            async def work(self: ScriptedService) -> None:
                await self.acting.task(self, number)

            return Service.task(work)

        bases = (ScriptedService,) if base is Service else (ScriptedService, base)
        body = {f"task_{number}": task(number) for number in range(count)}
        _classes[base, count] = type(f"{base.__name__}With{count}Tasks", bases, body)
    return _classes[base, count]


def make_service(script: Script, play: Play) -> Service:
    """Make a plain service."""
    return _with_tasks(len(script.work))(script, play)


class ScriptedFacet(ServiceMixin):
    """A service of facet's face that plays a script.

    Args:
        handle: What its play knows it by.
    """

    def __init__(self, handle: FacetHandle) -> None:
        self.handle = handle
        self.needs: list[Service] = []

    @property
    def dependencies(self) -> list[Service]:
        return self.needs

    @property
    def graceful_shutdown_timeout(self) -> float:
        return self.handle.acting.script.shutdown_timeout / SECOND

    async def start(self) -> None:
        acting = self.handle.acting
        await acting.hook(self.handle, "on_start")
        for number in range(len(acting.script.work)):
            self.add_task(acting.task(self.handle, number))

    async def stop(self) -> None:
        await self.handle.acting.hook(self.handle, "on_stop")


class FacetHandle(Service):
    """What a play knows a service of facet's face by: it has the methods of a service, and passes them on to that one's life."""

    def __init__(self, script: Script, play: Play) -> None:
        self.acting = Acting(script, play)
        super().__init__()
        self.mixin = _named_facet(script)(self)
        self._life = self.mixin._structmode_life()

    @property
    def label(self) -> str:  # pragma: no cover - only where something goes wrong
        return self.acting.script.label


def _named_facet(script: Script) -> type[ScriptedFacet]:
    """Return a class of that name: errors know a service of facet's face by its class."""
    return type(script.label, (ScriptedFacet,), {})


def _facet_fits(script: Script) -> bool:
    """It has two hooks, no contexts, no drain, and asks nobody."""
    hooks: set[HookName] = {"on_start", "on_stop"}
    return (
        script.hooks.keys() <= hooks
        and not script.contexts
        and not script.drain_timeout
        and not script.asks
    )


def _need(above: Service, child: Service, script: Script) -> None:
    assert isinstance(above, FacetHandle)
    above.mixin.needs.append(child)


def _thread(*, same: bool) -> Kind:
    """Return the kind of services in threads of their own, on the same backend as the play or on the other one."""

    def make(script: Script, play: Play) -> Service:
        backend = play.backend if same else OTHER_BACKEND[play.backend]
        return _with_tasks(len(script.work), ServiceThread)(script, play, backend=backend)

    return Kind(make, Thread)


OTHER_BACKEND = {"asyncio": "trio", "trio": "asyncio"}


def supervised(service: Service, script: Script) -> Supervised:
    """Say how a service is to be supervised."""
    return Supervised(service, restart=script.restart, significant=script.significant)


def _supervisor(base: type[SupervisorStrategy], unit: type[Unit]) -> Kind:
    """Return the kind of a strategy."""

    def make(script: Script, play: Play) -> Service:
        policy = script.policy
        return _with_tasks(len(script.work), base)(
            script,
            play,
            max_restarts=policy.max_restarts,
            over=policy.over / SECOND,
            backoff=_backoff(policy),
            replacement=_replacement(script, play) if policy.replacement is not None else None,
            auto_shutdown=policy.auto_shutdown,
        )

    def adopt(above: Service, child: Service, script: Script) -> None:
        assert isinstance(above, SupervisorStrategy)
        above.add(supervised(child, script))

    return Kind(make, unit, adopt=adopt)


def _backoff(policy: Policy) -> Backoff:
    chances = cycle(policy.chances)
    return Backoff(
        initial=policy.delay / SECOND,
        maximum=FOREVER / SECOND,
        jitter=policy.jitter / 8,
        reset_after=policy.healthy / SECOND,
        random=lambda: next(chances) / 8,
    )


def _replacement(script: Script, play: Play) -> ReplacementT:
    """Return what makes another service in the place of one that broke."""
    hook = script.policy.replacement
    assert hook is not None

    async def replace(broken: ServiceT, place: int) -> ServiceT:
        where = f"{script.label}.replacement of {broken.label}"
        supervisor = play.services[script.label]
        assert isinstance(supervisor, SupervisorStrategy)
        assert supervisor.services[place] is broken
        play.log(f"{where} begins")
        try:
            await pause(hook.takes)
        except anyio.get_cancelled_exc_class():
            play.log(f"{where} cut")
            raise
        end(play, where, hook.then)
        return play.substitutes.pop(broken.label, broken)

    return replace


KINDS: dict[str, Kind] = {
    "service": Kind(make_service, Unit),
    "facet": Kind(FacetHandle, Facet, fits=_facet_fits, adopt=_need),
    "thread": _thread(same=True),
    "other thread": _thread(same=False),
    "one for one": _supervisor(OneForOneSupervisor, OneForOne),
    "one for all": _supervisor(OneForAllSupervisor, OneForAll),
    "rest for one": _supervisor(RestForOneSupervisor, RestForOne),
    "forfeit one for one": _supervisor(ForfeitOneForOneSupervisor, ForfeitOneForOne),
    "forfeit one for all": _supervisor(ForfeitOneForAllSupervisor, ForfeitOneForAll),
    "crashing": _supervisor(CrashingSupervisor, Crashing),
}
