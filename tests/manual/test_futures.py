"""The chapter `mode.utils.futures` of mode's manual: one call for many callers, and what may be awaitable."""

from __future__ import annotations

import anyio

from structmode.utils.futures import maybe_async, stampede


class Client:
    """Connects once, however many ask for it at the same time."""

    def __init__(self) -> None:
        self.connections = 0

    @stampede
    async def maybe_connect(self) -> str:
        return await self._connect()

    async def _connect(self) -> str:
        await anyio.sleep(0.001)
        self.connections += 1
        return f"connection {self.connections}"


async def test_many_callers_of_one_method() -> None:
    """Of many tasks that call it at the same time, one does it, and the others get its result."""
    client = Client()
    got: list[str] = []

    async def ask() -> None:
        got.append(await client.maybe_connect())

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    assert got == ["connection 1"] * 4
    assert client.connections == 1


count = 0


@stampede
async def update_count() -> None:
    """Count, once for all who call it at the same time."""
    global count
    await anyio.sleep(0)
    count += 1


async def test_many_callers_of_one_function() -> None:
    """It is so for a function as well, also if all call it before anything else has happened."""
    before = count
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(update_count)
    assert count == before + 1


async def test_what_may_be_awaitable() -> None:
    """`maybe_async` awaits what can be awaited, and returns the rest as it is."""

    def plain(x: int) -> int:
        return x

    async def awaited(x: int) -> int:
        await anyio.sleep(0)
        return x

    assert await maybe_async(plain(1)) == 1
    assert await maybe_async(awaited(2)) == 2
