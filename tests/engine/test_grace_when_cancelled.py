"""The time that a forced stop grants to what ignores it, when asyncio has cancelled tasks of the same run besides."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout

from .unit import Unit, hanging, stubborn


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that lets anybody cancel a task, past all scopes."""
    return "asyncio", {"debug": True}


@pytest.mark.usefixtures("short_grace")
async def test_a_task_that_had_no_first_step() -> None:
    """That it was cancelled cuts neither the wait for a deaf one short nor the steps that follow."""
    log: list[str] = []
    event = anyio.Event()
    unit = Unit("a", log, work={"deaf": lambda _: stubborn(event)})
    unit.stop_timeout = 0.02
    await unit.life.start()
    _ = unit.begin(hanging, "victim")
    (victim,) = [task for task in asyncio.all_tasks() if task.get_name() == "victim"]
    victim.cancel()
    with pytest.raises(ShutdownTimeout):
        await unit.life.stop()
    event.set()
    await unit.run.finished.wait()
    assert log[-2:] == ["a.tear_down", "a.farewell"]
    assert [type(exc) for exc in unit.run.failures] == [ShutdownTimeout]
