"""Failures in what is about to be stopped anyway, since something beside it has failed before."""

from __future__ import annotations

import anyio
import pytest

from .laws import check
from .unit import Unit


async def test_nobody_deals_with_it() -> None:
    """Nothing is mended in a tree that stops: who fails there is no matter for who deals with failures, and waits its turn."""
    log: list[str] = []
    first, later = OSError("first"), KeyError("later")
    states: list[str] = []
    dealt_with: list[BaseException] = []

    class Dealing(Unit):
        """Deals with all failures of its children."""

        def on_child_failed(
            self, child: object, exc: BaseException
        ) -> bool:  # pragma: no cover - is not asked
            dealt_with.append(exc)
            return True

    async def fail(unit: Unit) -> None:
        member.life.fail(later, "a test")
        states.append(member.state)
        await anyio.lowlevel.checkpoint()
        states.append(member.state)

    member, beside = Unit("member", log), Unit("beside", log)
    above = Dealing("above", log, member)
    top = Unit("top", log, above, beside, tear_down=fail)
    with pytest.raises(OSError, match="first") as caught:
        async with top.life.block():
            beside.life.fail(first, "a test")
            await anyio.sleep_forever()
    assert caught.value is first
    assert dealt_with == []
    assert states == ["running", "running"]
    assert top.run.failures == [first, later]
    check([top, above, member, beside], log)
