"""What becomes of background work that fails, by its policy: the service crashes, or goes on, or the work is begun again."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import anyio
import pytest

from structmode import Service
from structmode.events import LifecycleEvent, TaskFailed, TickFailed, subscribe
from structmode.exceptions import TaskReturned
from structmode.services import crontab, task, timer
from structmode.supervisors import Backoff
from structmode.testing import VirtualClock, virtual_backend

SLOWER = Backoff(initial=1.0, factor=2.0, maximum=4.0, jitter=0.0, reset_after=60.0)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A loop whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Failing(Service):
    """Fails as often as it is told, and notes the times of its tries."""

    fails = 0
    lasts = 0.0
    error: BaseException | None = None

    def __init__(self) -> None:
        super().__init__()
        self.tries: list[float] = []

    async def on_start(self) -> None:
        self.began = anyio.current_time()

    async def attempt(self) -> None:
        """Fail, or be done."""
        self.tries.append(round(anyio.current_time() - self.began, 3))
        await self.sleep(self.lasts)
        if len(self.tries) <= self.fails:
            raise self.error or OSError(f"try {len(self.tries)}")


F = TypeVar("F", bound=Failing)


@asynccontextmanager
async def running(service: F) -> AsyncGenerator[F]:
    """Run a service in virtual time."""
    with VirtualClock():
        async with service:
            yield service


@pytest.fixture
def events() -> Any:
    """All that is told of work that failed."""
    found: list[LifecycleEvent] = []
    kinds = (TaskFailed, TickFailed)
    stop = subscribe(lambda event: found.append(event) if isinstance(event, kinds) else None)
    yield found
    stop()


async def test_a_task_is_begun_again(events: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """After a back-off that grows, until it succeeds; each failure is told, with the time of the next try."""

    class Work(Failing):
        fails = 4

        @Service.task(on_error="restart", backoff=SLOWER)
        async def work(self) -> None:
            await self.attempt()

    async with running(Work()) as service:
        await service.sleep(20.0)
        assert service.tries == [0.0, 1.0, 3.0, 7.0, 11.0]
        assert service.state == "running"
    assert [(event.task, event.again_in) for event in events] == [
        ("Work.work", delay) for delay in (1.0, 2.0, 4.0, 4.0)
    ]
    assert (
        "[^Work]: Work.work failed, and is run again in 1 s: OSError('try 1')" in caplog.messages
    )
    record = next(one for one in caplog.records if one.levelno == logging.ERROR)
    assert record.exc_info is not None


async def test_the_back_off_begins_anew() -> None:
    """When the task has been well for long enough."""

    class Work(Failing):
        fails = 3
        lasts = 100.0

        @Service.task(on_error="restart", backoff=SLOWER)
        async def work(self) -> None:
            await self.attempt()

    async with running(Work()) as service:
        await service.sleep(1000.0)
        assert service.tries == [0.0, 101.0, 202.0, 303.0]


async def test_a_task_whose_failure_is_logged_is_over(
    events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is not tried again, and the service goes on."""

    class Work(Failing):
        fails = 1

        @Service.task(on_error="log")
        async def work(self) -> None:
            await self.attempt()

    async with running(Work()) as service:
        await service.sleep(20.0)
        assert (service.tries, service.state) == ([0.0], "running")
    assert [(event.task, event.again_in) for event in events] == [("Work.work", None)]
    assert "[^Work]: Work.work failed, and is over: OSError('try 1')" in caplog.messages


async def test_a_timer_is_run_again(events: list[Any]) -> None:
    """Until it succeeds, and then the schedule goes on; ticks that have passed meanwhile are left out."""

    class Work(Failing):
        fails = 2

        @Service.timer(2.0, on_error="restart", backoff=SLOWER)
        async def work(self) -> None:
            await self.attempt()

    async with running(Work()) as service:
        await service.sleep(9.0)
        assert service.tries == [2.0, 3.0, 5.0, 6.0, 8.0]
    assert [event.timer for event in events] == ["Work.work"] * 2


async def test_a_crontab_is_run_again(events: list[Any]) -> None:
    """As a timer."""

    class Work(Failing):
        fails = 2

        @Service.crontab("* * * * *", on_error="restart", backoff=SLOWER)
        async def work(self) -> None:
            await self.attempt()

    async with running(Work()) as service:
        await service.sleep(150.0)
        first, *others = service.tries
        assert [round(one - first, 1) for one in others][:2] == [1.0, 3.0]
        assert len(service.tries) in {
            4,
            5,
        }  # as the first minute begins: two or three of them come
    assert [event.timer for event in events] == ["Work.work"] * 2


async def test_a_stop_ends_the_wait_for_the_next_try() -> None:
    """Nothing is begun again in a service that has been told to stop, whether it waits or has just failed."""

    class Work(Failing):
        fails = 100
        drain_timeout = 60.0

        @Service.task(
            on_error="restart", backoff=Backoff(initial=1000.0, maximum=1000.0, jitter=0.0)
        )
        async def waits(self) -> None:
            await self.attempt()

        @Service.task(on_error="restart")
        async def ends(self) -> None:
            await self.wait_until_stopped()
            raise OSError("too late")

    async with running(Work()) as service:
        await service.sleep(10.0)
        before = anyio.current_time()
        await service.stop()
        assert anyio.current_time() - before < 1.0
    assert (len(service.tries), service.state) == (1, "shutdown")


@pytest.mark.parametrize("policy", ["log", "restart"])
async def test_what_ends_a_program_crashes(policy: Any) -> None:
    """No policy deals with it."""

    class Work(Failing):
        fails = 1
        error = KeyboardInterrupt("enough")

        @Service.task(on_error=policy)
        async def work(self) -> None:
            await self.sleep(0.001)
            await self.attempt()

    with pytest.raises(KeyboardInterrupt, match="enough"):
        async with Work():
            await anyio.sleep_forever()


@pytest.mark.fault("A20")
async def test_a_task_that_must_not_return() -> None:
    """That it does is a crash, which names it."""

    class Work(Service):
        @Service.task(forever=True)
        async def work(self) -> None:
            await self.sleep(0.001)

    with pytest.raises(TaskReturned, match=r"Work\.work has returned.*forever=True") as caught:
        async with Work():
            await anyio.sleep_forever()
    assert caught.value.task == "Work.work"


async def test_a_task_that_returns_is_begun_again(events: list[Any]) -> None:
    """If its policy says so; when the service stops, it may return."""

    class Work(Failing):
        @Service.task(on_error="restart", backoff=SLOWER, forever=True)
        async def work(self) -> None:
            await self.attempt()
            if len(self.tries) == 3:
                await self.wait_until_stopped()

    async with running(Work()) as service:
        await service.sleep(10.0)
        assert service.tries == [0.0, 1.0, 3.0]
    assert [type(event.error) for event in events] == [TaskReturned] * 2


async def test_the_plain_functions() -> None:
    """`task`, `timer` and `crontab` of the module take the same."""

    class Work(Failing):
        fails = 1

        @task(on_error="log")
        async def one(self) -> None:
            await self.attempt()

        @timer(1000.0, on_error="restart", backoff=SLOWER)
        async def two(self) -> None: ...

        @crontab("0 0 1 1 *", on_error="restart", backoff=SLOWER)
        async def three(self) -> None: ...

        @task
        async def four(self) -> None: ...

    policies = [Work.one.on_error, Work.two.on_error, Work.three.on_error, Work.four.on_error]
    assert policies == ["log", "restart", "restart", "crash"]
    async with running(Work()) as service:
        await service.sleep(0.001)
        assert service.tries == [0.0]


async def body(self: Any) -> None:
    """Be the body of a task."""


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            {"on_error": "skip"},
            ValueError,
            'on_error is "crash", "log" or "restart", not \'skip\'',
        ),
        ({"backoff": SLOWER}, ValueError, 'backoff= is for on_error="restart"'),
        ({"on_error": "restart", "backoff": 3}, TypeError, "backoff= takes a Backoff, not 3"),
    ],
)
def test_misuse(settings: Any, error: type[Exception], text: str) -> None:
    """It is refused where it is declared, with file and line."""
    for declare in (Service.task, lambda **them: Service.timer(1.0, **them)):
        with pytest.raises(error) as caught:
            declare(**settings)(body)
        assert "test_policies.py" in str(caught.value)
        assert text in str(caught.value)
