"""The table of states: which moves there are, and that every way leads to the end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from structmode._engine import TRANSITIONS, State, Trigger, advance

EVERY_MOVE = list(itertools.product(State, Trigger))


def next_states(state: State) -> set[State]:
    """Return what may follow a state."""
    return {after for (before, _), after in TRANSITIONS.items() if before is state}


@given(st.lists(st.sampled_from(list(Trigger)), max_size=30))
def test_any_triggers(triggers: list[Trigger]) -> None:
    """Whatever triggers come, a run only moves along the table, and what has no row changes nothing but raises."""
    state = State.NEW
    for trigger in triggers:
        if (state, trigger) in TRANSITIONS:
            state = advance(state, trigger)
        else:
            with pytest.raises(RuntimeError):
                advance(state, trigger)
    assert state in State


@given(st.data())
def test_every_path_ends_stopped(data: st.DataObject) -> None:
    """Every path from NEW, taken as far as it goes, ends in STOPPED, and visits no state twice."""
    state, visited = State.NEW, [State.NEW]
    while choices := sorted(next_states(state), key=lambda state: state.value):
        state = data.draw(st.sampled_from(choices))
        visited.append(state)
    assert state is State.STOPPED
    assert len(set(visited)) == len(visited)


@pytest.mark.parametrize(("state", "trigger"), EVERY_MOVE)
def test_each_move(state: State, trigger: Trigger) -> None:
    """A move is a row of the table, or raises an error that names the state and the trigger."""
    if (state, trigger) in TRANSITIONS:
        assert advance(state, trigger) is TRANSITIONS[state, trigger]
        return
    with pytest.raises(RuntimeError) as caught:
        advance(state, trigger)
    assert state.value in str(caught.value)
    assert trigger.value in str(caught.value)
    assert caught.value.__suppress_context__


def test_nothing_follows_stopped() -> None:
    """A run that has stopped stays so: there is no way back."""
    assert next_states(State.STOPPED) == set()


def test_a_start_can_be_undone() -> None:
    """From a start one may come to a stop without having run."""
    assert next_states(State.STARTING) == {State.RUNNING, State.STOPPING}


def test_all_are_used() -> None:
    """Every state but NEW is entered by some row, and every trigger does something."""
    assert set(TRANSITIONS.values()) == set(State) - {State.NEW}
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_alive() -> None:
    """A run is alive from the moment its start begins until its stop is over."""
    assert {state for state in State if state.alive} == {
        State.STARTING,
        State.RUNNING,
        State.STOPPING,
    }


def test_table_is_fixed() -> None:
    """Nobody can change the table."""
    with pytest.raises(TypeError):
        TRANSITIONS[State.STOPPED, Trigger.START] = State.STARTING  # type: ignore[index]
