"""That the soak notices what it is there for: each kind of fault, made up, and how it is told."""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from examples.pageviews.web import Settings

from . import program, soak
from .ends import Ends, Failed
from .ledger import Damaged, Ledger, read_copy
from .measuring import MAY_GROW, Growth, Measure
from .program import Program, TooLate
from .rounds import HASTE, Rounds, complaints_in, innermost
from .violence import FAVOURITES, WAYS, Life, deal, lock_for_good, starve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")


# --- Of ends --------------------------------------------------------------------------------------


class FakeProgram:
    """A life that has ended, and what it said; it notes the signals it is sent."""

    stopped_in_order = True

    def __init__(self, complaints: list[str] | None = None) -> None:
        self._complaints = complaints or []
        self.signals: list[signal.Signals] = []

    def complaints(self) -> list[str]:
        """Return what it said that it should not."""
        return self._complaints

    def named_as_lost(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def tell(self, number: signal.Signals) -> None:
        """Note a signal."""
        self.signals.append(number)

    def wait(self, limit: float) -> int:
        """Return at once."""
        return 1


class FakeLife:
    """The life of a fake program, in the hands of dice that always show the same."""

    locked_for = 0.0

    def __init__(self, shown: float = 0.0, *complaints: str) -> None:
        self.program = FakeProgram([*complaints])
        self.rng = random.Random(1)
        self.rng.random = lambda: shown  # type: ignore[method-assign]

    def start_and_load(self) -> FakeProgram:
        """Return the program."""
        return self.program

    def pause(self, least: float, most: float) -> None:
        """Let no time pass."""

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Lock nothing."""
        yield


def faked(life: FakeLife) -> Life:
    """Return a fake life as one."""
    return cast(Life, life)


@pytest.mark.parametrize(
    ("code", "life", "fault"),
    [
        (3, FakeLife(), r"exit code 3 is none of \[0, 1\]"),
        (0, FakeLife(0.0, "Traceback of something"), "Traceback of something"),
    ],
)
def test_an_end_that_is_not_as_it_should_be(
    tmp_path: Path, code: int, life: FakeLife, fault: str
) -> None:
    """An exit code that the way does not lead to, and a complaint in the log of a program that ended well, are faults."""
    ends = Ends(tmp_path, random.Random(1), 0.1)
    ends._judge(0, {0, 1}, faked(FakeLife()), Ledger())
    with pytest.raises(Failed, match=fault):
        ends._judge(code, {0, 1}, faked(life), Ledger())


@pytest.mark.parametrize("error", [TooLate("it does not serve"), Damaged("a page is gone")])
def test_a_failed_end_says_which(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of a failure begins with the way and the backend."""

    def fail(*_: object) -> int:
        raise error

    ends = Ends(tmp_path, random.Random(1), 0.1)
    monkeypatch.setattr(ends, "_live_once", fail)
    with pytest.raises(Failed, match=rf"\S on trio: {error}") as caught:
        next(ends.live(["trio"], 1))
    assert caught.value.__cause__ is error
    assert not ends.ways


@pytest.mark.parametrize(
    ("shown", "last", "code"),
    [(0.2, [signal.SIGKILL], -9), (0.4, [signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT], 0)],
)
def test_a_starved_program_ends_in_one_of_two_ways(
    shown: float, last: list[signal.Signals], code: int
) -> None:
    """It is killed, or told to stop while it can't hear; the code to expect is that of the way it took."""
    life = FakeLife(shown)
    assert starve(faked(life)) == {code}
    signals = life.program.signals
    assert signals[-len(last) :] == last
    assert set(signals[: -len(last)]) == {signal.SIGSTOP, signal.SIGCONT}


@pytest.mark.parametrize(("shown", "told"), [(0.4, [signal.SIGTERM]), (0.6, [])])
def test_a_program_without_its_database_may_be_told_to_stop(
    shown: float, told: list[signal.Signals]
) -> None:
    """It gives up by itself, or when it is told."""
    life = FakeLife(shown)
    assert lock_for_good(faked(life)) == {1}
    assert life.program.signals == told


def test_each_way_comes_before_any_comes_again() -> None:
    """Then the favourites come more often than the others."""
    ways = list(itertools.islice(deal(random.Random(1)), 2 * len(WAYS) + len(FAVOURITES)))
    assert set(ways[: len(WAYS)]) == set(WAYS)
    again = collections.Counter(ways[len(WAYS) :])
    assert again == collections.Counter([*WAYS, *FAVOURITES])


# --- Of the process -------------------------------------------------------------------------------


@pytest.mark.process
def test_a_program_that_ends_instead_of_serving(tmp_path: Path) -> None:
    """It is not waited for in vain."""
    with Program("no such loop", tmp_path / "pageviews.db", tmp_path / "log") as started:
        with pytest.raises(TooLate, match="it ended with 2 instead of serving"):
            started.wait_until_it_serves()


@pytest.mark.process
def test_a_program_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not serve, or does not end, in its time is an error that says how long that was."""
    monkeypatch.setattr(program, "START", 0.0)
    with Program("asyncio", tmp_path / "pageviews.db", tmp_path / "log") as started:
        with pytest.raises(TooLate, match="it does not serve within 0 s"):
            started.wait_until_it_serves()
        with pytest.raises(TooLate, match="it has not ended within 0 s"):
            started.wait(0.0)


# --- Of rounds ------------------------------------------------------------------------------------


class Doing(Rounds):
    """Rounds in which something else is done."""

    async def _run(self) -> None:
        self._measures += [measured(), measured()]
        await self.act()

    async def act(self) -> None:
        """Do nothing."""


def measured(tasks: int = 0, memory: int = 0) -> Measure:
    """Make a measure."""
    nothing: collections.Counter[str] = collections.Counter()
    return Measure(collections.Counter(task=tasks), nothing, nothing, memory)


@pytest.fixture
def given_back() -> Iterator[None]:
    """Give Hypercorn's settings back, which rounds change."""
    before = {setting: getattr(Settings, setting) for setting in HASTE}
    yield
    for setting, seconds in before.items():
        setattr(Settings, setting, seconds)


def run_rounds(kind: type[Doing], room: Path) -> str:
    """Run rounds that fail; returns what is told of that."""
    with pytest.raises(Failed, match="rounds on asyncio: ") as caught:
        kind(room, "asyncio", 1, random.Random(1)).run(Growth())
    return str(caught.value)


@pytest.mark.usefixtures("given_back")
def test_rounds_in_which_nothing_happens(tmp_path: Path) -> None:
    """They are as they should be."""
    Doing(tmp_path, "asyncio", 1, random.Random(1)).run(Growth())


@pytest.mark.usefixtures("given_back")
def test_a_round_that_fails(tmp_path: Path) -> None:
    """What failed is told, without the groups around it, with the round and what was done in it."""

    class Failing(Doing):
        async def act(self) -> None:
            async with anyio.create_task_group():
                self.done, self.doing = 7, "_restart of store"
                raise OSError("gone")

    told = run_rounds(Failing, tmp_path)
    assert told.endswith("in round 7, _restart of store: OSError('gone')")
    assert "The soak has failed" in (tmp_path / "inside-asyncio.log").read_text()


@pytest.mark.usefixtures("given_back")
def test_views_that_rounds_lose(tmp_path: Path) -> None:
    """The clients' accounts are held against the database."""

    class Losing(Doing):
        async def act(self) -> None:
            account = self.ledger.account("/a")
            account.send()
            account.answered(1, saved=True)
            await self._check()

    assert "1 lost, 0 invented: /a" in run_rounds(Losing, tmp_path)


@pytest.mark.usefixtures("given_back")
def test_what_rounds_leave_open(tmp_path: Path) -> None:
    """A descriptor that is open when all is over is told, by what it is of."""
    left: list[int] = []

    class Leaving(Doing):
        async def act(self) -> None:
            left.append(os.open(tmp_path / "left", os.O_CREAT | os.O_RDWR))

    told = run_rounds(Leaving, tmp_path)
    os.close(left.pop())
    assert f"left open when all was over: {{'{tmp_path / 'left'}': 1}}" in told


@pytest.mark.usefixtures("given_back")
def test_what_rounds_drop(tmp_path: Path) -> None:
    """What nobody waited for is found in the log."""

    class Dropping(Doing):
        async def act(self) -> None:
            logging.getLogger("somebody").error("Task exception was never retrieved")

    assert "Task exception was never retrieved" in run_rounds(Dropping, tmp_path)


def test_growth_is_noticed() -> None:
    """More tasks than before are told by name; so is memory, if it is more than may be."""
    growth = Growth()
    assert growth.add(measured(), measured(memory=MAY_GROW)) == []
    tasks, memory = growth.add(measured(), measured(2, MAY_GROW + 1024))
    assert tasks == "tasks: more are {'task': 2}, fewer {}"
    assert memory == f"memory: {MAY_GROW // 1024 + 1} KiB more"
    assert str(growth).startswith("tasks +2, threads +0, descriptors +0, memory +0.50 MiB")


class Complaining:
    """Raises when it is forgotten."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __del__(self) -> None:
        raise ResourceWarning(self._text)


def test_complaints_of_python() -> None:
    """What can't be raised is a fault, but for what asyncio is known to do with connections it has just accepted."""
    faults: list[str] = []
    with complaints_in(faults):
        for text in (
            "unclosed transport <_SelectorSocketTransport fd=7>",
            "unclosed <socket.socket fd=7, raddr=('127.0.0.1', 1)>",
            "unclosed file",
        ):
            Complaining(text)
    (fault,) = faults
    assert fault.endswith("ResourceWarning('unclosed file')")


def test_groups_are_looked_into() -> None:
    """A group of one is what is in it; one of two is told whole."""
    error = OSError("gone")
    assert innermost(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    group = ExceptionGroup("", [error, error])
    assert innermost(group) is group


# --- Of all ---------------------------------------------------------------------------------------


def test_a_database_that_contradicts_itself(tmp_path: Path) -> None:
    """What SQLite finds fault with is told, with the name of the file."""
    path = tmp_path / "pageviews.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE counts (path TEXT, views INTEGER CHECK (views > 0))")
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("INSERT INTO counts VALUES ('/a', -1)")
    with pytest.raises(Damaged, match=r"pageviews\.db: .*CHECK constraint failed"):
        read_copy(path)


def run_soak(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run the soak in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["soak", "--seed", "1", "--rounds", "0", *options])
    return soak.main()


def test_a_failed_soak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed and the fault are told, and what the last life has left is kept."""

    def live(self: Ends, *_: Any) -> Generator[str]:
        (self._database.parent / "last-life.log").write_text("the end")
        raise Failed("SIGKILL on trio: 1 lost")
        yield

    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    monkeypatch.setattr(Ends, "live", live)
    assert run_soak(monkeypatch, "--ends", "3") == 1
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == [
        "soak: FAILED with seed 1: SIGKILL on trio: 1 lost",
        f"What is left is in {tmp_path}",
    ]
    assert (tmp_path / "last-life.log").read_text() == "the end"


def test_a_soak_whose_time_is_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more is begun; the totals are told, of what there was."""
    lives = iter(["SIGKILL on trio", "SIGTERM on trio"])
    monkeypatch.setattr(Ends, "live", lambda *_: lives)
    assert run_soak(monkeypatch, "--ends", "2", "--seconds", "0") == 0
    assert next(lives) == "SIGTERM on trio"
    assert capsys.readouterr().out.splitlines()[-1].startswith("soak: 0 violent ends")


def test_news_of_a_long_soak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then it says how far it is."""
    monkeypatch.setattr(soak, "NEWS", 0.0)
    monkeypatch.setattr(Ends, "live", lambda *_: iter(["SIGKILL on trio"]))
    assert run_soak(monkeypatch, "--ends", "2") == 0
    assert "1 of 2 ends, the last SIGKILL on trio; 0 views" in capsys.readouterr().out
