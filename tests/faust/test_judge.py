"""The run of Faust's own tests is held against what is known to differ, and against nothing else."""

from __future__ import annotations

from tests.faust.suite import expected, judge

KNOWN = {"a::fails": "failed", "a::leaves": "error"}


def test_what_ends_as_it_is_known_to_is_right() -> None:
    """Skipped tests are of no concern."""
    assert judge({**KNOWN, "a::skipped": "skipped"}, KNOWN, complete=True) == []


def test_what_is_not_known_is_wrong() -> None:
    """By name, and how it ended."""
    (wrong,) = judge({**KNOWN, "a::new": "failed"}, KNOWN, complete=True)
    assert "a::new: failed" in wrong


def test_what_ends_otherwise_is_wrong() -> None:
    """Also if it passes: then it is to be struck out of the list; but not if it did not run."""
    (wrong,) = judge({"a::fails": "failed", "a::leaves": "failed"}, KNOWN, complete=True)
    assert "error was expected" in wrong
    (wrong,) = judge({"a::fails": "failed"}, KNOWN, complete=True)
    assert "a::leaves: passed" in wrong
    assert judge({"a::fails": "failed"}, KNOWN, complete=False) == []


def test_each_difference_has_a_reason_and_an_end() -> None:
    """The list that is kept can be read."""
    known = expected()
    assert set(known.values()) == {"failed", "error"}
    assert all("::" in test for test in known)
