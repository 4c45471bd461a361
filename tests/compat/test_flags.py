"""The four events that a service of mode's is made of: asked, set, cleared and awaited by code that reaches into it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode.compat.faces._flags import ServiceFlag
from structmode.compat.faces.services import Service
from structmode.exceptions import LifecycleError
from structmode.testing import wait_for_state


class Quiet(Service):
    """Says nothing of its life."""

    mundane_level = "debug"


class Waiting(Quiet):
    """Has a task that waits for its stop, and notes that it has come."""

    def __init__(self, **kwargs: Any) -> None:
        self.told = anyio.Event()
        super().__init__(**kwargs)

    @Service.task
    async def wait_for_it(self) -> None:
        await self.wait_until_stopped()
        self.told.set()


async def test_started_is_set_from_the_start_to_the_reset() -> None:
    """Also when the service has stopped; and who waits for it is woken by the start."""
    service = Quiet()
    assert not service._started.is_set()
    async with anyio.create_task_group() as group:
        group.start_soon(service._started.wait)
        await anyio.wait_all_tasks_blocked()
        await service.start()
    assert service._started.is_set()
    assert service.started
    await service.stop()
    assert service._started.is_set()
    assert not await service.maybe_start()
    service.service_reset()
    assert not service._started.is_set()
    assert not service.started


async def test_started_can_be_set_and_cleared_by_hand() -> None:
    """A service that is said to have been started is not started again."""
    service = Quiet()
    service._started.set()
    assert not await service.maybe_start()
    assert service.state == "init"
    service._started.clear()
    assert await service.maybe_start()
    assert await service._started.wait()
    await service.stop()


async def test_a_start_that_fails_leaves_started_unset() -> None:
    """As if there had been no start."""

    class Failing(Quiet):
        async def on_start(self) -> None:
            raise ValueError("no")

    service = Failing()
    with pytest.raises(ValueError, match="no"):
        await service.start()
    assert not service._started.is_set()


async def test_stopped_is_set_by_a_stop() -> None:
    """And stays so until the service is reset."""
    service = Quiet()
    assert not service._stopped.is_set()
    async with anyio.create_task_group() as group:
        group.start_soon(service._stopped.wait)
        await service.start()
        assert not service._stopped.is_set()
        await service.stop()
    assert service._stopped.is_set()
    service.service_reset()
    assert not service._stopped.is_set()


async def test_setting_stopped_tells_the_tasks_and_stops_nothing() -> None:
    """That is what it means in mode: the tasks see that they should stop, and the service is still up."""
    service = Waiting()
    await service.start()
    service._stopped.set()
    with anyio.fail_after(5):
        await service.told.wait()
    assert service.should_stop
    assert service.state == "running"
    await service.stop()
    assert service.state == "shutdown"


async def test_stopped_can_be_set_and_cleared_before_a_start() -> None:
    """Tests of programs do so, to have a loop end after one round."""
    service = Quiet()
    service._stopped.set()
    assert service.should_stop
    await service.sleep(60)
    service._stopped.clear()
    assert not service.should_stop
    await service.start()
    assert not service._stopped.is_set()
    await service.stop()


async def test_a_service_that_was_told_to_stop_does_not_start() -> None:
    """Until it is reset; it counts as started all the same."""
    service = Waiting()
    service._stopped.set()
    await service.start()
    assert service.started
    assert service.state == "init"
    service.service_reset()
    await service.start()
    assert service.state == "running"
    await service.stop()


async def test_crashed_is_set_by_a_crash() -> None:
    """And who waits for it is woken."""
    service = Quiet()
    async with anyio.create_task_group() as group:
        group.start_soon(service._crashed.wait)
        await service.start()
        assert not service._crashed.is_set()
        await service.crash(ValueError("broken"))
    assert service._crashed.is_set()
    await wait_for_state(service, "crashed")
    await service.stop()
    service.service_reset()
    assert not service._crashed.is_set()


async def test_crashed_can_be_set_and_cleared_by_hand() -> None:
    """Without a reason there is one that says so; set again, it keeps the first."""
    service = Quiet()
    service._crashed.set()
    first = service.crash_reason
    service._crashed.set()
    assert service.crash_reason is first
    assert "without a reason" in str(first)
    assert service.should_stop
    assert not service._stopped.is_set()
    service._crashed.clear()
    assert service.crash_reason is None
    assert not service.should_stop


async def test_waiting_for_a_flag_that_another_one_wakes_goes_on_waiting() -> None:
    """Whoever waits for a crash is not content with a stop, and the other way round; nor for a start, with one under way."""
    service = Quiet()
    for flag, other in (
        (service._crashed, service._stopped),
        (service._stopped, service._crashed),
    ):
        other.set()
        with anyio.move_on_after(0.12) as scope:
            await flag.wait()
        assert scope.cancelled_caught
        other.clear()


async def test_who_waits_for_started_in_a_start_waits_for_its_end() -> None:
    """If the flag has been taken away meanwhile."""

    class Starting(Quiet):
        async def on_start(self) -> None:
            self.waiting = self.add_future(self._started._change())

    service = Starting()
    await service.start()
    await service.waiting
    await service.stop()


async def test_shutdown_allows_a_stop_to_be_completed() -> None:
    """Where `wait_for_shutdown` asks for that."""

    class Held(Quiet):
        wait_for_shutdown = True

        async def on_stop(self) -> None:
            assert not self._shutdown.is_set()
            self._shutdown.set()

    service = Held()
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service._shutdown.wait)
        await anyio.wait_all_tasks_blocked()
        await service.stop()
    assert service._shutdown.is_set()
    service._shutdown.clear()
    assert not service._shutdown.is_set()


async def test_a_flag_says_whose_it_is() -> None:
    """In its repr; on asyncio it has a loop, too, as mode's events have."""
    service = Quiet()
    assert repr(service._started) == "<_started of Quiet: unset>"
    service._stopped.set()
    assert repr(service._stopped) == "<_stopped of Quiet: set>"


def test_a_flag_has_the_event_loop_of_its_service() -> None:
    """The one that the service was given."""
    loop = object()
    assert Quiet(loop=loop)._started.loop is loop


def test_a_flag_says_all_that_a_flag_says() -> None:
    """What the four have in common is no flag by itself, and can't be made."""
    base: Any = ServiceFlag
    with pytest.raises(TypeError, match="abstract"):
        base(Quiet())


async def test_clearing_what_is_not_set_keeps_who_waits_for_it() -> None:
    """Programs clear `_stopped` before they do something; the tasks that wait for the stop are still told of it."""
    service = Waiting()
    service.drain_timeout = 5.0
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service._stopped.wait)
        group.start_soon(service._shutdown.wait)
        await anyio.wait_all_tasks_blocked()
        service._stopped.clear()
        service._shutdown.clear()
        service._shutdown.set()
        await service.stop()
    assert service.told.is_set()


async def test_who_waits_for_shutdown_is_told_by_any_later_run() -> None:
    """It is one event in mode, whatever becomes of the service meanwhile."""
    service = Quiet()
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service._shutdown.wait)
        await anyio.wait_all_tasks_blocked()
        await service.restart()
        service._shutdown.set()
    await service.stop()


async def test_a_second_start_that_is_refused_changes_no_flag() -> None:
    """The service is still known to have been started, when it has stopped."""
    service = Quiet()
    await service.start()
    with pytest.raises(LifecycleError, match="running already"):
        await service.start()
    await service.stop()
    assert service._started.is_set()
