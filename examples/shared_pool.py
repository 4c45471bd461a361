"""Services as mixins: what two of them need is started once, and stopped with the last of them.

    python examples/shared_pool.py

A shop takes orders and sends letters, and both use one pool of connections. The shop is a dataclass, the pool a plain class: the
mixin costs neither anything. The two parts of the shop start at the same time; the pool is up before them, and closed after them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from structmode.facet import ServiceMixin


class Pool(ServiceMixin):
    """A few connections for many users."""

    async def start(self) -> None:
        self.free = anyio.Semaphore(2)
        print("pool open")

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[str]:
        """Hold a connection for the length of a block."""
        async with self.free:
            yield "a connection"

    async def stop(self) -> None:
        print(f"pool closed, {self.free.value} connections free")


@dataclass
class Orders(ServiceMixin):
    """Takes orders, in the background."""

    pool: Pool
    taken: list[int] = field(default_factory=list[int])

    @property
    def dependencies(self) -> list[Pool]:
        return [self.pool]

    async def start(self) -> None:
        self.enough = anyio.Event()
        print("orders open")
        self.add_task(self.take())

    async def take(self) -> None:
        for number in range(1, 1000):
            async with self.pool.connection():
                await anyio.sleep(0.01)
            self.taken.append(number)
            if number == 3:
                self.enough.set()

    async def stop(self) -> None:
        print("orders closed")


@dataclass
class Letters(ServiceMixin):
    """Sends letters when it is asked to."""

    pool: Pool

    @property
    def dependencies(self) -> list[Pool]:
        return [self.pool]

    async def send(self, text: str) -> None:
        """Send one."""
        async with self.pool.connection() as connection:
            print(f"sent over {connection}: {text}")

    async def stop(self) -> None:
        await self.send("we are closing")


class Shop(ServiceMixin):
    """All of it."""

    def __init__(self) -> None:
        pool = Pool()
        self.orders = Orders(pool)
        self.letters = Letters(pool)

    @property
    def dependencies(self) -> list[list[ServiceMixin]]:
        return [[self.orders, self.letters]]


async def main() -> None:
    """Keep the shop open for a moment."""
    async with Shop() as shop:
        await shop.orders.enough.wait()
        await shop.letters.send(f"orders {shop.orders.taken[:3]}")


if __name__ == "__main__":
    anyio.run(main)
