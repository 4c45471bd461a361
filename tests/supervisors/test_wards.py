"""What a supervisor knows of its services, and where it finds that: as if it looked through a list, whatever has happened."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from structmode._supervision import Phase, Ward, Wards
from tests.engine.unit import Unit


class Supervised:
    """A service, as far as wards know services."""

    def __init__(self) -> None:
        self._outer = Unit("a", []).life


PLACES = st.integers(-100, 100)
PHASES = st.sampled_from(Phase)
ACTS = st.one_of(
    st.tuples(st.just("insert"), PLACES, st.booleans()),
    st.tuples(st.just("remove"), PLACES, st.none()),
    st.tuples(st.just("give"), PLACES, st.none()),
    st.tuples(st.just("move"), PLACES, PHASES),
    st.tuples(st.just("move one that is gone"), PLACES, PHASES),
)


@given(st.lists(ACTS, max_size=30))
def test_as_a_list(acts: list[tuple[str, int, Any]]) -> None:
    """Each question is answered as a list would answer it that is looked through from end to end."""
    wards, plain, gone = Wards(), list[Ward](), list[Ward]()
    for act, place, what in acts:
        chosen = gone if "gone" in act else plain
        ward = chosen[place % len(chosen)] if chosen else None
        if act == "insert":
            ward = Ward(Supervised(), "transient", significant=what)
            wards.insert(place, ward)
            plain.insert(place, ward)
        elif ward is None:
            continue
        elif act == "remove":
            wards.remove(ward)
            plain.remove(ward)
            gone.append(ward)
        elif act == "give":
            former = ward.service
            wards.give(ward, Supervised())
            assert wards.of(former) is None
        else:
            ward.phase = what
        check(wards, plain, gone)


def check(wards: Wards, plain: list[Ward], gone: list[Ward]) -> None:
    """Compare the wards with a list of them."""
    assert [*wards] == plain
    assert len(wards) == len(plain)
    assert wards.in_order(reversed([*plain, *gone, *plain])) == plain
    assert set(wards.significant) == {ward for ward in plain if ward.significant}
    for phase in Phase:
        assert wards.in_order(wards.at(phase)) == [ward for ward in plain if ward.phase is phase]
    for place, ward in enumerate(plain):
        assert ward in wards
        assert wards[place] is ward
        assert wards.place_of(ward) == place
        assert wards.after(ward) is (plain[place + 1] if place + 1 < len(plain) else None)
        assert wards.of(ward.service) is ward
    assert not any(ward in wards for ward in gone)
    assert wards.of(object()) is None
    assert wards.are_all_at_rest() == all(ward.phase is Phase.AT_REST for ward in plain)
