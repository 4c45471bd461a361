"""A job that hangs now and then, and a log that is written only then.

python flight_recorder.py           refreshes a cache four times; the third time takes too long
python flight_recorder.py trio      the same on trio
"""

from __future__ import annotations

import sys

import anyio

from structmode import Service, Worker, flight_recorder
from structmode.utils.logging import on_timeout


class Store:
    """Answers at once, most of the time."""

    def __init__(self) -> None:
        self.questions = 0

    async def get(self, key: str) -> list[str]:
        self.questions += 1
        if self.questions == 6:
            await self.wait_for_a_connection()
        return [key] * self.questions

    async def wait_for_a_connection(self) -> None:
        await anyio.sleep(1.5)


class Cache(Service):
    """Asks the store for what it keeps."""

    def __post_init__(self) -> None:
        self.store = Store()

    @Service.task
    async def refresh_four_times(self) -> None:
        for number in range(1, 5):
            with flight_recorder(self.log, timeout=1.0) as recorder:
                recorder.extra_context["refresh"] = number
                await self.refresh(number)

    async def refresh(self, number: int) -> None:
        on_timeout.info("Refresh %d", number)
        store = on_timeout.wrap_info(self.store)
        self.users = await store.get("users")
        self.posts = await store.get("posts")
        on_timeout.info("%d users, %d posts", len(self.users), len(self.posts))


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    Worker(Cache(), daemon=False, loglevel="info", backend=backend).execute_from_commandline()
