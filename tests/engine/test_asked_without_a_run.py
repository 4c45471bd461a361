"""What a life that has no run is asked to do: nothing is done, and nothing is kept for the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from structmode._engine import Life

from .unit import Unit


@pytest.mark.parametrize(
    "ask", [Life.expect_stop, Life.expect_restart, Life.request_restart, Life.call_off_restart]
)
@pytest.mark.parametrize("has_ended", [False, True])
async def test_nothing_is_done(ask: Callable[[Life], None], *, has_ended: bool) -> None:
    """Neither before the first run nor after the last one."""
    log: list[str] = []
    unit = Unit("a", log)
    if has_ended:
        async with unit.life.block():
            pass
    log.clear()
    ask(unit.life)
    assert log == []
    async with unit.life.block():
        assert unit.state == "running"
    assert unit.state == "stopped"
    assert log.count("a.set_up") == 1
    assert "a.renew" not in log
