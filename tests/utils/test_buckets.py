"""Buckets of tokens: not more than is allowed, and not less."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from structmode.testing import VirtualClock, virtual_backend
from structmode.utils.times import Bucket, Seconds, TokenBucket, rate_limit

virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(tuple(virtual_backend("asyncio").values()), id="asyncio"),
        pytest.param(tuple(virtual_backend("trio").values()), id="trio"),
    ],
)


class TooMany(Exception):
    """There is no token."""


class Clock:
    """A clock where no event loop runs, which stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as buckets see it where no event loop runs."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


# --- What the numbers mean ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "over", "fill_rate", "capacity"),
    [
        (3, 60, 0.05, 3),
        (100, 1, 100, 100),
        (1, 1, 1, 1),
        (1, 0.5, 2, 1),
        (0.5, 1, 0.5, 1),
        ("100/m", 1, 100 / 60, 100 / 60),
        ("6/h", 1.0, 6 / 3600, 1),
        (10, "2", 5, 10),
    ],
)
def test_a_rate_is_so_many_in_that_time(
    rate: Seconds, over: Seconds, fill_rate: float, capacity: float
) -> None:
    """At most `rate` at once, and `rate` in `over` seconds from then on; one at least can always be had."""
    bucket = rate_limit(rate, over)
    assert type(bucket) is TokenBucket
    assert bucket.fill_rate == pytest.approx(fill_rate)
    assert bucket.capacity == pytest.approx(capacity)


def test_what_is_derived_can_be_given() -> None:
    """Capacity and fill rate by themselves, and the time that the rate is for can be read."""
    bucket = TokenBucket(3, 60, capacity=10, fill_rate=2, loop=None)
    assert (bucket.rate, bucket.over, bucket.capacity, bucket.fill_rate) == (3, 60, 10, 2)


def test_a_bucket_is_full_and_fills_again(clock: Clock) -> None:
    """Three in a minute are three at once, then one every twenty seconds, and never more than three."""
    bucket = rate_limit(3, 60)
    assert [bucket.pour() for _ in range(4)] == [True, True, True, False]
    assert bucket.expected_time() == pytest.approx(20)
    clock.now += 19.9
    assert not bucket.pour()
    clock.now += 0.2
    assert bucket.pour()
    assert not bucket.pour()
    clock.now += 1_000_000
    assert bucket.tokens == 3
    assert bucket.expected_time() == 0.0
    assert bucket.pour(3)
    assert not bucket.pour()


def test_several_tokens_are_poured_together_or_not_at_all(clock: Clock) -> None:
    """And zero always."""
    bucket = rate_limit(10, 1)
    assert bucket.pour(8)
    assert not bucket.pour(3)
    assert bucket.expected_time(3) == pytest.approx(0.1)
    assert bucket.pour(2)
    assert bucket.pour(0)
    assert bucket.tokens == 0


@pytest.mark.parametrize("wrong", [4, -1])
def test_what_can_never_be_poured_is_refused(wrong: int) -> None:
    """More than there is room for, and less than nothing: nobody should wait for that."""
    bucket = rate_limit(3, 60)
    with pytest.raises(ValueError, match="room for 3 tokens"):
        bucket.pour(wrong)
    with pytest.raises(ValueError, match="room for 3 tokens"):
        bucket.expected_time(wrong)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"rate": 0}, "rate of a bucket"),
        ({"rate": -1}, "rate of a bucket"),
        ({"rate": 1, "over": 0}, "time of a bucket"),
        ({"rate": 1, "fill_rate": 0}, "fill rate of a bucket"),
        ({"rate": 1, "capacity": -1}, "capacity of a bucket"),
        ({"rate": 1, "capacity": 0.5}, "room for one token"),
        ({"rate": "soon"}, "rate of a bucket"),
    ],
)
def test_wrong_numbers_are_refused(kwargs: dict[str, Any], text: str) -> None:
    """With a ValueError that names the number."""
    with pytest.raises(ValueError, match=text):
        TokenBucket(**kwargs)


@given(
    rate=st.floats(0.01, 1000),
    over=st.floats(0.01, 1000),
    pours=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 3)), max_size=40),
)
def test_never_more_than_is_allowed(
    rate: float, over: float, pours: list[tuple[float, int]]
) -> None:
    """In any span of time, no more is poured than what the bucket holds and what it is filled with meanwhile."""
    now = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", now)
        bucket = rate_limit(rate, over)
        poured: list[tuple[float, int]] = []
        for pause, tokens in pours:
            now.now += pause
            if tokens <= bucket.capacity and bucket.pour(tokens):
                poured.append((now.now, tokens))
    for first, (begin, _) in enumerate(poured):
        total = 0
        for moment, tokens in poured[first:]:
            total += tokens
            assert total <= (bucket.capacity + (moment - begin) * bucket.fill_rate) * 1.0001


@given(
    rate=st.floats(0.001, 1e6),
    start=st.floats(0, 1e9),
    tokens=st.integers(1, 5),
)
def test_after_the_expected_time_there_is_enough(rate: float, start: float, tokens: int) -> None:
    """Whatever the clock rounds, who waits that long need not wait again."""
    now = Clock()
    now.now = start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", now)
        bucket = TokenBucket(rate, capacity=5)
        while bucket.pour():
            pass
        seconds = bucket.expected_time(tokens)
        now.now += seconds
        assert bucket.expected_time(tokens) <= seconds * 1e-6
        now.now += bucket.expected_time(tokens)
        assert bucket.pour(tokens)


# --- async with -----------------------------------------------------------------------------------


@virtual_time
async def test_a_block_waits_for_its_token_and_takes_it(virtual_clock: VirtualClock) -> None:
    """So many at once, and the others as the bucket fills, on the event loop's clock."""
    bucket = rate_limit(2, 10)
    begun: list[float] = []
    start = anyio.current_time()
    for _ in range(5):
        async with bucket as given:
            assert given is bucket
            begun.append(anyio.current_time() - start)
    assert begun == pytest.approx([0, 0, 5, 10, 15])


@virtual_time
async def test_tasks_have_their_turn_in_order(virtual_clock: VirtualClock) -> None:
    """First come, first served, on every backend."""
    bucket = rate_limit(1, 1)
    order: list[int] = []

    async def work(number: int) -> None:
        async with bucket:
            order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(work, number)
            await anyio.wait_all_tasks_blocked()
    assert order == list(range(10))


@virtual_time
async def test_a_cancelled_task_takes_no_token(virtual_clock: VirtualClock) -> None:
    """The next one has it, when it is there."""
    bucket = rate_limit(1, 10)
    start = anyio.current_time()
    async with bucket:
        pass
    with anyio.move_on_after(4) as scope:
        async with bucket:
            pytest.fail("it had a token")
    assert scope.cancelled_caught
    async with bucket:
        assert anyio.current_time() - start == pytest.approx(10)


async def test_a_block_is_a_checkpoint() -> None:
    """Also if there is a token, which is not taken then."""
    bucket = rate_limit(1, 1000)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with bucket:
            pytest.fail("it began")
    assert scope.cancelled_caught
    assert bucket.pour()


async def test_a_bucket_may_raise_instead() -> None:
    """If there is no token."""
    bucket = rate_limit(1, 1000, raises=TooMany)
    async with bucket:
        pass
    with pytest.raises(TooMany):
        async with bucket:
            pytest.fail("it began")


async def test_what_is_raised_in_a_block_leaves_it() -> None:
    """As it was raised."""
    with pytest.raises(ValueError, match="passes"):
        async with rate_limit(1):
            raise ValueError("passes")


def test_one_event_loop_after_another_may_use_a_bucket(clock: Clock) -> None:
    """Their clocks have nothing in common: on a new one, the bucket goes on with what it had."""
    bucket = rate_limit(3, 30)
    assert bucket.pour()
    times: list[float] = []

    async def use() -> None:
        with VirtualClock():
            begin = anyio.current_time()
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(bucket.__aenter__)
            times.append(anyio.current_time() - begin)

    anyio.run(use, **virtual_backend("asyncio"))
    anyio.run(use, **virtual_backend("trio"))
    # Two of three were left; then none.
    assert times == pytest.approx([10, 30])
    assert bucket.tokens == pytest.approx(0, abs=1e-6)


def test_another_kind_of_bucket() -> None:
    """`rate_limit` makes what it is told to make, and `async with` works with what that one pours."""

    class Free(Bucket):
        def pour(self, tokens: int = 1) -> bool:
            return True

        def expected_time(self, tokens: int = 1) -> float:
            return 0.0

        @property
        def tokens(self) -> float:
            return self.capacity

    bucket = rate_limit(1, bucket_type=Free, raises=TooMany, loop=None)
    assert isinstance(bucket, Free)
    assert (bucket.tokens, bucket.raises, bucket.expected_time()) == (1, TooMany, 0)

    async def use() -> None:
        for _ in range(3):
            async with bucket:
                pass

    anyio.run(use)


@settings(deadline=None)
@given(rate=st.floats(0.1, 1000), over=st.floats(0.1, 1000))
def test_steady_use_gets_all_that_is_allowed(rate: float, over: float) -> None:
    """A bucket that is always asked gives as much as it is filled with, no less."""
    now = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", now)
        bucket = rate_limit(rate, over)
        while bucket.pour():
            pass
        begin = now.now
        for _ in range(20):
            now.now += bucket.expected_time()
            now.now += bucket.expected_time()
            assert bucket.pour()
        assert (now.now - begin) * bucket.fill_rate == pytest.approx(20, abs=1.01, rel=1e-3)


async def test_callbacks_of_the_event_loop_have_its_time(anyio_backend_name: str) -> None:
    """A bucket that is asked by tasks and by callbacks in turn fills as any other."""
    if anyio_backend_name == "trio":
        pytest.skip("it has no such callbacks")
    bucket = rate_limit(1000, over=1.0)
    loop = asyncio.get_running_loop()
    assert bucket.pour(1000)

    def ask(asked: anyio.Event) -> None:
        _ = bucket.tokens
        asked.set()

    with anyio.fail_after(10):
        while bucket.tokens < 20.0:
            asked = anyio.Event()
            loop.call_soon(ask, asked, context=contextvars.Context())
            await asked.wait()
