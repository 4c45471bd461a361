"""What a thread without the service's event loop may not do: it is refused at once, and harms nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, Service
from structmode.services import Task

Call = Callable[[Service, Task[None]], object]

CALLS: dict[str, Call] = {
    "add_future()": lambda service, task: service.add_future(anyio.sleep(0)),
    "set_shutdown()": lambda service, task: service.set_shutdown(),
    "add_context()": lambda service, task: service.add_context(nullcontext()),
    "exit_stack": lambda service, task: service.exit_stack.callback(print),
    "add_dependency()": lambda service, task: service.add_dependency(Service()),
    "cancel()": lambda service, task: task.cancel(),
}


def in_new_thread(call: Callable[[], object]) -> None:
    """Call something in a thread that no event loop knows of; raises what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("name", CALLS)
async def test_refused(name: str) -> None:
    """The call names itself in what it raises, and the service goes on; on its own loop it is welcome."""
    async with Service() as service:
        task = service.add_future(anyio.sleep_forever())
        await anyio.sleep(0.001)
        for run in (in_new_thread, lambda call: call()):
            with pytest.raises(EventLoopMismatch) as caught:
                await anyio.to_thread.run_sync(run, lambda: CALLS[name](service, task))
            assert str(caught.value).startswith(name)
        assert service.state == "running"
        assert not task.done()
        CALLS[name](service, task)


async def test_what_to_do_instead() -> None:
    """The refusal to cancel a task from elsewhere says how to do it, and that way is open."""
    async with Service() as service:
        task = service.add_future(anyio.sleep_forever())
        await anyio.sleep(0.001)
        token = anyio.lowlevel.current_token()

        def cancel() -> None:
            with pytest.raises(EventLoopMismatch, match=r"anyio\.from_thread\.run_sync\(.*token="):
                task.cancel()
            anyio.from_thread.run_sync(task.cancel, token=token)

        await anyio.to_thread.run_sync(in_new_thread, cancel)
        with pytest.raises(anyio.TaskCancelled):
            await task


async def test_after_the_end() -> None:
    """A service that has stopped belongs to no loop."""
    async with Service() as service:
        pass
    await anyio.to_thread.run_sync(in_new_thread, service.set_shutdown)
    await anyio.to_thread.run_sync(in_new_thread, lambda: service.add_context(nullcontext()))
    await service.start()
    await service.stop()
