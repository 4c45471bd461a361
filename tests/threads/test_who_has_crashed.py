"""Whose failure it is: who in the thread counts as crashed, and of which run it is."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
from structmode.threads import ServiceThread

from .things import Noting, threads_of, until


async def test_siblings_in_the_thread(inside: str) -> None:
    """A failure in the thread crashes whom it comes from, and those above; those beside are stopped, and have not crashed."""
    error = ValueError("in the thread")
    thread, failing, beside = Noting(backend=inside), Service(), Service()
    thread.add_dependency(beside)
    thread.add_dependency(failing)
    with pytest.raises(ValueError, match="in the thread") as caught:
        async with thread:
            await thread.call_thread(failing.crash, error)
            await anyio.sleep_forever()
    assert caught.value is error
    assert thread.crash_reason is failing.crash_reason is error
    assert not beside.crashed
    assert beside.state == "shutdown"


async def test_a_crash_above_after_a_failure_elsewhere(inside: str) -> None:
    """Those in the thread, who know already that they must stop, learn that they have crashed with those above."""
    elsewhere, above = ValueError("elsewhere"), ValueError("above")
    knew: list[tuple[bool, BaseException | None]] = []

    class Root(Service):
        async def on_stop(self) -> None:
            with anyio.move_on_after(2):
                await until(lambda: below.should_stop)
            knew.append((below.should_stop, below.crash_reason))
            await middle.crash(above)
            with anyio.move_on_after(2):
                await until(lambda: below.crashed)
            knew.append((below.should_stop, below.crash_reason))

    root, middle, thread, below = Root(), Service(), Noting(backend=inside), Service()
    thread.add_dependency(below)
    middle.add_dependency(thread)
    root.add_dependency(middle)
    other = root.add_dependency(Service())
    with pytest.raises(ValueError, match="elsewhere"):
        async with root:
            await other.crash(elsewhere)
            await anyio.sleep_forever()
    assert knew == [(True, None), (True, above)]
    assert thread.crash_reason is above
    assert thread.failures == ()
    assert not threads_of(thread)


async def test_a_failure_between_a_crash_above_and_the_stop(inside: str) -> None:
    """What fails in the thread after a crash above, before the stop has come to it, is no failure of its stop."""
    go = anyio.Event()

    class Above(Service):
        async def on_stop(self) -> None:
            with anyio.move_on_after(5):
                await go.wait()

    above, thread = Above(), Noting(backend=inside)
    above.add_dependency(thread)
    await above.start()
    await above.crash(ValueError("above"))
    await until(lambda: thread.crashed)
    error = OSError("in the thread")
    await thread.call_thread(thread.crash, error)
    with anyio.move_on_after(2):
        await until(lambda: thread.failures == (error,))
    async with anyio.create_task_group() as group:
        group.start_soon(thread.stop)  # does not raise
        group.start_soon(above.stop)
        await anyio.lowlevel.checkpoint()
        go.set()
    assert thread.state == above.state == "crashed"
    assert not threads_of(thread)


async def test_failures_of_a_former_thread(inside: str) -> None:
    """What went wrong in one run is none of the next one's, though that has not come so far as to have a run in its thread."""
    options: dict[str, Any] = {}

    class Failing(Noting):
        async def on_stop(self) -> None:
            raise ValueError("in the former one")

    def refuse() -> None:
        raise TypeError("no loop")

    service = Failing(backend=inside, backend_options=options)
    await service.start()
    with pytest.raises(ValueError, match="in the former one"):
        await service.stop()
    options |= {"no loop": True} if inside == "trio" else {"loop_factory": refuse}
    with pytest.raises(TypeError, match="no loop") as caught:
        await service.start()
    assert service.failures == (caught.value,)
    assert not threads_of(service)


async def test_a_crash_from_outside_while_it_stops(
    inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a failure of the stop, and logged as such, with the call that it came from."""
    error = ValueError("from outside")

    class Slow(Noting):
        async def on_stop(self) -> None:
            self.note("on_stop")
            with anyio.move_on_after(2):
                await until(lambda: error in self.failures)

    service = Slow(backend=inside)
    await service.start()

    async def crash() -> None:
        await until(lambda: "on_stop" in service.calls)
        await service.crash(error)

    async with anyio.create_task_group() as group:
        _ = group.start_soon(crash)
        with pytest.raises(ValueError, match="from outside") as caught:
            await service.stop()
    assert caught.value is error
    assert not service.crashed
    (told,) = (text for text in caplog.messages if "from outside" in text)
    assert "Failed while stopping, in crash(): ValueError('from outside')" in told


@pytest.mark.parametrize("later", range(5))
async def test_a_failure_as_the_stop_arrives(inside: str, later: int) -> None:
    """Whoever stops it is told of the failure, so many steps after its stop has come to the thread."""
    error = ValueError("as the stop arrives")

    class Late(ServiceThread):
        ready = False

        @Service.task
        async def fail(self) -> None:
            before, self.ready = self.last_wakeup_at, True
            while self.last_wakeup_at == before:
                await anyio.lowlevel.checkpoint()
            for _ in range(later):
                await anyio.lowlevel.checkpoint()
            raise error

    service = Late(backend=inside)
    await service.start()
    await until(lambda: service.ready)
    raised: list[BaseException] = []
    try:
        await service.stop()
    except ValueError as exc:
        raised.append(exc)
    assert raised == list(service.failures)
    assert later > 2 or raised == [error]  # later than that, the task may have been cancelled
