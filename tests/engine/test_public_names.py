"""Names that people configure by, or come upon: of loggers, and of context variables."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator

import anyio
import pytest

from structmode._engine import Fate, LifecycleEvent, Task, subscribe

from .unit import Unit, yielding


@pytest.fixture
def listening_badly() -> Iterator[None]:
    """A listener that fails on every event."""

    def listener(event: LifecycleEvent) -> None:
        raise ValueError("a listener")

    unsubscribe = subscribe(listener)
    yield
    unsubscribe()


def loggers(caplog: pytest.LogCaptureFixture, text: str) -> set[str]:
    """Return the names of the loggers that logged what has `text` in it."""
    return {record.name for record in caplog.records if text in record.getMessage()}


async def test_the_logger_of_failing_listeners(
    caplog: pytest.LogCaptureFixture, listening_badly: None
) -> None:
    """What goes wrong in a listener is logged by `structmode.events`."""
    unit = Unit("a", [])
    await unit.life.start()
    await unit.life.stop()
    assert loggers(caplog, "A listener failed") == {"structmode.events"}


async def test_the_logger_of_failing_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a done-callback is logged by `structmode.engine`."""

    def callback(task: Task[None]) -> None:
        raise ValueError("a callback")

    unit = Unit("a", [])
    await unit.life.start()
    task = unit.begin(yielding)
    task.add_done_callback(callback)
    await task
    await unit.life.stop()
    assert loggers(caplog, "A done-callback") == {"structmode.engine"}


async def test_the_logger_of_a_unit_that_cant_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong when a unit is told of a failure is logged by `structmode.engine`."""

    class Deaf(Unit):
        def on_failure(self, exc: BaseException, origin: str, fate: Fate) -> None:
            raise ValueError("deaf")

    unit = Deaf("a", [])
    await unit.life.start()
    unit.life.fail(KeyError("told"), "the test")
    with anyio.CancelScope(shield=True):
        await unit.run.finished.wait()
    assert loggers(caplog, "could not be told") == {"structmode.engine"}


async def test_the_names_of_context_variables() -> None:
    """Whoever lists the context variables of a task sees whose they are."""
    names: set[str] = set()

    async def look(unit: Unit) -> None:
        names.update(variable.name for variable in contextvars.copy_context())

    unit = Unit("a", [], set_up=look)
    await unit.life.start()
    await unit.life.stop()
    # Others, of locals and the like, may be there as well.
    assert names >= {"structmode_run", "structmode_hook"}
