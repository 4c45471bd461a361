"""The chapter `mode.utils.text` of mode's manual: suggestions, lists in words, and shorter names."""

from __future__ import annotations

import pytest

from structmode.utils.text import abbr_fqdn, didyoumean, enumeration, title


def test_a_suggestion_in_an_error() -> None:
    """An error about a name that is not known may suggest those that are."""
    modes = ["fast", "slow"]
    wanted = "fsat"
    with pytest.raises(ValueError, match=r"no mode: fsat! Did you mean fast\?"):
        raise ValueError(f"no mode: {wanted}! {didyoumean(modes, wanted)}")


def test_one_suggestion() -> None:
    """Of what is known, one is alike."""
    assert didyoumean(["fee", "bar", "baz"], "bee") == "Did you mean fee?"


def test_several_suggestions() -> None:
    """Several are."""
    suggestion = didyoumean(["foo", "moo", "bar"], "boo")
    assert suggestion == "Did you mean one of foo, moo?"


def test_no_suggestion() -> None:
    """None is: the suggestion is empty."""
    assert didyoumean(["foo", "moo", "bar"], "xxx") == ""


def test_an_enumeration() -> None:
    """A list becomes a numbered one."""
    assert enumeration(["x", "y", "..."]) == "1) x\n2) y\n3) ..."


def test_a_name_without_its_origin() -> None:
    """A name in the package of the origin is shown without it, and another one as it is."""
    origin = "examples.simple"
    assert abbr_fqdn(origin, "examples.simple.Order", prefix="[...]") == "[...]Order"
    assert abbr_fqdn(origin, "examples.other.Thing", prefix="[...]") == "examples.other.Thing"


@pytest.mark.parametrize("words", ["foo bar", "foo-bar"])
def test_a_title(words: str) -> None:
    """Each word has a capital letter, whatever is between them."""
    assert title(words) == "Foo Bar"
