"""trio as a guest in a thread where asyncio runs: each of the two knows its own."""

from __future__ import annotations

import asyncio

import trio
from outcome import Outcome

from structmode._engine import StopSignal, sleep

from .unit import START, STOP, Unit, family


async def live(log: list[str]) -> None:
    """Have units start, work, wait and stop, once with an owner and once without."""
    units = family(log)
    async with units["a"].life.block():
        await use(units["a"])
    await units["a"].life.start()
    await use(units["b"])
    await units["a"].life.stop()


async def use(unit: Unit) -> None:
    """Run a task in a unit, which sleeps for a while."""

    task = unit.begin(lambda _: sleep(StopSignal(), 0.001))
    await task
    assert task.exception() is None
    assert unit.log.pop() == f"{unit.label}:task"


def expected() -> list[str]:
    """The steps of `live`: a second start has no first steps."""
    again = [step for step in START if not step.endswith(".first")]
    return [*START, *STOP, *again, *STOP]


def test_units_of_guest_and_host() -> None:
    """Those of the guest live as they would without a host, and those of the host as they would without a guest."""
    guest: list[str] = []
    host: list[str] = []
    ended: list[Outcome[None]] = []

    async def main_of_the_guest() -> None:
        await live(guest)
        while host != expected():
            await trio.sleep(0.001)  # pragma: no cover - it is there at once, most often

    async def main_of_the_host() -> None:
        over = asyncio.Event()

        def is_over(outcome: Outcome[None]) -> None:
            ended.append(outcome)
            over.set()

        trio.lowlevel.start_guest_run(
            main_of_the_guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=is_over,
        )
        await live(host)
        await over.wait()

    asyncio.run(main_of_the_host())
    ended[0].unwrap()
    assert guest == host == expected()
