"""A failure that nobody receives goes to those above, who are told where it has come from."""

from __future__ import annotations

import anyio
import pytest

from .unit import Unit, raising


@pytest.mark.parametrize("as_need", [True, False])
async def test_a_restart_that_nobody_waits_for(as_need: bool) -> None:
    """If it fails, that is told as a failure of what was restarted, by its name: to the parent, or to each who needs it."""
    log: list[str] = []
    error = OSError("not again")
    b = Unit("b", log)
    if as_need:
        above = [Unit(label, log, needs=[[b]]) for label in ("one", "two")]
    else:
        above = [Unit("parent", log, b)]
    with pytest.raises(OSError, match="not again") as caught:
        async with Unit("top", log, *above).life.block():
            b.steps["set_up"] = raising(error)
            b.life.request_restart()
            await anyio.sleep_forever()
    assert caught.value is error
    for unit in above:
        assert [(exc, origin) for exc, origin, _ in unit.failed] == [(error, "b")]
