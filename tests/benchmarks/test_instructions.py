"""Hot paths take no more instructions than on record; and what is compared, and what is not, is as it should be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import structmode
from benchmarks import counting, instructions
from benchmarks.instructions import Comparison, Record, load, save, take, why_not_comparable
from benchmarks.rounds import ROOT

HERE = instructions.python_of("bytecode")


def record(**paths: float) -> Record:
    """Return a record of this Python on asyncio."""
    return Record("bytecode", HERE, "asyncio", instructions.below("asyncio"), paths)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("backend", counting.BACKENDS["bytecode"])
def test_hot_paths_take_no_more_than_on_record(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In instructions of Python's own machine, which are the same on any: 5 % more is too much.

    Where it was meant to cost more, ``nox -s instructions -- --update`` puts that on record.
    """
    old = load().get(("bytecode", HERE, backend))
    reason = why_not_comparable(old, backend)
    if old is None or reason is not None:  # pragma: no cover - depends on where it runs
        pytest.skip(str(reason))
    home = [Path(structmode.__file__).parents[1], ROOT]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, home)))
    found = instructions.compare(old, take("bytecode", backend))
    assert [one.path for one in found] == counting.paths_of(backend)
    worse = [str(one) for one in found if one.is_worse(instructions.TOLERANCE)]
    assert not worse, f"more instructions than on record on {backend}: {worse}"


# --- The file -------------------------------------------------------------------------------------


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Those of other event loops and Pythons too, in an order that does not depend on when they were made."""
    path = tmp_path / "records.toml"
    new, old = record(**{"sleep(0)": 10.0, 'a "path"': 2.5}), record()._replace(python="3.9")
    save({one.key: one for one in (new, old)}, path)
    text = path.read_text(encoding="utf-8")
    assert load(path) == {one.key: one for one in (new, old)}
    save({one.key: one for one in (old, new)}, path)
    assert path.read_text(encoding="utf-8") == text
    assert load(tmp_path / "absent.toml") == {}


def test_what_is_on_record_can_be_read() -> None:
    """And each record has all the paths of its event loop."""
    records = load()
    assert records
    assert all(list(one.paths) == counting.paths_of(one.backend) for one in records.values())


# --- Comparing ------------------------------------------------------------------------------------


def test_more_than_the_tolerance_is_worse() -> None:
    """Fewer are not; nor is what nobody has counted before."""
    assert Comparison("p", 100, 106).is_worse(0.05)
    assert not Comparison("p", 100, 105).is_worse(0.05)
    assert not Comparison("p", 100, 50).is_worse(0.05)
    assert not Comparison("p", None, 50).is_worse(0.05)
    assert str(Comparison("p", 1000, 900)) == "p: 900.0, -10.0% of 1,000.0"
    assert str(Comparison("p", None, 900)) == "p: 900.0, and nothing on record"


def test_records_of_other_versions_are_not_compared() -> None:
    """The reason names both."""
    assert why_not_comparable(None, "asyncio") == "nothing is on record for this Python"
    assert why_not_comparable(record(), "asyncio") is None
    other = record()._replace(below={"anyio": "1.0"})
    reason = why_not_comparable(other, "asyncio")
    assert reason is not None
    assert reason.startswith("the record was made with anyio 1.0, and here is anyio ")


def test_each_means_says_what_its_figures_depend_on() -> None:
    """Bytecode is that of a minor version; what the processor runs is that of a build."""
    assert HERE.count(".") == 1
    assert instructions.python_of("callgrind").startswith(f"{HERE}.")
    assert instructions.below("trio").keys() == {"anyio", "trio"}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Have nothing counted, but these figures found."""
    figures = {"sleep(0)": 100.0}
    monkeypatch.setattr(instructions, "count_paths", lambda means, backend: figures)
    return figures


def test_the_program_fails_when_a_path_takes_too_much(
    counts: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says which; an update takes it over."""
    path = tmp_path / "records.toml"
    only = ["--backend", "asyncio"]
    assert instructions.main([*only, "--update"], path) == 0
    assert instructions.main(only, path) == 0
    counts["sleep(0)"] = 106.0
    capsys.readouterr()
    assert instructions.main(only, path) == 1
    out = capsys.readouterr().out
    assert "asyncio: sleep(0): 106.0, +6.0% of 100.0 - TOO MUCH" in out
    assert out.splitlines()[-1] == "instructions: 1 of 1 paths take too much, by bytecode"
    assert instructions.main([*only, "--tolerance", "0.1"], path) == 0
    counts["sleep(0)"] = 90.0
    assert instructions.main(only, path) == 0
    assert "-10.0% of 100.0 - less; --update keeps it so" in capsys.readouterr().out
    assert instructions.main([*only, "--update"], path) == 0
    assert instructions.main(only, path) == 0


def test_the_program_says_why_it_does_not_compare(
    counts: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On every event loop that the means see; that is no failure."""
    assert instructions.main([], tmp_path / "records.toml") == 0
    out = capsys.readouterr().out
    assert "trio: not compared: nothing is on record for this Python" in out
    assert out.splitlines()[-1] == "instructions: 0 of 0 paths take too much, by bytecode"


# --- Counting -------------------------------------------------------------------------------------


def test_instructions_are_counted_and_what_is_done_once_cancels_out() -> None:
    """The work is what it is for one unit, whatever was done before the first."""
    path = counting.Path(counting.PATHS["sleep(0)"].run, 5, 25)
    assert counting.per_unit(path, lambda units: 1000 + 7 * units) == 7


@pytest.mark.parametrize("backend", counting.BACKENDS["bytecode"])
@pytest.mark.usefixtures("blocking_allowed")
def test_counting_twice_gives_the_same(backend: str) -> None:
    """That is what it is for; once what is done the first times, by Python and by the event loop, has been done."""
    *_, first, second = (counting.bytecode("sleep(0)", backend, 3) for _ in range(5))
    assert first == second > 0


def test_only_what_can_be_virtual_is_counted_in_virtual_time() -> None:
    """uvloop's timers go by the real clock, and how often they wake up is chance."""
    assert "timer tick" in counting.paths_of("asyncio")
    assert "timer tick" not in counting.paths_of("asyncio+uvloop")


def test_what_can_not_be_counted_fails_with_what_it_said() -> None:
    """The error has the output of the process."""
    with pytest.raises(RuntimeError, match="counting on trio failed:\\nno"):
        counting._output([sys.executable, "-c", "raise SystemExit('no')"], ["trio"])
