"""On asyncio anybody can cancel what a task awaits, such as a pending request: to who awaits it, that is a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from structmode import Service
from structmode.services import task, timer
from structmode.signals import Signal
from structmode.supervisors import Backoff

AT_ONCE = Backoff(initial=0.0, jitter=0.0)

pytestmark = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"debug": True}), ("asyncio", {"debug": True, "use_uvloop": True})],
    ids=["asyncio", "asyncio+uvloop"],
)


async def request(*, is_lost: bool) -> None:
    """Await an answer, which comes unless the connection is lost."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    if is_lost:
        loop.call_soon(answer.cancel)
    else:
        loop.call_soon(answer.set_result, None)
    await answer


class Client(Service):
    """Loses the connection the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self.done = anyio.Event()

    async def listen(self) -> None:
        """Make a request."""
        self.tries += 1
        await request(is_lost=self.tries == 1)
        self.done.set()


class Listening(Client):
    """Listens in a task."""

    listens = task(on_error="restart", backoff=AT_ONCE)(Client.listen)


class Polling(Client):
    """Listens again and again."""

    listens = timer(0.001, on_error="log")(Client.listen)


class Insisting(Client):
    """Listens again and again, and does not give up an attempt."""

    listens = timer(0.001, on_error="restart", backoff=AT_ONCE)(Client.listen)


@pytest.mark.parametrize("kind", [Listening, Polling, Insisting])
async def test_work_that_may_fail(kind: type[Client], caplog: pytest.LogCaptureFixture) -> None:
    """Its policy deals with it, and tells what it awaited."""
    async with kind() as client:
        await client.wait(client.done, timeout=10.0)
    assert client.tries >= 2
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [type(record.exc_info[1]) for record in told if record.exc_info] == [
        anyio.TaskCancelled
    ]
    assert f"{kind.__name__}.listens awaited something that was cancelled" in told[0].getMessage()


async def test_work_that_is_cancelled_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A stop is none of a policy's business."""

    class Waiting(Client):
        @task(on_error="restart", backoff=AT_ONCE)
        async def wait_for_ever(self) -> None:
            self.tries += 1
            self.done.set()
            await anyio.sleep_forever()

    async with Waiting() as client:
        await client.done.wait()
    assert client.tries == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_receivers_of_a_signal() -> None:
    """The others are called; then the failure leaves the send, which has not been cancelled."""
    signal, called = Signal[Any](), list[str]()

    @signal.connect
    async def asks(sender: Any, **kwargs: Any) -> None:
        await request(is_lost=True)

    @signal.connect
    async def listens(sender: Any, **kwargs: Any) -> None:
        called.append("listens")

    with pytest.raises(anyio.TaskCancelled, match="asks awaited something that was cancelled"):
        await signal.send("me")
    assert called == ["listens"]
    await anyio.lowlevel.checkpoint()
