"""How often, and how soon after each other, services are restarted: on a virtual clock, to the instant."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from typing import Any, Literal

import anyio
import pytest

from structmode import MaxRestartsExceeded
from structmode.supervisors import (
    Backoff,
    OneForAllSupervisor,
    OneForOneSupervisor,
    SupervisorStrategy,
)
from structmode.testing import VirtualClock, virtual_backend

from .worker import Worker, failing, quiet, workers


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


STEADY = Backoff(initial=1.0, factor=2.0, maximum=8.0, jitter=0.0, reset_after=60.0)


class Brittle(Worker):
    """Fails a while after each start.

    Args:
        after: The seconds it runs each time.
    """

    def __init__(self, name: str, after: float, log: list[str] | None = None) -> None:
        super().__init__(name, log)
        self.after = after
        self.started_at: list[float] = []

    async def on_start(self) -> None:
        self.started_at.append(anyio.current_time())
        await super().on_start()

    async def on_started(self) -> None:
        self.add_future(self._break())

    async def _break(self) -> None:
        await anyio.sleep(self.after)
        raise ValueError(f"{self.name} broke")


def waits(brittle: Brittle) -> list[float]:
    """Return how long it was down each time."""
    times = brittle.started_at
    return [later - earlier - brittle.after for earlier, later in pairwise(times)]


# --- Budget ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [OneForOneSupervisor, OneForAllSupervisor])
async def test_three_within_a_minute(strategy: type[SupervisorStrategy]) -> None:
    """Three restarts are three, at whatever times within it; the fourth failure is one too many."""
    brittle = Brittle("b", 14.0)
    with VirtualClock() as clock:
        with pytest.raises(MaxRestartsExceeded):
            async with strategy(brittle, Worker("other"), max_restarts=3, over=60.0):
                await anyio.sleep_forever()
        assert clock.elapsed == pytest.approx(4 * 14.0, abs=0.1)
        assert brittle.starts == 4


async def test_three_in_each_minute_for_ever() -> None:
    """As many as the budget allows can go on for ever."""
    brittle = Brittle("b", 20.1)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, max_restarts=3, over=60.0) as supervisor:
            await anyio.sleep(3600.0)
            assert supervisor.state == "running"
            assert brittle.starts == 1 + 3600 // 20.1


async def test_the_default_budget() -> None:
    """A hundred within a second are allowed, and one that fails at once uses them up at once."""
    brittle = Brittle("b", 0.0)
    with VirtualClock(), pytest.raises(MaxRestartsExceeded, match="100 restarts within 1 s"):
        async with OneForOneSupervisor(brittle):
            await anyio.sleep(60.0)
    assert brittle.starts == 101


async def test_no_restarts_at_all() -> None:
    """A budget of none gives up at the first failure."""
    _, those = workers("a")
    with pytest.raises(MaxRestartsExceeded) as caught:
        async with OneForOneSupervisor(*those, max_restarts=0):
            reason = those[0].fail()
            await anyio.sleep_forever()
    assert caught.value.__cause__ is reason
    assert those[0].starts == 1


async def test_it_gives_up_with_what_can_not_be_made() -> None:
    """A class that takes no text is a mistake: the error names it, and what the service failed with is not lost."""

    class Strict(Exception):
        def __init__(self, text: str, code: int) -> None:
            super().__init__(text, code)

    _, (one,) = workers("a")
    with pytest.raises(
        TypeError, match=r"raises=.*Strict .*called with a text.*'code'.*a would have to be"
    ) as caught:
        async with OneForOneSupervisor(one, max_restarts=0, raises=Strict):
            reason = one.fail()
            await anyio.sleep_forever()
    assert caught.value.__cause__ is reason


async def test_no_limit() -> None:
    """Infinity never gives up."""
    _, those = workers("a")
    with VirtualClock():
        async with OneForOneSupervisor(*those, max_restarts=math.inf):
            for _ in range(200):
                await failing(those[0])
            assert (those[0].state, those[0].starts) == ("running", 201)


async def test_a_restart_that_fails_is_one() -> None:
    """It is tried again, and each attempt is counted."""
    log, (one,) = workers("a")
    supervisor = OneForOneSupervisor(one, max_restarts=3, over=60.0)
    with pytest.raises(
        MaxRestartsExceeded, match="a would have to be restarted once more"
    ) as caught:
        async with supervisor:
            log.clear()
            failures: list[BaseException] = [OSError(f"attempt {n}") for n in (1, 2, 3)]
            one.start_failures += failures
            one.fail()
            await anyio.sleep_forever()
    assert caught.value.__cause__ is failures[-1]
    assert log == ["stop a", *["a fails to start"] * 3]


async def test_a_new_run_of_the_supervisor_has_a_new_budget() -> None:
    """What its former run has spent is spent by that."""
    _, those = workers("a")
    async with OneForOneSupervisor(*those, max_restarts=1, over=1000.0) as supervisor:
        await failing(those[0])
        await supervisor.restart()
        await failing(those[0])
        assert those[0].state == "running"


# --- Back-off -------------------------------------------------------------------------------------


async def test_each_wait_is_longer() -> None:
    """Doubled each time, up to the maximum."""
    brittle = Brittle("b", 0.5)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=STEADY):
            await anyio.sleep(40.0)
            assert waits(brittle)[:6] == pytest.approx([1, 2, 4, 8, 8, 8], abs=0.01)


async def test_health_resets_it() -> None:
    """What has run for a while begins with the first wait again."""
    brittle = Brittle("b", 60.5)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=STEADY):
            await anyio.sleep(400.0)
            assert waits(brittle) == pytest.approx([1.0] * len(waits(brittle)), abs=0.01)
            assert len(waits(brittle)) > 4


async def test_jitter_shortens() -> None:
    """Each wait is another, and none is longer than without."""
    backoff = Backoff(initial=1.0, factor=1.0, maximum=1.0, jitter=0.5)
    brittle = Brittle("b", 0.5)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=backoff):
            await anyio.sleep(60.0)
            waited = waits(brittle)
            assert all(0.49 <= wait <= 1.01 for wait in waited)
            assert len({round(wait, 3) for wait in waited}) > 20


async def test_jitter_that_can_be_foretold() -> None:
    """The waits follow from what the given source of chance says, one number for each service that broke."""
    numbers, foretold = Random(7), Random(7)
    backoff = Backoff(initial=1.0, factor=1.0, jitter=0.5, random=numbers.random)
    brittle = Brittle("b", 0.5)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=backoff):
            await anyio.sleep(20.0)
            waited = waits(brittle)
    assert waited == pytest.approx([1.0 - 0.5 * foretold.random() for _ in waited], abs=0.001)
    assert len(waited) > 10


async def test_chance_that_is_none() -> None:
    """A source of chance that returns something else than a number from 0 up to 1 is a mistake, and the supervisor says so."""
    backoff = Backoff(random=lambda: 2.0)
    with pytest.raises(ValueError, match=r"random=.*from 0 up to 1, and it returned 2\.0"):
        async with OneForOneSupervisor(one := Worker("a"), backoff=backoff):
            one.fail()
            await anyio.sleep_forever()


async def test_failed_restarts_wait_too() -> None:
    """A service that can't be started is not tried in a hot loop."""
    brittle = Brittle("b", 1000.0)
    with VirtualClock() as clock:
        async with OneForOneSupervisor(brittle, backoff=STEADY):
            brittle.start_failures += [OSError("not yet")] * 3
            brittle.fail()
            await anyio.sleep(100.0)
            assert brittle.state == "running"
            assert clock.elapsed == pytest.approx(100.0, abs=0.1)
            begun = brittle.started_at[1:]
            gaps = [b - a for a, b in pairwise(begun)]
            assert gaps == pytest.approx([2.0, 4.0, 8.0], abs=0.01)


async def test_who_asks_for_a_restart_does_not_wait_so_long() -> None:
    """The restart goes on, and waits for its time all the same."""
    brittle = Brittle("b", 1000.0)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=STEADY) as supervisor:
            with anyio.move_on_after(0.5):
                await supervisor.restart_services([brittle])
            await anyio.sleep(0.9)
            assert not brittle.started
            await anyio.sleep(10.0)
            assert brittle.started
            assert (brittle.starts, brittle.restart_count) == (2, 1)


async def test_nobody_else_waits() -> None:
    """While one waits for its time, others that fail are restarted in theirs."""
    slow, quick = Brittle("s", 1.0), Brittle("q", 1.5)
    patient = Backoff(initial=100.0, factor=1.0, maximum=100.0, jitter=0.0)

    class Mixed(OneForOneSupervisor):
        async def restart_service(self, service: Any) -> None:
            await super().restart_service(service)

    with VirtualClock():
        async with Mixed(slow, quick, backoff=patient):
            await anyio.sleep(110.0)
            assert waits(slow) == pytest.approx([100.0], abs=0.01)
            assert waits(quick) == pytest.approx([100.0], abs=0.01)
            assert quick.started_at[1] - slow.started_at[1] == pytest.approx(0.5, abs=0.01)


async def test_all_wait_together() -> None:
    """Those that are restarted together are stopped first, then wait, then are started."""
    log: list[str] = []
    brittle, other = Brittle("b", 1.0, log), Worker("o", log)
    with VirtualClock():
        async with OneForAllSupervisor(brittle, other, backoff=STEADY):
            log.clear()
            await anyio.sleep(1.5)
            assert sorted(log) == ["stop b", "stop o"]
            assert (brittle.state, other.state) == ("crashed", "shutdown")
            await anyio.sleep(1.0)
            assert log[2:] == ["start b", "start o"]


async def test_a_stop_in_the_middle_of_a_wait() -> None:
    """Nobody waits for it any more."""
    brittle = Brittle("b", 1.0)
    patient = Backoff(initial=1e6, maximum=1e6, jitter=0.0)
    with VirtualClock() as clock:
        async with OneForOneSupervisor(brittle, backoff=patient):
            await anyio.sleep(2.0)
        assert clock.elapsed == pytest.approx(2.0, abs=0.1)
    assert brittle.starts == 1


async def test_without_back_off_nothing_waits() -> None:
    """The restart comes in the instant of the failure."""
    _, those = workers("a")
    with VirtualClock() as clock:
        async with OneForOneSupervisor(*those):
            those[0].fail()
            while those[0].starts < 2:
                await anyio.sleep(0)
            assert clock.elapsed < 0.01
            await quiet()


async def test_stopped_for_good_while_it_waits() -> None:
    """What `stop_services` stops before its restart is due is not restarted."""
    _, those = workers("a")
    with VirtualClock():
        async with OneForOneSupervisor(*those, backoff=STEADY) as supervisor:
            await failing(*those)
            await anyio.sleep(0.5)
            await supervisor.stop_services(those)
            await anyio.sleep(10.0)
            assert (those[0].starts, those[0].started) == (1, False)
