"""A context that is opened in one task and closed in another.

    python examples/held_feed.py

`feed` stands for the client of some library: an async context manager with a task group inside. Whoever enters it in one task
and leaves it in another gets "Attempted to exit cancel scope in a different task". `hold` makes a service of it, which has a
task of its own for that. Here each visitor gets a feed in the task of the request that opens it; another request closes it;
and what is open at the end is closed with the program. A feed that breaks is opened again by its supervisor.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from structmode import OneForOneSupervisor, Service
from structmode.events import LifecycleEvent, Started, subscribe
from structmode.functions import Held, hold


class Feed:
    """What the library gives: numbers that arrive in the background."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.last = 0
        self.broken = anyio.Event()

    async def receive(self) -> None:
        """Count up, until it is cut."""
        while not self.broken.is_set():
            await anyio.sleep(0.01)
            self.last += 1
        raise ConnectionError(f"the feed of {self.name} was cut")


@asynccontextmanager
async def feed(name: str) -> AsyncGenerator[Feed]:
    """Open a feed: the library's own context manager, which knows nothing of services."""
    async with anyio.create_task_group() as group:
        it = Feed(name)
        group.start_soon(it.receive)
        print(f"{name}: opened")
        try:
            yield it
        finally:
            group.cancel_scope.cancel()
            print(f"{name}: closed")


class Desk(Service):
    """Takes requests, each in a task of its own."""

    mundane_level = "debug"

    def __post_init__(self) -> None:
        self.held: dict[str, Held[Feed]] = {}
        self.feeds = self.add_dependency(OneForOneSupervisor())

    async def open(self, name: str) -> None:
        """Open a feed."""
        held = hold(partial(feed, name), name=name)
        held.mundane_level = "debug"
        self.feeds.add(held)
        await held.maybe_start()
        self.held[name] = held

    async def close(self, name: str) -> None:
        """Close a feed."""
        await self.feeds.remove_dependency(self.held.pop(name))

    async def request(self, act: str, name: str) -> None:
        """Do what a request says, in a task of its own."""
        await self.add_future(getattr(self, act)(name))


async def main() -> None:
    """Open three feeds, close one, cut another."""
    async with Desk() as desk:
        for name in ("ada", "ben", "cyd"):
            await desk.request("open", name)
        await desk.request("close", "ada")
        await cut(desk.held["ben"])


async def cut(held: Held[Feed]) -> None:
    """Cut a feed, and wait until there is another in its place."""
    up_again, old = anyio.Event(), held.value

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Started) and event.subject is held:
            up_again.set()

    unsubscribe = subscribe(listen)
    old.broken.set()
    await up_again.wait()
    unsubscribe()
    print(f"{held.label}: has a new feed: {held.value is not old}")


if __name__ == "__main__":
    anyio.run(main)
