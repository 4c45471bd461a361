"""A plan, played with structmode on a virtual clock, and the lines that this gives."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from structmode import Service
from structmode.exceptions import (
    LifecycleError,
    MaxRestartsExceeded,
    ShutdownTimeout,
    StartAborted,
)
from structmode.supervisors import Supervised, SupervisorStrategy
from structmode.testing import VirtualClock, nothing_left_behind, virtual_backend

from .kinds import KINDS, supervised
from .plan import MOST_CALLS, PATIENCE, SECOND, Call, Plan, Script, Then, raises
from .story import standing

Backend = Literal["asyncio", "trio"]
#: What of the real play is compared with the story.
Told = tuple[list[tuple[int, str]], dict[str, str]]


class Fault(Exception):
    """A failure of the script."""


class RealPlay:
    """A plan that is being played."""

    def __init__(
        self, plan: Plan, make: Callable[[Script, RealPlay], Service], backend: Backend
    ) -> None:
        self.backend: str = backend
        self._plan = plan
        self._make = make
        self._clock = VirtualClock()
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._made: Counter[int] = Counter()
        self._calls: dict[str, anyio.CancelScope] = {}
        self._owner = anyio.CancelScope()
        self._began = 0.0
        self.lines: list[tuple[int, str]] = []
        self.services: dict[str, Service] = {}
        #: By label of what they replace: those that have not been used.
        self.substitutes: dict[str, Service] = {}

    # -- What services need of it

    def log(self, text: str) -> None:
        """Write a line."""
        self.lines.append((round(self._clock.elapsed * SECOND), text))

    def ends(self, where: str, then: Then) -> bool:
        """Note that a place ends once more; returns whether it fails."""
        self._ended[where] += 1
        return raises(then, self._ended[where] - 1)

    def fault(self, where: str) -> Exception:
        """Make the next failure of a place."""
        self._counts[where] += 1
        return Fault(f"{where} #{self._counts[where]}")

    async def perform(self, call: Call) -> None:
        """Make a call, unless it has been made often enough, and log how it ends."""
        self._made[call.number] += 1
        if self._made[call.number] > MOST_CALLS:
            return
        name = f"call {call.number}"
        self.log(f"{call}{self._standing_of(call)}")
        try:
            await self._do(call)
        except anyio.get_cancelled_exc_class():
            self.log(f"{name} cancelled")
            raise
        except Exception as exc:
            self.log(f"{name} raised {_name_of(exc)}")
        else:
            self.log(f"{name} returned")

    def _standing_of(self, call: Call) -> str:
        service = self.services.get(call.target)
        if service is None:
            return ""
        told = ", and should stop" if service.should_stop else ""
        return f" which is {service.state}{told}"

    async def _do(self, call: Call) -> None:
        services = self.services
        match call.verb:
            case "start":
                await services[call.target].start()
            case "stop":
                await services[call.target].stop()
            case "restart":
                await services[call.target].restart()
            case "crash":
                await services[call.target].crash(Fault(f"call {call.number}"))
            case "add":
                await services[call.target].add_runtime_dependency(services[call.other])
            case "remove":
                await services[call.target].remove_dependency(services[call.other])
            case "supervise":
                self._supervisor(call.target).add(self._supervised(call.other))
            case "insert":
                self._supervisor(call.target).insert(call.place, self._supervised(call.other))
            case "discard":
                self._supervisor(call.target).discard(services[call.other])
            case "dismiss":
                await self._supervisor(call.target).stop_services([services[call.other]])
            case "allow":
                services[call.target].set_shutdown()
            case "cancel call":
                self._calls[call.target].cancel()
            case "cancel owner":  # pragma: no branch - there is no other
                self._owner.cancel()

    def _supervisor(self, label: str) -> SupervisorStrategy:
        service = self.services[label]
        assert isinstance(service, SupervisorStrategy)
        return service

    def _supervised(self, label: str) -> Supervised:
        script = next(script for script in self._plan.scripts() if script.label == label)
        return supervised(self.services[label], script)

    # -- The plan

    async def play(self) -> Told:
        """Play the plan to its end."""
        async with nothing_left_behind():
            with self._clock:
                self._began = anyio.current_time()
                root = self._build(self._plan.root)
                for spare in self._plan.spares:
                    _ = self._build(spare)
                await self._run(root)
        left = {label: _left(service) for label, service in self.services.items()}
        return self.lines, left

    def _build(self, script: Script) -> Service:
        service = self._make(script, self)
        self.services[script.label] = service
        for child in script.children:
            KINDS[script.kind].adopt(service, self._build(child), child)
        if script.substitute is not None:
            self.substitutes[script.label] = self._build(script.substitute)
        return service

    async def _run(self, root: Service) -> None:
        self._calls = {str(op.call.number): anyio.CancelScope() for op in self._plan.ops}
        async with anyio.create_task_group() as group:
            if self._plan.owner == "block":
                group.start_soon(self._own, root)
            for op in self._plan.ops:
                group.start_soon(self._call, op.at, op.call)
            group.start_soon(self._end)

    async def _until(self, time: int) -> None:
        await anyio.sleep_until(self._began + time / SECOND)

    async def _call(self, at: int, call: Call) -> None:
        with self._calls[str(call.number)]:
            await self._until(at)
            await self.perform(call)

    async def _own(self, root: Service) -> None:
        with self._owner:
            try:
                async with root:
                    self.log("block entered")
                    await self._body()
            except anyio.get_cancelled_exc_class():
                self.log("block cancelled")
                raise
            except Exception as exc:
                self.log(f"block raised {_name_of(exc)}")
            else:
                self.log("block returned")

    async def _body(self) -> None:
        try:
            await self._until(self._plan.body)
        except anyio.get_cancelled_exc_class():
            self.log("body cancelled")
            raise
        self.log("body ends")

    async def _end(self) -> None:
        await self._until(self._plan.end)
        running = True
        while running:
            for label, service in sorted(self.services.items()):
                if not service.started:
                    continue
                self.log(f"end: stop {label}")
                try:
                    await service.stop()
                except Exception as exc:
                    self.log(f"end: {label} raised {_name_of(exc)}")
                else:
                    self.log(f"end: {label} stopped")
            await anyio.sleep(PATIENCE / SECOND)
            running = any(service.started for service in self.services.values())


def _name_of(exc: BaseException) -> str:
    match exc:
        case StartAborted() | ShutdownTimeout():
            return f"{type(exc).__name__}({exc.label})"
        case MaxRestartsExceeded():
            return f"MaxRestartsExceeded({str(exc).partition(' ')[0]})"
        case LifecycleError():
            return "LifecycleError"
        case Fault():
            return str(exc)
        case _:
            return repr(exc)


def _left(service: Service) -> str:
    reason = _name_of(service.crash_reason) if service.crash_reason is not None else None
    return standing(service.state, reason, [_name_of(exc) for exc in service.failures])


def _make(script: Script, play: RealPlay) -> Service:
    return KINDS[script.kind].make(script, play)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep structmode's log silent for the length of a block, and set aside what exists: looking for leaks is quick then."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        logging.disable(logging.NOTSET)


def play(
    plan: Plan, backend: Backend, make: Callable[[Script, RealPlay], Service] = _make
) -> Told:
    """Play a plan with structmode; returns its log, and how each service was left."""

    async def main() -> Told:
        return await RealPlay(plan, make, backend).play()

    with quiet():
        return anyio.run(main, **virtual_backend(backend))
