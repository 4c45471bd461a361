"""What states and changes of state are called: users read these words, and programs compare them."""

from __future__ import annotations

import pytest

from structmode._engine import BACKENDS, TRANSITIONS, State, Trigger, advance, run_arguments

STATES = {
    State.NEW: "new",
    State.STARTING: "starting",
    State.RUNNING: "running",
    State.STOPPING: "stopping",
    State.STOPPED: "stopped",
}
TRIGGERS = {
    Trigger.START: "start",
    Trigger.READY: "ready",
    Trigger.STOP: "stop",
    Trigger.END: "end",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", Trigger)
def test_the_words(state: State, trigger: Trigger) -> None:
    """What can't happen is refused in these words."""
    assert (state.value, trigger.value) == (STATES[state], TRIGGERS[trigger])
    if (state, trigger) in TRANSITIONS:
        assert advance(state, trigger) is TRANSITIONS[state, trigger]
        return
    with pytest.raises(RuntimeError) as caught:
        advance(state, trigger)
    assert str(caught.value) == f"a run that is {STATES[state]} can't {TRIGGERS[trigger]}"


def test_which_are_alive() -> None:
    """A task of the run exists in these."""
    alive = [state for state in State if state.alive]
    assert alive == [State.STARTING, State.RUNNING, State.STOPPING]


def test_the_names_of_the_backends() -> None:
    """The error for any other name lists them."""
    assert BACKENDS == ("asyncio", "asyncio+uvloop", "trio")
    with pytest.raises(ValueError, match="curio") as caught:
        run_arguments("curio")
    assert str(caught.value) == (
        "there is no backend 'curio'; it is one of 'asyncio', 'asyncio+uvloop', 'trio'"
    )
