"""The chapter `mode.threads` of mode's manual: services in threads of their own, and calls into them."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from structmode import Service
from structmode.threads import QueueServiceThread, ServiceThread


class BlockingStore:
    """Stands for a client of a database that blocks, and must be used in one thread."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        assert threading.get_ident() == self.thread
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        assert threading.get_ident() == self.thread
        self.values[key] = value


class Store(QueueServiceThread):
    """Keeps such a client in a thread, and delegates to it."""

    client: BlockingStore

    async def on_start(self) -> None:
        self.client = BlockingStore()

    async def get(self, key: str) -> str | None:
        return await self.call_thread(self.client.get, key)

    async def set(self, key: str, value: str) -> None:
        await self.call_thread(self.client.set, key, value)


@pytest.mark.parametrize("inside", ["asyncio", "trio"])
async def test_a_blocking_client(inside: str) -> None:
    """Methods that delegate to the thread return when the thread is done, with its result."""
    async with Store(backend=inside) as store:
        await store.set(key="tea", value="hot")
        assert await store.get(key="tea") == "hot"
        assert store.client.thread != threading.get_ident()


async def test_a_blocking_client_that_is_started_and_stopped() -> None:
    """It may be started and stopped by hand as well."""
    store = Store()
    await store.start()
    await store.set("tea", "hot")
    assert await store.get("tea") == "hot"
    await store.stop()


async def test_hooks_of_the_thread() -> None:
    """`on_thread_started` and `on_thread_stop` are called in the thread, where its event loop is."""
    told: list[tuple[str, int]] = []

    class Feed(ServiceThread):
        async def on_thread_started(self) -> None:
            told.append(("started", threading.get_ident()))

        async def on_thread_stop(self) -> None:
            await anyio.sleep(0)
            told.append(("stop", threading.get_ident()))

        async def on_stop(self) -> None:
            told.append(("on_stop", threading.get_ident()))

    async with Feed():
        pass
    assert [what for what, _ in told] == ["started", "on_stop", "stop"]
    [thread] = {thread for _, thread in told}
    assert thread != threading.get_ident()


async def test_an_error_in_the_thread_reaches_the_owner() -> None:
    """What fails in the thread is raised where its owner runs."""

    class Broken(ServiceThread):
        @Service.task
        async def work(self) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with Broken():
            await anyio.sleep_forever()  # pragma: no cover - it may have failed by now


async def test_calls_within_calls() -> None:
    """A call may make others in the same thread, as deep as it likes."""

    class Deep(QueueServiceThread):
        async def down(self, depth: int) -> int:
            return 0 if depth == 0 else 1 + await self.call_thread(self.down, depth - 1)

    async with Deep() as deep:
        assert await deep.call_thread(deep.down, 5) == 5


async def test_a_call_that_is_not_waited_for() -> None:
    """`cast_thread` has something called, and does not wait for it; what was asked for is done before a stop."""
    done: list[Any] = []
    async with Store() as store:
        for number in range(10):
            await store.cast_thread(done.append, number)
    assert sorted(done) == list(range(10))


async def test_a_thread_that_was_never_started() -> None:
    """A stop of one that was never started returns at once."""
    await Store().stop()
