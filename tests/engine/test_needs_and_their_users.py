"""What is needed, and who needs it: it is there under its own name, and to be had as long as nobody has to stop."""

from __future__ import annotations

import anyio
import pytest

from structmode.exceptions import StartAborted

from .unit import Unit, hanging, settle


async def test_its_task_bears_its_name() -> None:
    """Whoever looks at the tasks of the event loop finds what is needed by its own name, as any other."""
    log: list[str] = []
    async with Unit("a", log, needs=[[Unit("b", log)]]).life.block():
        assert {"a", "b"} <= {task.name for task in anyio.get_running_tasks()}


class Dealing(Unit):
    """A unit that deals with failures of its children: it lets them end."""

    def on_child_failed(self, child: object, exc: BaseException) -> bool:
        return True


@pytest.mark.parametrize("is_up", [True, False])
async def test_needed_below_what_has_failed(is_up: bool) -> None:
    """Where somebody above deals with a failure, the tree goes on: what is needed below is had until the turn to stop comes.

    What is needed either is up already, so that its user goes on at once, or does not come up before that turn.
    """
    log: list[str] = []

    async def fail(unit: Unit) -> None:
        branch.life.fail(OSError("branch fails"), "by hand")

    base = Unit("base", log) if is_up else Unit("base", log, set_up=hanging)
    a = Unit("a", log, needs=[[base]], first=fail, set_up=hanging)
    branch = Unit("branch", log)
    other = Unit("other", log, needs=[[base]] if is_up else ())
    top = Dealing("top", log, branch, other)
    async with top.life.block():
        log.clear()
        branch.life.add_child(a.life)
        with pytest.raises(StartAborted, match="a was stopped"):
            await a.life.start()
        await settle()
        assert branch.state == a.state == "stopped"
        assert other.state == "running"
        assert ("a.set_up" in log) == is_up
        assert base.state == ("running" if is_up else "stopped")
    assert a.run.failures == []
    assert top.run.failures == []
