"""How far one process goes, tried with very little of everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from benchmarks import scale
from structmode.testing import VirtualClock, virtual_backend

#: So many of each.
FEW = 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["services", "timers"])
def test_what_watches_for_seconds(name: str, backend: Any) -> None:
    """Services and timers are watched for some seconds, which a virtual clock has pass at once."""
    measure: Callable[[int], Awaitable[scale.Figures]] = scale.MEASURES[name][1]

    async def main() -> scale.Figures:
        with VirtualClock():
            return await measure(FEW)

    figures = anyio.run(main, **virtual_backend(backend))
    assert len(figures) == {"services": 5, "timers": 4}[name]
    if name == "timers":
        assert figures["ticks"] == f"{FEW} a second"
        assert figures["late, 99 of 100"] == "0.0 ms"


@pytest.mark.process
def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Each measure has a process of its own for each event loop; the table has a row for each figure."""
    scale.main(["--only", "futures", "--only", "threads", "--backend", "trio", "--share", "50"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| | | trio |"
    assert [row.split("|")[1].strip() for row in rows] == ["20,000 futures"] * 2 + [
        "2 threads"
    ] * 4
    assert all(row.split("|")[3].strip()[0] in "-0123456789" for row in rows)


def test_what_it_does_not_know() -> None:
    """A measure or an event loop that there is not is refused, and nothing is measured."""
    for wrong in (["--only", "rockets"], ["--backend", "gevent"]):
        with pytest.raises(SystemExit) as caught:
            scale.main(wrong)
        assert caught.value.code == 2
