"""Errors as values: copied, and sent from one process to another."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from structmode import exceptions
from structmode.contrib.asgi import LifespanFailed
from structmode.exceptions import (
    AsyncioRequired,
    CallAborted,
    EventLoopMismatch,
    LifecycleError,
    MaxRestartsExceeded,
    ModeAlreadyImported,
    ShutdownTimeout,
    StartAborted,
    StartTimeout,
    StillStarting,
    StructmodeError,
    StuckTask,
    TaskReturned,
)
from structmode.utils.graphs import CycleError

STUCK = StuckTask("Reader", "work", '  File "reader.py", line 7\n')
ERRORS: tuple[StructmodeError, ...] = (
    StructmodeError("plain"),
    LifecycleError("it is stopping", "Start it again"),
    EventLoopMismatch("called from elsewhere", "Call it there"),
    TaskReturned("Reader.work"),
    AsyncioRequired("service.loop", "anyio"),
    StartAborted("Reader"),
    CallAborted("Reader.add", "its thread has ended"),
    MaxRestartsExceeded("4 within 60 s"),
    ModeAlreadyImported("mode.services", "mode/services.py"),
    ShutdownTimeout("Reader", 1.5, [STUCK]),
    StartTimeout("Reader", 1.5, [StillStarting("Reader", 0, (STUCK,))]),
    LifespanFailed("startup", "no database"),
    CycleError("a circle"),
)


def pickled(error: StructmodeError) -> StructmodeError:
    """Send an error through a pickle."""
    made: StructmodeError = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    return made


def test_each_error_is_among_them() -> None:
    """All errors that the module has are tried."""
    known = {getattr(exceptions, name) for name in exceptions.__all__}
    errors = {one for one in known if issubclass(one, BaseException)}
    assert errors <= {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_an_error_made_anew(
    error: StructmodeError, again: Callable[[StructmodeError], StructmodeError]
) -> None:
    """A copy says the same, and has the same parts and notes."""
    error.add_note("seen in a test")
    made = again(error)
    assert type(made) is type(error)
    assert str(made) == str(error)
    assert made.args == error.args
    assert vars(made) == vars(error)
    if isinstance(error, ImportError):
        assert isinstance(made, ImportError)
        assert (made.name, made.path) == (error.name, error.path)


def test_a_stop_that_was_too_long_and_hung_nowhere() -> None:
    """It does not say that something is still there, and then nothing."""
    assert str(ShutdownTimeout("Crowd", 5, [])) == (
        "Crowd did not stop within 5 s; nothing in it hung, but all of it was not done by then"
    )


def test_an_error_with_parts_of_its_own() -> None:
    """So do errors of users that are made in a way of their own."""
    made = pickled(Mine(7, word="seven"))
    assert (str(made), vars(made)) == ("seven is 7", {"number": 7})


class Mine(LifecycleError):
    """An error whose parts are given by keyword."""

    def __init__(self, number: int, *, word: str) -> None:
        Exception.__init__(self, f"{word} is {number}")
        self.number = number
