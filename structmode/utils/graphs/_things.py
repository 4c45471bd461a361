"""What a picture shows of a thing, whatever it is, and in which characters.

Nothing here knows a service: a thing is known by its attributes only - `label`, `state`,
`children`, `beacon` - and only where they are what they should be.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import cast

from structmode.utils.types.trees import NodeT

# Control characters, lone surrogates, and the line breaks that are not called so.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NO_CHARACTERS = "\ufffe\uffff"


def data_of(thing: object) -> object:
    """Return what a node stands for; anything else stands for itself."""
    return cast("NodeT[object]", thing).data if isinstance(thing, NodeT) else thing


def label_of(thing: object) -> str:
    """Return what to call a thing: its `label` if it has one, a class's name, or its `str`."""
    data = data_of(thing)
    if isinstance(data, str):
        return data
    if isinstance(data, type):
        return data.__name__
    label = getattr(data, "label", None)
    return label if isinstance(label, str) else str(data)


def state_of(thing: object) -> str | None:
    """Return the state of a thing in a word, if it has one, as it is now."""
    state = getattr(data_of(thing), "state", None)
    return state if isinstance(state, str) else None


def replace_unprintable(text: str, replacement: Callable[[str], str]) -> str:
    """Replace each character that no picture or terminal can show, or that does something there.

    Args:
        text: Any text.
        replacement: What makes something of such a character.
    """
    if text.isprintable():  # most are, and it is quick to tell
        return text
    return "".join(
        character if _is_printable(character) else replacement(character) for character in text
    )


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, in them U+FFFD for what can't be shown."""
    lines = text.expandtabs(4).splitlines()
    return [replace_unprintable(line, lambda _: "\ufffd") for line in lines]


def _is_printable(character: str) -> bool:
    # Less strict than `str.isprintable`: spaces of all widths and what joins emoji may stand.
    return unicodedata.category(character) not in _UNPRINTABLE and character not in _NO_CHARACTERS
