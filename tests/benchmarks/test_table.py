"""The table, the goals and the totals say what made-up samples mean; and nothing is written that was not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as program, pictures, table
from benchmarks.contenders import (
    ANYIO,
    BARE_TRIO,
    CONTENDERS,
    FLOOR,
    INTERPRETER,
    MODE,
    ON_ASYNCIO,
    ON_TRIO,
    ON_UVLOOP,
    contender,
    run_arguments,
)
from benchmarks.figures import Spread
from benchmarks.growth import PANELS
from benchmarks.model import Goal, Row, share_of_mode, times_by_hand, times_mode
from benchmarks.rows import ROWS, rows_named


def made_up(**rows: dict[str, list[float | None]]) -> dict[str, Any]:
    """Return results with these samples, by the names of rows with underscores."""
    named = {name.replace("_", "-"): costs for name, costs in rows.items()}
    return {"machine": "a machine", "rounds": 2, "quick": False, "rows": named}


SLEEP: dict[str, list[float | None]] = {
    MODE.name: [8e-6, 80e-6],
    ANYIO.name: [2e-6, 20e-6],
    BARE_TRIO.name: [1e-6, 10e-6],
    ON_ASYNCIO.name: [2e-6, 20e-6],
    ON_UVLOOP.name: [3e-6, 30e-6],
    ON_TRIO.name: [1.5e-6, 15e-6],
}


# --- Figures and goals ----------------------------------------------------------------------------


def row_named(name: str) -> Row:
    """Return a row."""
    (row,) = rows_named([name])
    return row


def test_figures_are_paired_with_those_of_mode() -> None:
    """As how many times as fast, or as a share of the cost, as the row has it."""
    row = row_named("sleep-zero")
    assert table.figure_of(row, ON_ASYNCIO, SLEEP) == Spread(4, 4, 4)
    memory = {MODE.name: [10.0], ON_ASYNCIO.name: [5.0]}
    assert table.figure_of(row_named("memory"), ON_ASYNCIO, memory) == Spread(0.5, 0.5, 0.5)


def test_what_has_no_peer_is_a_figure_by_itself() -> None:
    """A depth is a number; an end is what it takes longer than a bare interpreter's."""
    depths = {ON_TRIO.name: [10_000.0]}
    assert table.figure_of(row_named("deepest-chain"), ON_TRIO, depths) == Spread(*[10_000] * 3)
    ends = {INTERPRETER.name: [0.01], ON_ASYNCIO.name: [0.05]}
    figure = table.figure_of(row_named("end-of-worker"), ON_ASYNCIO, ends)
    assert table.figure_text("excess", figure, with_spread=True) == "40 ms (40-40)"


def test_without_somebody_to_compare_with_there_is_no_figure() -> None:
    """And no goal is met: what was not measured proves nothing."""
    row = row_named("sleep-zero")
    assert table.figure_of(row, ON_ASYNCIO, {ON_ASYNCIO.name: [1.0]}) is None
    verdict = table.verdict_of(row, times_mode(3), {ON_ASYNCIO.name: [1.0]})
    assert not verdict.is_met
    assert table.goal_line(verdict).endswith("not measured")


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (times_mode(4), True),
        (times_mode(4.1), False),
        (times_by_hand(1), True),
        (share_of_mode(0.25), True),
        (share_of_mode(0.24), False),
        (Goal(ON_TRIO, at_most=1.5, against=BARE_TRIO), True),
        (Goal(ON_UVLOOP, at_most=1.05, against=ON_ASYNCIO), False),
    ],
)
def test_a_goal_is_met_at_its_bound(goal: Goal, is_met: bool) -> None:
    """Whichever way it is told."""
    assert table.verdict_of(row_named("sleep-zero"), goal, SLEEP).is_met is is_met


@pytest.mark.parametrize(
    ("floor", "is_met", "is_below"),
    [
        ([2e-6, 20e-6], True, False),
        ([4e-6, 40e-6], False, True),
    ],
)
def test_a_goal_that_the_least_does_not_reach_lies_below_the_floor(
    floor: list[float | None], is_met: bool, is_below: bool
) -> None:
    """The least that keeps the laws counts, where somebody has written that; else what is done by hand."""
    goal, row = times_mode(3), row_named("sleep-zero")
    costs = {MODE.name: SLEEP[MODE.name], ON_ASYNCIO.name: floor}
    quick: list[float | None] = [1e-6, 1e-6]
    for least in ({ANYIO.name: floor}, {FLOOR.name: floor, ANYIO.name: quick}):
        verdict = table.verdict_of(row, goal, {**costs, **least})
        assert (verdict.is_met, verdict.is_below_the_floor) == (is_met, is_below)
        text = "the floor: 4.00 (4.00-4.00)" if is_met else "the floor: 2.00 (2.00-2.00)"
        assert table.goal_line(verdict).endswith(text)


def test_who_is_compared_with_is_no_floor() -> None:
    """That by hand is as fast as by hand says nothing; nor is there a floor for who is to be no slower than another."""
    row = row_named("sleep-zero")
    for goal in (times_by_hand(1), Goal(ON_UVLOOP, at_most=1.05, against=ON_ASYNCIO)):
        assert table.verdict_of(row, goal, SLEEP).floor is None


def test_goals_below_the_floor_are_counted() -> None:
    """Of those that are not met, in the last line and on the page."""
    slow: dict[str, list[float | None]] = {
        **SLEEP,
        ON_ASYNCIO.name: [5e-6, 50e-6],
        ANYIO.name: [4e-6, 40e-6],
    }
    results = made_up(sleep_zero=slow)
    met = "2 of 3 goals met: 0 of 1 on asyncio, 1 of 1 on uvloop, 1 of 1 on trio"
    last = f"{met}; of the other 1, below the floor: 1"
    assert table.as_text(results).splitlines()[-1] == last
    assert "| 2.00 (2.00-2.00) | not met, and below the floor |" in table.as_markdown(results)


def test_a_depth_is_held_against_its_goal() -> None:
    """It is compared with nobody."""
    row = row_named("deepest-chain")
    deep, shallow = ({ON_ASYNCIO.name: [depth]} for depth in (10_000.0, 9_999.0))
    assert table.verdict_of(row, row.goals[0], deep).is_met
    assert not table.verdict_of(row, row.goals[0], shallow).is_met


def test_an_end_is_held_against_that_of_a_bare_interpreter() -> None:
    """Its goal is a difference, in ms."""
    row = row_named("end-of-worker")
    verdict = table.verdict_of(
        row, row.goals[0], {INTERPRETER.name: [0.01], ON_ASYNCIO.name: [0.07]}
    )
    assert not verdict.is_met
    line = table.goal_line(verdict)
    assert "structmode, asyncio: ≤ 50 ms over bare interpreter: 60 ms (60-60)" in line


# --- What is printed ------------------------------------------------------------------------------


def test_the_table_has_each_row_that_was_measured() -> None:
    """With what it costs with mode, the figures of the others, and how many goals are met."""
    text = table.as_text(made_up(sleep_zero=SLEEP)).splitlines()
    assert text[0].split()[:2] == ["work", "mode"]
    assert text[1].startswith("`sleep(0)` in a service  1 (44 µs)")
    assert "4.00 (4.00-4.00)" in text[1]
    assert text[1].endswith("2 of 3")
    assert text[-1] == "2 of 3 goals met: 1 of 1 on asyncio, 0 of 1 on uvloop, 1 of 1 on trio"


def test_each_goal_stands_beside_its_figure() -> None:
    """In words, whether it is met or not."""
    text = table.as_text(made_up(sleep_zero=SLEEP))
    assert "met      sleep-zero: structmode, asyncio: ≥ 3 times as fast as mode: 4.00" in text
    wanted = "structmode, uvloop: ≤ 1.05 times the cost of structmode, asyncio: 1.50 (1.50-1.50)"
    assert f"NOT MET  sleep-zero: {wanted}" in text


def test_a_goal_of_a_depth_is_told_as_a_number() -> None:
    """It is no ratio, and has no spread."""
    text = table.as_text(made_up(deepest_chain={ON_ASYNCIO.name: [12_000.0]}))
    assert "deepest-chain: structmode, asyncio: ≥ 10,000: 12,000" in text
    assert "1 of 3 goals met" in text


def test_a_contender_that_failed_has_no_figure() -> None:
    """The others have theirs; and if mode failed, nobody has."""
    lines = table.lines_of(made_up(sleep_zero={**SLEEP, ON_TRIO.name: [None, None]}))
    assert lines[0][-2:] == ["-", "1 of 3"]
    lines = table.lines_of(made_up(sleep_zero={**SLEEP, MODE.name: [None, None]}))
    assert set(lines[0][1:-1]) == {"-"}


def test_a_curve_that_bends_is_named() -> None:
    """Whose it is, and by how much; one that rises less is not."""
    results = made_up(sleep_zero=SLEEP)
    results["growth"] = {"stop": {MODE.name: [1.0, 1.0, 5.0], ON_TRIO.name: [3.0, 1.0, 2.0]}}
    bends = "bends: stop, per service: mode: what one costs rises 5.0-fold"
    assert table.bends(results) == [bends]
    assert bends in table.as_text(results)


def test_nothing_measured_is_no_goals() -> None:
    """There is still a last line."""
    assert table.as_text(made_up()).splitlines()[-1] == "no goals"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5, "s", "2.5 s"),
        (0.0123, "s", "12.3 ms"),
        (74.2e-6, "s", "74.2 µs"),
        (5e-9, "s", "5 ns"),
        (11_233, "B", "11.2 kB"),
        (10_000, "", "10,000"),
    ],
)
def test_costs_are_told_in_the_unit_that_reads_best(value: float, unit: str, text: str) -> None:
    """Three digits are enough."""
    assert table.amount(value, unit) == text


def test_the_page_has_the_table_the_goals_and_the_machine() -> None:
    """As Markdown, with as many cells in each line."""
    results = made_up(sleep_zero=SLEEP)
    page = table.as_markdown(results)
    assert page.startswith("Measured on a machine; 2 rounds, full samples. **2 of 3 goals met")
    assert "| structmode, uvloop: ≤ 1.05 times the cost of structmode, asyncio |" in page
    assert "**not met**" in page
    assert "bends" not in page
    head, rule, line = page.splitlines()[2:5]
    assert head.count("|") == rule.count("|") == line.count("|")
    results["growth"] = {"stop": {MODE.name: [1.0, 5.0]}}
    assert "rises 5.0-fold" in table.as_markdown(results)
    results["growth"] = {"stop": {MODE.name: [1.0, 1.0]}}
    assert "No curve bends" in table.as_markdown(results)


def test_the_page_says_when_it_was_done_in_a_hurry() -> None:
    """Such figures are there to see that it runs."""
    results = {**made_up(sleep_zero=SLEEP), "quick": True, "rounds": 1}
    assert "; 1 round, small samples" in table.as_markdown(results)


# --- What there is to measure ---------------------------------------------------------------------


def test_rows_are_told_apart_and_have_goals() -> None:
    """Each has a name of its own, and structmode a goal in each."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.goals and ON_ASYNCIO in row.contenders for row in ROWS)
    assert all(goal.contender in row.contenders for row in ROWS for goal in row.goals)
    assert all(
        goal.against is None or goal.against in row.contenders
        for row in ROWS
        for goal in row.goals
    )


def test_bare_trio_does_what_is_written_by_hand_unless_it_has_its_own_way() -> None:
    """The same code, with trio's names."""
    by_hand = row_named("sleep-zero")
    assert by_hand.code_of(BARE_TRIO) is by_hand.code_of(ANYIO)
    own = row_named("call-thread")
    assert own.code_of(BARE_TRIO) is not own.code_of(ANYIO)


def test_a_row_or_a_contender_that_does_not_exist_is_refused() -> None:
    """With the names of those that do."""
    with pytest.raises(ValueError, match="no row nonsense; the rows are sleep-zero"):
        rows_named(["nonsense"])
    with pytest.raises(ValueError, match="no contender 'nobody'; it is one of 'mode'"):
        contender("nobody")
    assert [contender(one.name) for one in CONTENDERS] == list(CONTENDERS)


def test_event_loops_are_told_to_anyio() -> None:
    """uvloop is asyncio with an option."""
    assert run_arguments("trio") == {"backend": "trio", "backend_options": {}}
    uvloop = {"backend": "asyncio", "backend_options": {"use_uvloop": True}}
    assert run_arguments("asyncio+uvloop") == uvloop


# --- The command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rounds", "0"], "at least 1"),
        (["--only", "nonsense"], "there is no row nonsense"),
        (["--only", "chain", "--write"], "a table is of one run"),
        (["--only", "chain", "--growth"], "--growth measures the curves"),
        (["--write", "--show"], "not allowed with"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    with pytest.raises(SystemExit):
        program.main(arguments)
    assert complaint in capsys.readouterr().err


@pytest.fixture
def own_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have what is written go elsewhere than into the docs."""
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "STATIC", tmp_path)
    monkeypatch.setattr(program, "DATA", tmp_path / "data.json")
    monkeypatch.setattr(program, "TABLE", tmp_path / "table.inc")
    return tmp_path


def samples(row: Row, contenders: Any, size: int, rounds: int, tell: Any) -> dict[str, list[Any]]:
    """Stand for the measuring: everybody costs the same, and three figures where there are three."""
    part = [1.0, 2.0, 3.0] if row.name == "services" else 1.0
    return {one.name: [part] * rounds for one in contenders}


def test_all_is_measured_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row if it is one row; who is not installed is left out, and named."""
    monkeypatch.setattr(program, "measure", samples)
    monkeypatch.setattr(program, "CONTENDERS", [MODE._replace(library="not_there"), ON_ASYNCIO])
    program.main(["--only", "sleep-zero", "--rounds", "2"])
    out, err = capsys.readouterr()
    assert "left out: mode, as not_there is not installed" in err
    assert "not measured" in out
    assert out.splitlines()[-1].startswith("0 of 3 goals met")


def test_what_was_measured_is_kept_and_can_be_shown_again(
    own_room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same text and the same table, without measuring."""
    monkeypatch.setattr(program, "measure", samples)
    monkeypatch.setattr(pictures, "draw", lambda results, directory: [])
    program.main(["--quick", "--write"])
    printed = capsys.readouterr().out
    kept = {path.name: path.read_bytes() for path in own_room.iterdir()}
    assert sorted(kept) == ["data.json", "table.inc"]
    growth = json.loads(kept["data.json"])["growth"]
    assert growth["stop"][ON_TRIO.name] == [3.0, 3.0, 3.0]
    assert growth.keys() == {panel.name for panel in PANELS}
    program.main(["--show"])
    assert capsys.readouterr().out == printed
    assert {path.name: path.read_bytes() for path in own_room.iterdir()} == kept


def test_the_curves_can_be_measured_by_themselves(
    own_room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table stays what it was; a size that takes minutes is measured once, however many rounds are asked for."""
    monkeypatch.setattr(program, "measure", samples)
    monkeypatch.setattr(pictures, "draw", lambda results, directory: [])
    program.main(["--quick", "--no-growth", "--write"])
    before = json.loads((own_room / "data.json").read_bytes())
    rounds: dict[int, int] = {}

    def measure(row: Row, who: Any, size: int, times: int, tell: Any) -> Any:
        rounds[size] = times
        return samples(row, who, size, times, tell)

    monkeypatch.setattr(program, "measure", measure)
    program.main(["--growth", "--write", "--rounds", "3"])
    after = json.loads((own_room / "data.json").read_bytes())
    assert after["growth"].keys() == {panel.name for panel in PANELS}
    assert {**before, "growth": after["growth"], "growth_on": after["growth_on"]} == after
    assert (rounds[10_000], rounds[100_000]) == (3, 1)
    monkeypatch.setattr(program, "machine", lambda: "another machine")
    program.main(["--quick", "--no-growth", "--write"])
    again = json.loads((own_room / "data.json").read_bytes())
    assert again == {**after, "machine": "another machine"}
    page = (own_room / "table.inc").read_text(encoding="utf-8")
    assert page.endswith(f"The curves were measured on {after['growth_on']}.\n")


def test_pictures_of_the_same_are_the_same(
    tmp_path: Path,
) -> None:  # pragma: no cover - only who measures has matplotlib
    """Byte by byte; one for light pages and one for dark ones, and none of what was not measured."""
    pytest.importorskip("matplotlib", reason="only who measures needs it")
    results = made_up(sleep_zero=SLEEP, memory={MODE.name: [2.0], ON_TRIO.name: [1.0]})
    paths = pictures.draw(results, tmp_path)
    assert [path.name for path in paths] == ["benchmarks-light.svg", "benchmarks-dark.svg"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in pictures.draw(results, tmp_path)] == before
    assert b"sleep(0) in a service" in before[0]
    curve = {"growth": {"stop": {MODE.name: [1.0, None, 5.0]}}, "rows": {}}
    paths = pictures.draw(curve, tmp_path)
    assert [path.name for path in paths] == ["growth-light.svg", "growth-dark.svg"]
