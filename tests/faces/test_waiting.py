"""Waiting in a service: `sleep` and the `wait` family, each of which also ends when the service stops or crashes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import pytest
import trio
import trio.testing

from structmode import Service, WaitResult, WaitResults

T = TypeVar("T")


class Plain(Service):
    """Does nothing by itself."""


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run on a clock that jumps ahead whenever nothing is left to do but to wait."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def give(value: T) -> T:
    """Return a value after a checkpoint."""
    await anyio.lowlevel.checkpoint()
    return value


async def fail(exc: BaseException) -> None:
    """Raise after a checkpoint."""
    await anyio.lowlevel.checkpoint()
    raise exc


class Waitable:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Generator[Any, Any, int]:
        return give(42).__await__()


class Resource:
    """Something to wait for, that notes how the wait for it went."""

    def __init__(self) -> None:
        self.journal: list[str] = []

    async def use(self) -> None:
        """Wait for ever, and take some time to clean up."""
        self.journal.append("begins")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
            self.journal.append("cleaned up")


Wait = Callable[[Service], Coroutine[Any, Any, Any]]


async def cut_short(wait: Wait, *, crash: bool) -> Any:
    """Begin a wait in a task outside of a service, stop or crash the service, and return what the wait gave."""
    results: list[Any] = []

    async def begin(service: Service) -> None:
        results.append(await wait(service))

    async with anyio.create_task_group() as group:
        try:
            async with Plain() as service:
                group.start_soon(begin, service)
                await anyio.wait_all_tasks_blocked()
                if crash:
                    await service.crash(EOFError("crash"))
                    await anyio.sleep_forever()
        except EOFError:
            pass
    (result,) = results
    return result


# --- sleep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (2.5, 2.5),
        (3, 3.0),
        ("2.5", 2.5),
        ("3", 3.0),
        (timedelta(minutes=2), 120.0),
        (0, 0.0),
        (-5, 0.0),
    ],
)
def test_sleep_in_all_its_forms(duration: float | str | timedelta, seconds: float) -> None:
    """sleep() takes seconds, a timedelta or a string; zero and less is no sleep."""

    async def main() -> float:
        async with Plain() as service:
            before = anyio.current_time()
            await service.sleep(duration)
            return anyio.current_time() - before

    assert run_virtually(main) == pytest.approx(seconds)


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_sleep_is_woken(crash: bool) -> None:
    """A sleep of years, or for ever, ends when the service stops, and when it crashes."""
    assert (
        await cut_short(lambda service: service.sleep(timedelta(days=3650)), crash=crash) is None
    )
    assert await cut_short(lambda service: service.sleep(math.inf), crash=crash) is None


async def test_sleep_is_woken_by_a_crash_anywhere_in_the_tree() -> None:
    """A crash of one service wakes those that sleep in the services above, below and beside it."""
    woken: list[str] = []

    class Sleeper(Service):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

        async def nap(self) -> None:
            await self.sleep(3600.0)
            woken.append(self.name)

    top, left, right, below = (Sleeper(name) for name in ("top", "left", "right", "below"))
    for child in (left, right):
        top.add_dependency(child)
    left.add_dependency(below)
    async with anyio.create_task_group() as group:
        with pytest.raises(EOFError, match="crash"):
            async with top:
                for service in (top, left, right, below):
                    group.start_soon(service.nap)
                await anyio.wait_all_tasks_blocked()
                await left.crash(EOFError("crash"))
                await anyio.sleep_forever()
    assert sorted(woken) == ["below", "left", "right", "top"]


async def test_sleep_after_a_stop() -> None:
    """On a service that has stopped, or was told to, sleep() returns at once."""
    states: list[str] = []

    class Late(Service):
        async def on_stop(self) -> None:
            await self.sleep(3600.0)
            states.append(self.state)

    service = Late()
    async with service:
        pass
    await service.sleep(3600.0)
    assert states == ["stopping"]


def test_sleep_before_a_start() -> None:
    """On a service that has not started, sleep() sleeps."""

    async def main() -> float:
        before = anyio.current_time()
        await Plain().sleep(3600.0)
        return anyio.current_time() - before

    assert run_virtually(main) == 3600.0


@pytest.mark.parametrize("duration", [math.nan, "soon", "1/fortnight"])
async def test_sleep_with_what_cannot_be_read(duration: float | str) -> None:
    """A duration that can't be read is refused, and the error shows it."""
    with pytest.raises(ValueError, match="as seconds: give seconds as a number"):
        await Plain().sleep(duration)


@pytest.mark.parametrize("duration", [None, True, object()])
async def test_sleep_with_what_is_no_duration(duration: object) -> None:
    """What is no duration is refused, and the error shows what may be given."""
    with pytest.raises(TypeError, match="as seconds: give seconds as a number"):
        await Plain().sleep(duration)  # type: ignore[arg-type]


async def test_a_cancelled_sleep_is_cancelled() -> None:
    """A sleep that is cancelled from outside passes that on: it does not look like a stop."""
    after: list[str] = []
    async with Plain() as service:
        with anyio.move_on_after(0.001) as scope:
            await service.sleep(3600.0)
            after.append("slept")  # pragma: no cover - must not be reached
        assert scope.cancelled_caught
    assert after == []


async def test_sleep_accepts_a_loop() -> None:
    """A program written for mode may pass loop=."""
    await Plain().sleep(0, loop=None)


# --- wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: give(42), id="coroutine"),
        pytest.param(Waitable, id="awaitable"),
        pytest.param(lambda: lambda: give(42), id="callable"),
    ],
)
async def test_what_wait_takes(make: Callable[[], Any]) -> None:
    """wait() takes a coroutine, an awaitable or an async callable, and gives its result."""
    async with Plain() as service:
        assert await service.wait(make()) == (42, False)


async def test_wait_for_an_event() -> None:
    """wait() takes what has an async wait()."""
    event = anyio.Event()
    results: list[WaitResult[Any]] = []

    async def wait(service: Service) -> None:
        results.append(await service.wait(event))

    async with Plain() as service, anyio.create_task_group() as group:
        group.start_soon(wait, service)
        await anyio.wait_all_tasks_blocked()
        assert results == []
        event.set()
    assert results == [(None, False)]


def test_wait_for_events_of_asyncio() -> None:
    """On asyncio, wait() takes its events and futures; asyncio's events return True."""

    async def main() -> list[Any]:
        event = asyncio.Event()
        event.set()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(42)
        async with Plain() as service:
            return [tuple(await service.wait(event)), tuple(await service.wait(future))]

    assert asyncio.run(main()) == [(True, False), (42, False)]


def test_wait_for_events_of_trio() -> None:
    """On trio, wait() takes its events."""

    async def main() -> Any:
        event = trio.Event()
        event.set()
        async with Plain() as service:
            return await service.wait(event)

    assert trio.run(main) == (None, False)


async def test_the_result_of_wait() -> None:
    """The result is a pair that can be unpacked, with names for its fields and one more fact."""
    async with Plain() as service:
        outcome = await service.wait(give("value"))
    result, stopped = outcome
    assert (result, stopped) == ("value", False)
    assert (outcome.result, outcome.stopped, outcome.timed_out) == ("value", False, False)
    assert isinstance(outcome, WaitResult)
    assert len(outcome) == 2


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_wait_is_cut_short(crash: bool) -> None:
    """When the service stops or crashes, what is waited for is cancelled, and has ended when wait() returns."""
    resource = Resource()

    async def wait(service: Service) -> Any:
        return await service.wait(resource.use()), tuple(resource.journal)

    outcome, journal = await cut_short(wait, crash=crash)
    assert outcome == (None, True)
    assert (outcome.stopped, outcome.timed_out) == (True, False)
    assert journal == ("begins", "cleaned up")


@pytest.mark.parametrize("timeout", [0.01, 0, -1, "0.01", timedelta(milliseconds=10)])
async def test_wait_with_a_timeout(timeout: float | str | timedelta) -> None:
    """A timeout gives up the wait, and is no stop: what was waited for is cancelled and has ended."""
    resource = Resource()
    async with Plain() as service:
        outcome = await service.wait(resource.use, timeout=timeout)
        assert (outcome.result, outcome.stopped, outcome.timed_out) == (None, False, True)
        assert isinstance(outcome, WaitResult)
        assert resource.journal[-1] == "cleaned up"
        assert service.state == "running"


async def test_wait_that_ends_before_its_timeout() -> None:
    """A timeout that does not pass changes nothing."""
    async with Plain() as service:
        outcome = await service.wait(give(42), timeout=60.0)
        assert (outcome.result, outcome.stopped, outcome.timed_out) == (42, False, False)


def test_the_length_of_a_timeout() -> None:
    """The wait is given up exactly when its timeout has passed."""

    async def main() -> float:
        async with Plain() as service:
            before = anyio.current_time()
            await service.wait(anyio.sleep_forever, timeout=timedelta(hours=1))
            return anyio.current_time() - before

    assert run_virtually(main) == 3600.0


async def test_wait_for_several() -> None:
    """wait() of several things waits for all, and gives their results in the order of the arguments."""
    second_first = anyio.Event()

    async def first() -> str:
        await second_first.wait()
        return "first"

    async def second() -> str:
        second_first.set()
        return "second"

    async with Plain() as service:
        assert await service.wait(first(), second(), give("third")) == (
            ["first", "second", "third"],
            False,
        )


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_wait_for_nothing_waits_for_the_stop(crash: bool) -> None:
    """wait() without arguments waits until the service stops or crashes."""
    assert await cut_short(lambda service: service.wait(), crash=crash) == (None, True)


async def test_wait_for_nothing_with_a_timeout() -> None:
    """wait() without arguments may be given up too."""
    async with Plain() as service:
        outcome = await service.wait(timeout=0.001)
        assert (outcome.stopped, outcome.timed_out) == (False, True)


async def test_wait_raises_what_is_raised() -> None:
    """What leaves the awaited thing leaves wait() as it was raised, and concerns the service no further."""
    boom = ValueError("boom")
    async with Plain() as service:
        with pytest.raises(ValueError, match="boom") as caught:
            await service.wait(fail(boom))
        assert caught.value is boom
        assert service.state == "running"
    assert service.failures == ()


async def test_wait_for_several_of_which_one_fails() -> None:
    """If one fails the others are cancelled, and have ended when the error leaves, in no group."""
    boom = ValueError("boom")
    resource = Resource()
    async with Plain() as service:
        with pytest.raises(ValueError, match="boom") as caught:
            await service.wait(resource.use(), fail(boom), give(1))
        assert caught.value is boom
        assert resource.journal == ["begins", "cleaned up"]


async def test_wait_for_several_of_which_two_fail() -> None:
    """If another fails as it is cancelled, the first failure leaves, with a note of the other."""
    first = ValueError("first")

    async def fail_later() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("second")

    async with Plain() as service:
        with pytest.raises(ValueError, match="first") as caught:
            await service.wait(fail_later(), fail(first))
    assert caught.value is first
    assert any("OSError('second')" in note for note in first.__notes__)


async def test_a_failure_on_the_way_out_is_not_lost() -> None:
    """What the awaited thing raises as the wait is given up leaves wait(): it is not taken for a mere timeout."""

    async def fail_later() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("while closing")

    async with Plain() as service:
        with pytest.raises(OSError, match="while closing"):
            await service.wait(fail_later(), timeout=0.001)
        with pytest.raises(OSError, match="while closing"):
            await service.wait(fail_later(), anyio.sleep_forever, timeout=0.001)


async def test_a_result_is_never_thrown_away() -> None:
    """What has a result although the wait was given up keeps it."""

    async def last_words() -> str:
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return "last words"

    async def wait(service: Service) -> Any:
        return await service.wait(last_words())

    assert (await cut_short(wait, crash=False)).result == "last words"
    async with Plain() as service:
        assert (await service.wait(last_words(), timeout=0.001)).result == "last words"


async def test_wait_after_a_stop() -> None:
    """On a service that has stopped nothing is begun: coroutines are closed."""
    service = Plain()
    async with service:
        pass
    coroutines = [give(1), give(2), give(3)]
    assert await service.wait(coroutines[0]) == (None, True)
    assert await service.wait_many(coroutines[1:2]) == (None, True)
    assert await service.wait_first(coroutines[2]) == ([], [], True)
    assert [inspect.getcoroutinestate(coroutine) for coroutine in coroutines] == [
        inspect.CORO_CLOSED
    ] * 3


async def test_wait_before_a_start() -> None:
    """A service that has not started can wait too."""
    assert await Plain().wait(give(42)) == (42, False)


async def test_a_cancelled_wait_is_cancelled() -> None:
    """If the caller is cancelled, so is what it waits for, and the cancellation goes on."""
    resource = Resource()
    async with Plain() as service:
        with anyio.move_on_after(0.01) as scope:
            await service.wait(resource.use(), anyio.sleep_forever)
            pytest.fail("went on")
        assert scope.cancelled_caught
        assert resource.journal == ["begins", "cleaned up"]


@pytest.mark.parametrize("call", ["wait", "wait_first", "wait_for_stopped"])
async def test_the_same_coroutine_twice(call: str) -> None:
    """A coroutine that is passed twice is refused, since it can run only once; all are closed."""
    coroutine, other = give(1), give(2)
    async with Plain() as service:
        with pytest.raises(
            ValueError, match=r"same coroutine was passed twice.*give.*make another"
        ):
            await getattr(service, call)(coroutine, other, coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert inspect.getcoroutinestate(other) == inspect.CORO_CLOSED


async def test_a_coroutine_that_has_run() -> None:
    """A coroutine that was awaited before is refused."""
    coroutine = give(1)
    await coroutine
    async with Plain() as service:
        with pytest.raises(ValueError, match="a coroutine runs only once"):
            await service.wait(coroutine)


@pytest.mark.parametrize("wrong", [42, "text", object(), Plain, lambda: 42])
async def test_what_cannot_be_waited_for(wrong: Any) -> None:
    """What can't be awaited is refused, and the error shows it; coroutines beside it are closed."""
    other = give(1)
    async with Plain() as service:
        with pytest.raises(TypeError, match="can't wait for"):
            await service.wait(other, wrong)
    assert inspect.getcoroutinestate(other) == inspect.CORO_CLOSED


@pytest.mark.parametrize("call", ["wait", "wait_first", "wait_for_stopped"])
@pytest.mark.parametrize("timeout", [math.nan, "soon"])
async def test_a_timeout_that_cannot_be_read(call: str, timeout: float | str) -> None:
    """A bad timeout is refused, and the coroutines that will not run are closed."""
    coroutine = give(1)
    async with Plain() as service:
        with pytest.raises(ValueError, match="as seconds"):
            await getattr(service, call)(coroutine, timeout=timeout)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


# --- wait_many ------------------------------------------------------------------------------------


async def test_wait_many() -> None:
    """wait_many() waits for all of an iterable, and gives the results in its order."""
    async with Plain() as service:
        assert await service.wait_many(give(n) for n in range(5)) == ([0, 1, 2, 3, 4], False)
        assert await service.wait_many([give(7)]) == ([7], False)


async def test_wait_many_of_none() -> None:
    """wait_many() of nothing is done at once."""
    async with Plain() as service:
        nothing: list[Coroutine[Any, Any, int]] = []
        outcome = await service.wait_many(nothing)
        assert (outcome.result, outcome.stopped, outcome.timed_out) == ([], False, False)


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_wait_many_is_cut_short(crash: bool) -> None:
    """When the service stops, all that has not ended is cancelled and awaited, and there is no result."""
    resources = [Resource() for _ in range(3)]

    async def wait(service: Service) -> Any:
        return await service.wait_many([give(1), *(resource.use() for resource in resources)])

    outcome = await cut_short(wait, crash=crash)
    assert (outcome.result, outcome.stopped, outcome.timed_out) == (None, True, False)
    assert [resource.journal for resource in resources] == [["begins", "cleaned up"]] * 3


async def test_wait_many_with_a_timeout() -> None:
    """A timeout gives up all."""
    resource = Resource()
    async with Plain() as service:
        outcome = await service.wait_many([resource.use(), give(1)], timeout=0.01)
    assert (outcome.result, outcome.stopped, outcome.timed_out) == (None, False, True)
    assert resource.journal[-1] == "cleaned up"


async def test_wait_many_runs_them_side_by_side() -> None:
    """All run at the same time: each may wait for another."""
    events = [anyio.Event() for _ in range(3)]

    async def relay(n: int) -> int:
        if n:
            await events[n - 1].wait()
        events[n].set()
        return n

    async with Plain() as service:
        assert await service.wait_many([relay(2), relay(1), relay(0)]) == ([2, 1, 0], False)


# --- wait_first -----------------------------------------------------------------------------------


async def test_wait_first() -> None:
    """wait_first() gives what ended first, as it was passed, with its result; the others are cancelled and awaited."""
    resource = Resource()
    quick = give("quick")
    async with Plain() as service:
        outcome = await service.wait_first(resource.use(), quick, anyio.sleep_forever)
    assert isinstance(outcome, WaitResults)
    assert tuple(outcome) == ([quick], ["quick"], False)
    assert (outcome.done, outcome.results, outcome.stopped, outcome.timed_out) == (
        [quick],
        ["quick"],
        False,
        False,
    )
    assert resource.journal == ["begins", "cleaned up"]


async def test_wait_first_of_events() -> None:
    """With events one sees which of them was set."""
    first, second = anyio.Event(), anyio.Event()
    second.set()
    async with Plain() as service:
        outcome = await service.wait_first(first, second)
    assert outcome.done == [second]
    assert len(outcome) == 3


async def test_wait_first_of_one() -> None:
    """With one thing wait_first() waits for that."""
    async with Plain() as service:
        assert (await service.wait_first(give(42))).results == [42]


async def test_wait_first_of_none() -> None:
    """With nothing to wait for wait_first() is done at once."""
    async with Plain() as service:
        assert await service.wait_first() == ([], [], False)


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_wait_first_is_cut_short(crash: bool) -> None:
    """When the service stops before any has ended, there is none, and all were cancelled and awaited."""
    resources = [Resource(), Resource()]

    async def wait(service: Service) -> Any:
        return await service.wait_first(*(resource.use() for resource in resources))

    outcome = await cut_short(wait, crash=crash)
    assert outcome == ([], [], True)
    assert not outcome.timed_out
    assert [resource.journal for resource in resources] == [["begins", "cleaned up"]] * 2


async def test_wait_first_with_a_timeout() -> None:
    """A timeout is told from a stop."""
    async with Plain() as service:
        outcome = await service.wait_first(anyio.sleep_forever, anyio.Event(), timeout=0.001)
    assert (outcome.done, outcome.results, outcome.stopped, outcome.timed_out) == (
        [],
        [],
        False,
        True,
    )


async def test_wait_first_of_which_the_first_fails() -> None:
    """If the first to end fails, its error leaves."""
    boom = ValueError("boom")
    resource = Resource()
    async with Plain() as service:
        with pytest.raises(ValueError, match="boom") as caught:
            await service.wait_first(fail(boom), resource.use())
    assert caught.value is boom


# --- wait_for_stopped -----------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
async def test_wait_for_stopped_is_true_if_cut_short(crash: bool) -> None:
    """wait_for_stopped() is True if the service stopped first, with and without something to wait for."""
    assert (
        await cut_short(lambda service: service.wait_for_stopped(anyio.Event()), crash=crash)
        is True
    )
    assert await cut_short(lambda service: service.wait_for_stopped(), crash=crash) is True


async def test_wait_for_stopped_is_false_if_not() -> None:
    """It is False if what was waited for came, or the timeout passed."""
    async with Plain() as service:
        assert await service.wait_for_stopped(give(42)) is False
        assert await service.wait_for_stopped(give(1), give(2)) is False
        assert await service.wait_for_stopped(anyio.sleep_forever, timeout=0.001) is False
        assert await service.wait_for_stopped(timeout=0.001) is False


async def test_waiting_in_a_loop() -> None:
    """The loop that mode's manual shows works: wait for something or the stop, again and again."""
    send, receive = anyio.create_memory_object_stream[int](10)
    received: list[int | None] = []

    class Consumer(Service):
        drain_timeout = 60.0

        @Service.task
        async def consume(self) -> None:
            while not self.should_stop:  # pragma: no branch - ends in the wait
                result, stopped = await self.wait(receive.receive())
                if stopped:
                    break
                received.append(result)

    with send, receive:
        async with Consumer():
            for n in range(3):
                await send.send(n)
            await anyio.wait_all_tasks_blocked()
    assert received == [0, 1, 2]


async def test_the_repr_of_results() -> None:
    """The results show what they are, also when the wait timed out."""
    async with Plain() as service:
        assert repr(await service.wait(give(42))) == "WaitResult(result=42, stopped=False)"
        assert (
            repr(await service.wait(anyio.sleep_forever, timeout=0.001))
            == "WaitResult(result=None, stopped=False, timed_out=True)"
        )
        assert (
            repr(await service.wait_first(anyio.sleep_forever, timeout=0.001))
            == "WaitResults(done=[], results=[], stopped=False, timed_out=True)"
        )
