"""Supervision: from the moment before a task of a service raises until the service has started again."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.clock import now, settle
from benchmarks.floor import Kept
from benchmarks.library import Event, OneForOneSupervisor, Service, hand, open_group
from benchmarks.model import ELSEWHERE, Row, times_mode

#: So many restarts within a second that nobody gives up.
ANY_NUMBER = 1e9


class Blown(Exception):
    """What the service crashes with."""


async def wait_and_raise(fuse: Event | hand.Event) -> None:
    """Raise when it is time."""
    await fuse.wait()
    raise Blown


class Fragile(Service):
    """A service with a task that raises when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = Event()
        self.running = Event()

    async def on_start(self) -> None:
        """Tell that it runs, and that the fuse is whole."""
        self.fuse.clear()
        self.running.set()

    @Service.task
    async def wait_for_it(self) -> None:
        """Raise when it is time."""
        await wait_and_raise(self.fuse)


async def crash_to_restarted(units: int) -> float:
    """Crash a service, over and over; a supervisor restarts it."""
    fragile, spent = Fragile(), 0.0
    supervisor = OneForOneSupervisor(max_restarts=ANY_NUMBER, over=1.0)
    supervisor.add(
        fragile
    )  # what is given to its constructor, mode's supervisor looks at every five seconds only
    async with supervisor:
        for _ in range(units):
            # mode's supervisor overlooks what happens while it restarts something: it gets the time to come to rest.
            await settle()
            fragile.running.clear()
            began = now()
            fragile.fuse.set()
            await fragile.running.wait()
            spent += now() - began
        await settle()
    return spent / units


class FragileByHand:
    """The same, as a function in a loop that runs it again."""

    def __init__(self) -> None:
        self.fuse = hand.Event()
        self.running = hand.Event()

    async def supervise(self) -> None:
        """Run it again and again."""
        while True:
            try:
                async with open_group() as group:
                    self.fuse = hand.Event()
                    self.running.set()
                    group.start_soon(self._wait_for_it)
            except* Blown:
                pass

    async def _wait_for_it(self) -> None:
        await wait_and_raise(self.fuse)


class FragileFloor:
    """The same, with the least that keeps the laws; what it crashes of is kept, and the next one begins when all is over."""

    def __init__(self) -> None:
        self.fuse = hand.Event()
        self.running = hand.Event()
        self._blown = hand.Event()

    async def supervise(self) -> None:
        """Start it again and again."""
        async with open_group() as group:
            while True:
                self.fuse, self._blown = hand.Event(), hand.Event()
                service = Kept(self._wait_for_it)
                try:
                    await service.start(group)
                    self.running.set()
                    await self._blown.wait()
                finally:
                    with hand.CancelScope(shield=True):
                        await service.stop()  # noqa: ASYNC102 - it is bounded by itself

    async def _wait_for_it(self) -> None:
        try:
            await wait_and_raise(self.fuse)
        except Blown:
            self._blown.set()


async def crash_to_restarted_by_hand(units: int) -> float:
    """Have a function raise, over and over; a loop runs it again."""
    return await _crash_to_restarted(FragileByHand(), units)


async def crash_to_restarted_at_least(units: int) -> float:
    """Have what keeps the laws by hand crash, over and over; a loop starts it again."""
    return await _crash_to_restarted(FragileFloor(), units)


async def _crash_to_restarted(fragile: FragileByHand | FragileFloor, units: int) -> float:
    spent = 0.0
    async with open_group() as group:
        group.start_soon(fragile.supervise)
        for _ in range(units):
            await settle()
            fragile.running = hand.Event()
            began = now()
            fragile.fuse.set()
            await fragile.running.wait()
            spent += now() - began
        group.cancel_scope.cancel()
    return spent / units


ROWS: Sequence[Row] = (
    Row(
        name="crash-to-restarted",
        work="crash to restarted (OneForOne)",
        codes={
            "services": crash_to_restarted,
            "hand": crash_to_restarted_by_hand,
            "floor": crash_to_restarted_at_least,
        },
        size=200,
        goals=(times_mode(1.3), *ELSEWHERE),
    ),
)
