"""Texts for people: lists, plurals, shortened names, and what somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import IO, Any, AnyStr, NamedTuple

__all__ = (
    "FuzzyMatch",
    "abbr",
    "abbr_fqdn",
    "didyoumean",
    "enumeration",
    "fuzzymatch_best",
    "fuzzymatch_choices",
    "fuzzymatch_iter",
    "isatty",
    "maybecat",
    "pluralize",
    "shorten_fqdn",
    "title",
    "want_bytes",
    "want_str",
)

_GAP = "[.]"


class FuzzyMatch(NamedTuple):
    """A text that is like another one."""

    ratio: float
    """How much: 1.0 if they are equal, 0.0 if they have nothing in common."""
    value: str
    """The text."""


def title(s: str) -> str:
    """Return a text with each word capitalised; dashes and underscores become spaces.

    Args:
        s: The text, such as ``"foo-bar"``, of which comes ``"Foo Bar"``.
    """
    words = s.replace("-", " ").replace("_", " ").split()
    return " ".join(word.capitalize() for word in words)


def didyoumean(
    haystack: Iterable[str],
    needle: str,
    *,
    fmt_many: str = "Did you mean one of {alt}?",
    fmt_one: str = "Did you mean {alt}?",
    fmt_none: str = "",
    min_ratio: float = 0.6,
) -> str:
    """Return a question for the error message of a wrong choice.

    Args:
        haystack: All that could have been chosen.
        needle: What was chosen instead.
        fmt_many: What to return if several are like it; ``{alt}`` stands for them.
        fmt_one: What to return if one is like it.
        fmt_none: What to return if none is.
        min_ratio: How much they must be alike to count, from 0.0 to 1.0.
    """
    return fuzzymatch_choices(
        haystack,
        needle,
        fmt_many=fmt_many,
        fmt_one=fmt_one,
        fmt_none=fmt_none,
        min_ratio=min_ratio,
    )


def enumeration(
    items: Iterable[str],
    *,
    start: int = 1,
    sep: str = "\n",
    template: str = "{index}) {item}",
) -> str:
    """Return a numbered list.

    Args:
        items: The texts of the list.
        start: The first number.
        sep: What stands between two lines.
        template: What a line looks like, with ``{index}`` and ``{item}``.
    """
    lines = (template.format(index=index, item=item) for index, item in enumerate(items, start))
    return sep.join(lines)


def fuzzymatch_choices(
    haystack: Iterable[str],
    needle: str,
    *,
    fmt_many: str = "one of {alt}",
    fmt_one: str = "{alt}",
    fmt_none: str = "",
    min_ratio: float = 0.6,
) -> str:
    """Return what is like a text as part of a sentence; the arguments are those of `didyoumean`."""
    found = [match.value for match in fuzzymatch_iter(haystack, needle, min_ratio=min_ratio)]
    if not found:
        return fmt_none
    template = fmt_one if len(found) == 1 else fmt_many
    return template.format(alt=", ".join(found))


def fuzzymatch_iter(
    haystack: Iterable[str], needle: str, *, min_ratio: float = 0.6
) -> Iterator[FuzzyMatch]:
    """Iterate over the texts that are like another one, in the order in which they come.

    Args:
        haystack: The texts to look at.
        needle: What they are compared with.
        min_ratio: How much they must be alike to count, from 0.0 to 1.0.
    """
    for value in haystack:
        ratio = SequenceMatcher(None, needle, value).ratio()
        if ratio >= min_ratio:
            yield FuzzyMatch(ratio, value)


def fuzzymatch_best(haystack: Iterable[str], needle: str, *, min_ratio: float = 0.6) -> str | None:
    """Return the text that is most like another one; of several the first, and `None` if there is none.

    Args:
        haystack: The texts to look at.
        needle: What they are compared with.
        min_ratio: How much they must be alike to count, from 0.0 to 1.0.
    """
    matches = fuzzymatch_iter(haystack, needle, min_ratio=min_ratio)
    best = max(matches, key=lambda match: match.ratio, default=None)
    return None if best is None else best.value


def abbr(s: str, max: int, suffix: str = "...", words: bool = False) -> str:  # noqa: A002 - mode's name
    """Return a text cut off at the end, if it is too long.

    Differs from mode, where `words` means the opposite, and the result may be longer than `max`.

    Args:
        s: The text.
        max: How many characters it may have, the suffix included.
        suffix: What stands for the rest; left out if there is no room for it.
        words: Whether to cut between words, if there are several.

    Raises:
        ValueError: If `max` is negative.
    """
    if max < 0:
        raise ValueError(f"abbr(max={max!r}): a text can't have fewer than 0 characters")
    if len(s) <= max:
        return s
    room = max - len(suffix)
    if room <= 0:
        return s[:max]
    kept = s[:room]
    return (_whole_words(kept, s[room]) if words else kept) + suffix


def _whole_words(kept: str, following: str) -> str:
    """Return a text without the end of it that is part of a word; all of it if it is only that."""
    if following.isspace():
        return kept.rstrip()
    head = kept.rstrip()
    if head != kept:
        return head or kept
    shorter = head.rsplit(maxsplit=1)
    return shorter[0] if len(shorter) == 2 else kept


def abbr_fqdn(origin: str, name: str, *, prefix: str = "") -> str:
    """Return the full name of something in Python without the package that it is in.

    `shorten_fqdn` cuts what is too long; this takes away the package, and nothing else.

    Differs from mode, which takes ``examples.simple`` away from ``examples.simpler.Foo``, too.

    Args:
        origin: The package, such as ``"examples.simple"``; a name that is not in it stays as it is.
        name: The name, such as ``"examples.simple.Withdrawal"``.
        prefix: What to write in place of the package.
    """
    if origin and name.startswith(f"{origin}."):
        return prefix + name.removeprefix(f"{origin}.")
    return name


def shorten_fqdn(s: str, max: int = 32) -> str:  # noqa: A002 - mode's name
    """Return the full name of something in Python, cut in the middle if it is too long.

    Its last part stays whole, if there is room for it: ``"examples.simple.Withdrawal"`` in 20 characters is
    ``"example[.]Withdrawal"``.

    Args:
        s: The name.
        max: How many characters it may have.

    Raises:
        ValueError: If `max` is negative.
    """
    if max < 0:
        raise ValueError(f"shorten_fqdn(max={max!r}): a name can't have fewer than 0 characters")
    if len(s) <= max:
        return s
    package, _, name = s.rpartition(".")
    room = max - len(_GAP) - len(name)
    if not package or room <= 0:
        return abbr(name, max)
    return package[:room] + _GAP + name


def pluralize(n: int, text: str, suffix: str = "s") -> str:
    """Return the word for a number of things, without the number: ``"task"`` for 1, ``"tasks"`` for 2, 0 and any other.

    Args:
        n: How many things there are.
        text: The word for one of them.
        suffix: What the word has at its end if there is not one of them.
    """
    return text if n == 1 else text + suffix


def maybecat(s: AnyStr | None, suffix: str = "", *, prefix: str = "") -> str | None:
    """Return a text with something before and after it; `None` stays `None`.

    Args:
        s: The text; bytes are decoded.
        suffix: What to put after it.
        prefix: What to put before it.
    """
    return None if s is None else f"{prefix}{want_str(s)}{suffix}"


def want_bytes(s: AnyStr) -> bytes:
    """Return a string in UTF-8; bytes stay as they are, and so does all that is no string.

    Args:
        s: The string or the bytes.
    """
    thing: Any = s
    return thing.encode() if isinstance(thing, str) else thing


def want_str(s: AnyStr) -> str:
    """Return bytes, which are UTF-8, as a string; strings stay as they are, and so does all that is no bytes.

    Args:
        s: The bytes or the string.

    Raises:
        UnicodeDecodeError: If the bytes are no UTF-8.
    """
    thing: Any = s
    return thing.decode() if isinstance(thing, bytes) else thing


def isatty(fh: IO[Any]) -> bool:
    """Return whether a file is a terminal; one that is closed, or can't tell, is none.

    Args:
        fh: The file, such as ``sys.stdin``.
    """
    try:
        return fh.isatty()
    except (AttributeError, ValueError):
        return False
