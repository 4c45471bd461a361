"""The laws, asked of notes that were made up: each breach is told, and what is legal is not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from structmode.testing import FAULTS, SERVICE
from structmode.testing._laws import breaches
from structmode.testing._witness import Call, Entry, RunRecord, Witness


@dataclass(eq=False)
class Plain:
    """What the laws know of a service: its name, and its time to stop."""

    shortlabel: str
    shutdown_timeout: float = 5.0


APP, CHILD = Plain("app"), Plain("child")


def whole_run(service: Plain, began: int, over: int, owner: Plain | None = None) -> RunRecord:
    """Make the record of a run in which all was well; its stop takes its last four entries."""
    return RunRecord(
        service,
        SERVICE,
        owner,
        began,
        began_at=float(began),
        up=began + 4,
        known=True,
        stopping=over - 4,
        over=over,
        over_at=float(over),
        stopping_at=float(over - 4),
        hooks={
            "on_start": began + 1,
            "on_started": began + 3,
            "on_stop": over - 3,
            "on_shutdown": over - 1,
        },
        returned={"on_start": began + 2},
    )


def told(*runs: RunRecord, calls: tuple[Call, ...] = ()) -> list[str]:
    """Return the breaches of a program of these runs."""
    witness = Witness()
    witness.entries = [Entry(float(place), "something") for place in range(100)]
    witness.runs = list(runs)
    witness.calls = list(calls)
    return breaches(witness)


def test_all_is_well() -> None:
    """A child that began and ended inside its owner's run, and stopped after that had begun to."""
    app, child = whole_run(APP, 0, 50), whole_run(CHILD, 6, 48, APP)
    app.hooks["on_stop"], app.stopping, child.stopping = 40, 39, 43
    assert told(app, child) == []


@pytest.mark.parametrize("entered", [{}, {1: 10}, {1: 10, 2: 11}])
def test_contexts(entered: dict[int, int]) -> None:
    """Contexts are left once each, last-in first-out, before the farewell."""
    app = whole_run(APP, 0, 50)
    app.entered = entered
    app.left = [(number, 48) for number in reversed(entered)]
    assert told(app) == []
    app.left = [*app.left, (1, 48)]
    (breach,) = told(app)
    assert breach.startswith(f"contexts are left once: app entered {sorted(entered)} and left [")


def test_contexts_in_the_wrong_order() -> None:
    """First in, first out, and then too late."""
    app = whole_run(APP, 0, 50)
    app.entered, app.left = {1: 10, 2: 11}, [(1, 47), (2, 50)]
    assert told(app) == [
        "contexts are left once: app left its contexts in this order: [1, 2]",
        "contexts are left once: app left context 2 after on_shutdown had begun",
    ]


def test_no_end() -> None:
    """What has not ended is told, and nothing more is made of it."""
    app = whole_run(APP, 0, 50)
    app.over = app.over_at = app.stopping = app.stopping_at = None
    app.hooks = {"on_start": 1, "on_stop": 2, "on_shutdown": 3}
    assert told(app) == ["all is over: app has not ended"]


def test_outside_of_its_owner() -> None:
    """A run that began before its owner's, after it, or that outlived it."""
    app = whole_run(APP, 10, 50)
    for began, over in ((0, 48), (60, 70)):
        assert told(app, whole_run(CHILD, began, over, APP)) == [
            "nothing outlives its owner: child began outside of a run of app"
        ]
    assert "nothing outlives its owner: child ended after app, which owns it" in told(
        app, whole_run(CHILD, 20, 60, APP)
    )


def test_needs() -> None:
    """What is needed is up before its user starts, and begins to stop after it; unless somebody stops it by hand."""
    user, need = whole_run(APP, 10, 50), whole_run(CHILD, 2, 60)
    user.needs = [CHILD]
    assert told(user, need) == []
    absent = "a need is there while it is used: child was not up when app started, which needs it"
    assert told(user) == [absent]
    for began in (8, 12):  # not up yet; not there yet
        assert told(user, whole_run(CHILD, began, 60)) == [absent]
    early = whole_run(CHILD, 2, 40)
    assert told(user, early) == [
        "a need is there while it is used: child began to stop before app was done, which needs it"
    ]
    assert told(user, early, calls=(Call(CHILD, False, 35, 41),)) == []


def test_told_by_itself() -> None:
    """A child that stops before its owner was told to: by a stop, or since the call that started it was cancelled."""
    app, child = whole_run(APP, 0, 50), whole_run(CHILD, 6, 30, APP)
    breach = [
        "a stop goes from the top down: child began to stop before app, which owns it",
    ]
    assert told(app, child) == breach
    assert told(app, child, calls=(Call(CHILD, False, 20, 31),)) == []
    assert told(app, child, calls=(Call(CHILD, True, 5, 30),)) == []
    assert told(app, child, calls=(Call(CHILD, True, 5),)) == []
    for other in (Call(APP, False, 20, 31), Call(CHILD, False, 28), Call(CHILD, True, 5, 20)):
        assert told(app, child, calls=(other,)) == breach
    child.known = False  # it was undone, as the last thing begun
    assert told(app, child) == []


def test_a_thread_that_ends_by_itself() -> None:
    """Where all tasks of a thread have been cancelled past all scopes, it stops, and its owner goes on."""
    app, child = whole_run(APP, 0, 50), whole_run(CHILD, 6, 30, APP)
    child.foreign = True
    assert told(app, child) == []


def test_a_stop_that_takes_too_long() -> None:
    """The time to stop, and some more to unwind."""
    app = whole_run(APP, 0, 50)
    app.stopping_at = 43.0
    assert told(app) == []
    app.stopping_at = 42.9
    assert told(app) == ["a stop is bounded: app took 7.1 s to stop, and may take 7 s"]


def test_names_of_faults() -> None:
    """A fault shows its name."""
    assert repr(FAULTS[4]) == "<Fault 'a stop'>"
