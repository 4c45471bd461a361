"""The words for a move that there is not: each says what the run is, and what it can't do."""

from __future__ import annotations

import pytest

from structmode._engine import State, Trigger, advance


@pytest.mark.parametrize(
    ("state", "trigger", "words"),
    [
        (State.STARTING, Trigger.START, "a run that is starting can't start"),
        (State.NEW, Trigger.READY, "a run that is new can't ready"),
        (State.STOPPED, Trigger.STOP, "a run that is stopped can't stop"),
        (State.RUNNING, Trigger.END, "a run that is running can't end"),
        (State.STOPPING, Trigger.START, "a run that is stopping can't start"),
    ],
)
def test_in_words(state: State, trigger: Trigger, words: str) -> None:
    """As a sentence."""
    with pytest.raises(RuntimeError) as caught:
        advance(state, trigger)
    assert str(caught.value) == words
