"""Texts for people."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from structmode.utils import compat, text
from structmode.utils.text import (
    FuzzyMatch,
    abbr,
    abbr_fqdn,
    didyoumean,
    enumeration,
    fuzzymatch_best,
    fuzzymatch_choices,
    fuzzymatch_iter,
    isatty,
    maybecat,
    pluralize,
    shorten_fqdn,
    title,
    want_bytes,
    want_str,
)

FOX = "the quick brown fox"
SIMPLE = "examples.simple.Withdrawal"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("foo bar", "Foo Bar"),
        ("foo-bar", "Foo Bar"),
        ("foo_bar-baz  x", "Foo Bar Baz X"),
        ("FOO bAR", "Foo Bar"),
        ("", ""),
    ],
)
def test_title(given: str, expected: str) -> None:
    """Each word is capitalised, whatever stood between them."""
    assert title(given) == expected


def test_did_you_mean() -> None:
    """One that is like it, several, or none; each with a text of its own."""
    assert didyoumean(["foo", "bar", "baz"], "boo") == "Did you mean foo?"
    assert didyoumean(["foo", "moo", "bar"], "boo") == "Did you mean one of foo, moo?"
    assert didyoumean(["foo", "moo", "bar"], "xxx") == ""
    assert didyoumean([], "xxx", fmt_none="nothing") == "nothing"
    assert didyoumean(iter(["foo"]), "foo", fmt_one="{alt}!") == "foo!"
    assert didyoumean(["foo", "moo"], "boo", fmt_many="{alt}?", min_ratio=0.5) == "foo, moo?"
    assert didyoumean(["foo", "moo"], "boo", min_ratio=0.9) == ""


def test_choices_in_a_sentence() -> None:
    """`fuzzymatch_choices` is the same without a question."""
    assert fuzzymatch_choices(["foo", "bar"], "boo") == "foo"
    assert fuzzymatch_choices(["foo", "moo"], "boo") == "one of foo, moo"
    assert fuzzymatch_choices(["foo"], "xxx") == ""


def test_matches_have_a_ratio() -> None:
    """Matches come in the order of the haystack, each with how much it is alike."""
    matches = fuzzymatch_iter(["foo", "bar", "boo"], "boo")
    assert isinstance(matches, Iterator)
    assert list(matches) == [FuzzyMatch(2 / 3, "foo"), FuzzyMatch(1.0, "boo")]
    assert [match.value for match in fuzzymatch_iter(["a", "b"], "a", min_ratio=0.0)] == ["a", "b"]


def test_the_best_match() -> None:
    """The one most alike, of equals the first, or none."""
    assert fuzzymatch_best(["foo", "boot", "moo"], "boo") == "boot"
    assert fuzzymatch_best(["foo", "moo"], "boo") == "foo"
    assert fuzzymatch_best(["foo"], "xxx") is None
    assert fuzzymatch_best(["xyz"], "xxx", min_ratio=0.1) == "xyz"


def test_enumeration() -> None:
    """Items are numbered, from whatever number, with whatever between them."""
    assert enumeration(["x", "y", "..."]) == "1) x\n2) y\n3) ..."
    assert enumeration(iter("xy"), start=0, sep=", ", template="{index}={item}") == "0=x, 1=y"
    assert enumeration([]) == ""


@pytest.mark.parametrize(
    ("max", "suffix", "words", "expected"),
    [
        (19, "...", False, FOX),
        (18, "...", False, "the quick brown..."),
        (10, "...", False, "the qui..."),
        (10, "[...]", False, "the q[...]"),
        (10, "...", True, "the..."),
        (12, "...", True, "the quick..."),
        (13, "...", True, "the quick..."),
        (6, "...", True, "the..."),
        (5, "...", True, "th..."),
        (4, "", False, "the "),
        (4, "", True, "the"),
        (3, "...", False, "the"),
        (2, "...", True, "th"),
        (0, "...", False, ""),
    ],
)
def test_abbreviations(max: int, suffix: str, words: bool, expected: str) -> None:  # noqa: A002
    """A text that is too long is cut off; `words` cuts between words."""
    assert abbr(FOX, max, suffix, words) == expected
    assert abbr(FOX, max=max, suffix=suffix, words=words) == expected


@given(
    s=st.text("ab \n", max_size=40),
    max=st.integers(0, 30),
    suffix=st.text(".a", max_size=5),
    words=st.booleans(),
)
def test_abbreviations_are_short_enough(s: str, max: int, suffix: str, words: bool) -> None:  # noqa: A002
    """What comes out is never longer than it may be, and is the text itself if that is short enough."""
    short = abbr(s, max, suffix, words)
    assert len(short) <= max
    assert (short == s) or len(s) > max
    assert s.startswith((short, short.removesuffix(suffix)))


def test_an_abbreviation_needs_room() -> None:
    """A negative length is a mistake."""
    with pytest.raises(ValueError, match="max=-1"):
        abbr("x", -1)


@pytest.mark.parametrize(
    ("origin", "name", "expected"),
    [
        ("examples.simple", SIMPLE, "[...]Withdrawal"),
        ("examples.simple", "examples.other.Foo", "examples.other.Foo"),
        ("examples.simple", "examples.simpler.Foo", "examples.simpler.Foo"),
        ("examples", SIMPLE, "[...]simple.Withdrawal"),
        ("examples.simple", "examples.simple", "examples.simple"),
        ("", SIMPLE, SIMPLE),
    ],
)
def test_names_without_their_package(origin: str, name: str, expected: str) -> None:
    """The package is taken away, if it is that, and something else put in its place."""
    assert abbr_fqdn(origin, name, prefix="[...]") == expected
    assert abbr_fqdn(origin, name) == expected.removeprefix("[...]")


@pytest.mark.parametrize(
    ("name", "max", "expected"),
    [
        (SIMPLE, 26, SIMPLE),
        (SIMPLE, 24, "examples.si[.]Withdrawal"),
        (SIMPLE, 20, "example[.]Withdrawal"),
        (SIMPLE, 14, "e[.]Withdrawal"),
        (SIMPLE, 13, "Withdrawal"),
        (SIMPLE, 9, "Withdr..."),
        ("Withdrawal", 9, "Withdr..."),
    ],
)
def test_short_names(name: str, max: int, expected: str) -> None:  # noqa: A002
    """A name is cut in the middle; its last part stays, as long as there is room for it."""
    assert shorten_fqdn(name, max) == expected


def test_no_room_for_a_name() -> None:
    """Less than no room is a mistake."""
    assert shorten_fqdn(SIMPLE, 0) == ""
    with pytest.raises(ValueError, match=r"shorten_fqdn\(max=-1\)"):
        shorten_fqdn(SIMPLE, -1)


@given(name=st.text(alphabet="ab.", max_size=80), max=st.integers(0, 40))
def test_short_names_are_short_enough(name: str, max: int) -> None:  # noqa: A002
    """What comes out is never longer than it may be; that is 32 if nothing is said."""
    assert len(shorten_fqdn(name, max)) <= max
    assert len(shorten_fqdn(name)) <= 32


def test_plurals() -> None:
    """One thing is one, any other number are several."""
    assert [pluralize(n, "task") for n in (0, 1, 2)] == ["tasks", "task", "tasks"]
    assert pluralize(2, "box", "es") == "boxes"
    assert pluralize(1, "box", suffix="es") == "box"


def test_maybe_something_around_it() -> None:
    """What is there gets something around it; what is not stays `None`."""
    assert maybecat("b", "c", prefix="a") == "abc"
    assert maybecat(b"b", suffix="c") == "bc"
    assert maybecat("", "c") == "c"
    assert maybecat(None, "c", prefix="a") is None
    assert maybecat("b") == "b"


def test_bytes_and_strings() -> None:
    """Either becomes the other, in UTF-8; anything else stays."""
    assert want_bytes("ä") == b"\xc3\xa4"
    assert want_str(b"\xc3\xa4") == "ä"
    assert want_bytes(b"a") == b"a"
    assert want_str("a") == "a"
    nothing: Any = None
    assert want_str(nothing) is None
    assert want_bytes(nothing) is None
    with pytest.raises(UnicodeDecodeError):
        want_str(b"\xff")


def test_terminals() -> None:
    """A file may be a terminal; one that is closed, or that can't tell, is none."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    closed = io.StringIO()
    closed.close()
    no_file: Any = object()
    assert isatty(Terminal())
    assert not isatty(io.StringIO())
    assert not isatty(closed)
    assert not isatty(no_file)
    assert isatty(sys.__stdin__) in {True, False}  # type: ignore[arg-type]


def test_they_are_in_compat_too() -> None:
    """Three of them have another home as well."""
    for name in ("isatty", "want_bytes", "want_str"):
        assert getattr(compat, name) is getattr(text, name)
