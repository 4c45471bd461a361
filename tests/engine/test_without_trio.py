"""asyncio alone: nothing is asked of trio where nobody has imported it, nor while somebody is about to."""

from __future__ import annotations

import sys
from types import ModuleType

import anyio
import pytest

from .unit import START, STOP, family


@pytest.mark.parametrize("loaded", [None, ModuleType("trio.lowlevel")], ids=["not", "in part"])
@pytest.mark.parametrize("owned", [True, False], ids=["block", "bare"])
def test_a_life_on_asyncio(
    monkeypatch: pytest.MonkeyPatch, loaded: ModuleType | None, owned: bool
) -> None:
    """Units start, wait and stop in order, whether trio is not there, or as far as another thread has come with it."""
    log: list[str] = []
    units = family(log)

    async def main() -> None:
        if owned:
            async with units["a"].life.block():
                pass
        else:
            await units["a"].life.start()
            await units["a"].life.stop()

    if loaded is None:
        monkeypatch.delitem(sys.modules, "trio.lowlevel")
    else:
        monkeypatch.setitem(sys.modules, "trio.lowlevel", loaded)
    anyio.run(main, backend="asyncio")
    assert log == [*START, *STOP]
