"""trio as a guest in asyncio's thread: services on the host's loop and on the guest's, side by side, each on its own."""

from __future__ import annotations

import asyncio

import anyio
import pytest
import trio
from outcome import Outcome

from structmode import EventLoopMismatch, Service


class Busy(Service):
    """Does what depends on which event loop it is on: sleeps, ticks, waits, and holds a context."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.ticked = anyio.Event()

    async def on_start(self) -> None:
        await self.sleep(0.001)
        self.done.append("slept")

    @Service.timer(0.001)
    async def tick(self) -> None:
        self.ticked.set()

    @Service.task
    async def work(self) -> None:
        await self.wait(self.ticked)
        self.done.append("ticked")
        await self.wait(self.ticked)  # once more, as it is set
        await self.sleep(3600.0)
        self.done.append("told")


async def use(service: Busy) -> None:
    """Run a service for a while, and stop it."""
    async with service:
        await service.ticked.wait()
        await service.add_future(service.sleep(0.02))
        service.done.append("used")


def test_on_host_and_guest() -> None:
    """Each runs, is told to stop and stops; neither takes calls from the other's loop, though both are in one thread."""
    host, guest = Busy(), Busy()
    outcomes: list[Outcome[None]] = []
    refused: list[EventLoopMismatch] = []

    async def meddle(over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.sleep(0.001)
            if guest.state == "running":
                with pytest.raises(EventLoopMismatch) as caught:
                    await guest.sleep(0)
                refused.append(caught.value)

    async def main() -> None:
        over = asyncio.Event()

        def is_over(outcome: Outcome[None]) -> None:
            outcomes.append(outcome)
            over.set()

        trio.lowlevel.start_guest_run(
            use,
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=is_over,
        )
        await asyncio.gather(use(host), meddle(over))

    asyncio.run(main())
    (outcome,) = outcomes
    outcome.unwrap()
    assert refused
    assert guest.done == host.done == ["slept", "ticked", "used", "told"]
