"""The soak in short: every way to end the program once, some rounds on each backend; and the ledger that tells of both."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import structmode

from .ledger import Account, Damaged, Ledger, read_copy
from .violence import WAYS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")

ROOT = Path(__file__).resolve().parents[2]


# --- In short -------------------------------------------------------------------------------------


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the soak as a process; return how it ended."""
    # -P: the structmode under test is the one that is installed, not the one that may lie in the directory.
    home = Path(structmode.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-P", "-m", "tests.soak.soak", "--seed", "1", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)
def test_every_way_to_end_it_loses_nothing() -> None:
    """However it is ended, what was acknowledged is stored, and nothing else; the next life goes on from there."""
    run = soak("--ends", str(len(WAYS)), "--rounds", "0", "--load", "0.4")
    assert run.returncode == 0, run.stdout + run.stderr
    totals = run.stdout.splitlines()[-1]
    assert totals.startswith(f"soak: {len(WAYS)} violent ends (1 ")
    assert "0 lost, 0 invented" in totals


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)
@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_nothing_is_left_after_some_rounds(backend: str) -> None:
    """Restarted, crashed and starved, it holds no more tasks, threads, descriptors and memory than before."""
    if backend == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("there is no uvloop here")  # pragma: no cover - there is
    run = soak("--ends", "0", "--rounds", "8", "--backend", backend)
    assert run.returncode == 0, run.stdout + run.stderr
    totals = run.stdout.splitlines()[-1]
    assert "8 rounds in process" in totals
    assert "tasks +0, threads +0, descriptors +0" in totals


# --- The ledger -----------------------------------------------------------------------------------


def account_of(ledger: Ledger, sent: int, counted: int, saved: int) -> Account:
    """Make an account with so many views, in the order sent, counted, saved."""
    account = ledger.account("/a")
    for number in range(1, sent + 1):
        account.send()
        if number <= counted:
            account.answered(account.before + number, saved=number == saved)
    return account


@pytest.mark.parametrize("stored", [7, 8, 9])
def test_ledger_is_content_with_what_may_be(stored: int) -> None:
    """All that were counted, and any of those that were sent and not answered: no fault."""
    ledger = Ledger()
    account_of(ledger, sent=9, counted=7, saved=4)
    assert ledger.check({"/a": stored}, counted=True) == []
    assert (ledger.acknowledged, ledger.saved, ledger.lost, ledger.invented) == (7, 4, 0, 0)


def test_ledger_notices_a_lost_view() -> None:
    """A view that was counted, and is neither stored nor named as lost, is a fault."""
    ledger = Ledger()
    account_of(ledger, sent=9, counted=7, saved=4)
    (fault,) = ledger.check({"/a": 6}, counted=True)
    assert fault.startswith("1 lost, 0 invented: /a")
    assert ledger.lost == 1


def test_ledger_notices_that_all_is_lost() -> None:
    """A path that is not in the database at all is no exception."""
    ledger = Ledger()
    account_of(ledger, sent=2, counted=2, saved=0)
    assert ledger.check({}, counted=True)
    assert ledger.lost == 2


def test_ledger_lets_a_kill_take_what_was_not_saved() -> None:
    """After SIGKILL only what was said to be saved must be there; and that must."""
    ledger = Ledger()
    account_of(ledger, sent=9, counted=7, saved=4)
    assert ledger.check({"/a": 4}, counted=False) == []
    assert ledger.check({"/a": 3}, counted=False)
    assert ledger.lost == 1


def test_view_answered_as_saved_vouches_for_those_before_it() -> None:
    """When a view is saved, so are those that were counted before it."""
    account = account_of(Ledger(), sent=5, counted=5, saved=3)
    assert account.saved == 3
    assert account.missing(2, counted=False) == 1


def test_ledger_notices_an_invented_view() -> None:
    """More views than were sent are a fault; so is a path that nobody has viewed."""
    ledger = Ledger()
    account_of(ledger, sent=9, counted=7, saved=4)
    faults = ledger.check({"/a": 10, "/nobody": 2}, counted=True)
    assert [fault.split(":")[0] for fault in faults] == [
        "0 lost, 1 invented",
        "0 lost, 2 invented",
    ]
    assert ledger.invented == 3


def test_ledger_notices_what_is_missing_from_before() -> None:
    """What earlier lives have left must not go, also of a path that nobody has viewed since."""
    ledger = Ledger({"/a": 5, "/old": 3})
    account_of(ledger, sent=2, counted=2, saved=0)
    assert ledger.check({"/a": 7, "/old": 3}, counted=True) == []
    faults = ledger.check({"/a": 6, "/old": 2}, counted=False)
    assert [fault.split(" (")[0] for fault in faults] == ["1 lost, 0 invented: /old"]


def test_view_named_as_lost_is_accounted_for() -> None:
    """What the log names as lost is not missing; but it must not be stored all the same."""
    ledger = Ledger()
    account_of(ledger, sent=3, counted=3, saved=0)
    assert ledger.check({"/a": 1}, counted=True, lost={"/a": 2}) == []
    assert ledger.check({"/a": 2}, counted=True, lost={"/a": 2})


@pytest.mark.parametrize("views", [6, 8])
def test_ledger_notices_a_wrong_answer(views: int) -> None:
    """An answer that tells of fewer views than were counted, or more than were sent, is a fault."""
    ledger = Ledger({"/a": 5})
    account = ledger.account("/a")
    account.send()
    account.answered(6, saved=False)
    account.send()
    account.answered(views, saved=False)
    (fault,) = ledger.check({"/a": 7}, counted=True)
    assert fault.endswith(f"was answered with {views} views")


# --- The database ---------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with a hundred paths."""
    path = tmp_path / "pageviews.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE counts (path TEXT PRIMARY KEY, views INTEGER) WITHOUT ROWID")
        rows = [(f"/{number:0>100}", number) for number in range(100)]
        db.executemany("INSERT INTO counts VALUES (?, ?)", rows)
    return path


def test_database_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Before the first life, and after one that was killed in its start, there are no views; nothing is made."""
    assert read_copy(tmp_path / "pageviews.db") == {}
    assert not list(tmp_path.iterdir())
    sqlite3.connect(tmp_path / "empty.db").close()
    assert read_copy(tmp_path / "empty.db") == {}


@pytest.mark.process
def test_copy_has_what_is_in_the_log_of_a_killed_process(database: Path) -> None:
    """What a process that was killed has committed is read; its files are left as they are."""
    writer = (
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('PRAGMA journal_mode = WAL')\n"
        "db.execute('INSERT INTO counts VALUES (?, ?)', ('/new', 7))\n"
        "db.commit()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", writer, str(database)], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = database.with_name("pageviews.db-wal").read_bytes()
    assert log
    assert read_copy(database)["/new"] == 7
    assert database.with_name("pageviews.db-wal").read_bytes() == log


def test_damage_is_noticed(database: Path) -> None:
    """A page that has been overwritten in the middle of the file is found."""
    content = bytearray(database.read_bytes())
    content[8192:12288] = bytes(4096)
    database.write_bytes(content)
    with pytest.raises((Damaged, sqlite3.DatabaseError)):
        read_copy(database)
