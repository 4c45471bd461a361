"""Children that are refused or removed at moments at which they have half arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from structmode.events import Starting, subscribe
from structmode.exceptions import StartAborted

from .laws import check
from .unit import Unit


@contextmanager
def subscribed(listen: Callable[[Any], None]) -> Iterator[None]:
    """Have `listen` told of all events, in a ``with`` block."""
    unsubscribe = subscribe(listen)
    try:
        yield
    finally:
        unsubscribe()


async def test_a_listener_that_stops_the_parent_as_a_child_starts() -> None:
    """That calls off both starts: the child has never begun, nothing hangs, and both may start again."""
    log: list[str] = []
    child = Unit("child", log)
    parent = Unit("parent", log, child)

    def listen(event: Any) -> None:
        if isinstance(event, Starting) and event.subject is child:
            parent.life.request_stop()

    with subscribed(listen), pytest.raises(StartAborted):
        await parent.life.start()
    assert child.returned == []
    assert (parent.state, child.state) == ("stopped", "stopped")
    await parent.life.start()
    await parent.life.stop()
    assert (parent.state, child.state) == ("stopped", "stopped")
    check([parent, child], log)


async def test_a_listener_that_stops_a_running_parent_as_a_child_starts() -> None:
    """Who has asked for the start is told which one was called off: that of the child."""
    child = Unit("child", [])
    parent = Unit("parent", [])

    def listen(event: Any) -> None:
        if isinstance(event, Starting) and event.subject is child:
            parent.life.request_stop()

    async with parent.life.block():
        parent.life.add_child(child.life)
        with (
            subscribed(listen),
            pytest.raises(StartAborted, match=r"^child was stopped") as caught,
        ):
            await child.life.start()
        assert caught.value.label == "child"
    assert (child.returned, child.state) == ([], "stopped")


async def test_a_child_of_the_first_hook_that_is_removed_stays_away() -> None:
    """What the first hook added, and somebody has removed since, is not there in the next run."""
    child = Unit("child", [])

    async def add(unit: Unit) -> None:
        unit.life.add_child(child.life)

    parent = Unit("parent", [], first=add)
    async with parent.life.block():
        await parent.life.remove_child(child.life)
        assert list(parent.life.children) == []
        await parent.life.restart()
        assert child.state == "stopped"
    assert list(parent.life.children) == []
