"""Loggers by name, and severity levels: names to numbers and back."""

from __future__ import annotations

import logging
from typing import TypeAlias

__all__ = ("Severity", "get_logger", "level_name", "level_number")

#: How severe a log message is: a number, or the name of a level in any case.
Severity: TypeAlias = int | str

# What nearly all say, on each line that they log.
_USUAL = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# Names of the log methods that `logging` doesn't know as names of levels.
_ALIASES = {"CRIT": logging.CRITICAL, "DEV": logging.DEBUG}


def get_logger(name: str) -> logging.Logger:
    """Get a logger by name.

    Differs from mode: the logger gets no `logging.NullHandler`. Importing a module must not change
    logging, and while nobody has set logging up, warnings and errors are better seen - on stderr,
    by the standard library's handler of last resort - than lost.

    Args:
        name: The name of the logger, by custom the `__name__` of the module.

    Returns:
        The logger.
    """
    return logging.getLogger(name)


def level_number(loglevel: Severity) -> int:
    """Convert a severity to the number of its level.

    Args:
        loglevel: The name of a level in any case ("info", "WARN", "crit", or one added by
            `logging.addLevelName`), or a number, which is returned as it is.

    Returns:
        The number.

    Raises:
        TypeError: If `loglevel` is neither a string nor a number.
        ValueError: If no level has that name.
    """
    if isinstance(loglevel, str):
        number = _USUAL.get(loglevel)
        return _number_of(loglevel) if number is None else number
    # `True` is an int to Python, but no one means level 1 by it.
    if isinstance(loglevel, bool) or not isinstance(loglevel, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(loglevel).__name__
        raise TypeError(f"a log level is a name or a number, not {loglevel!r} ({kind})")
    return loglevel


def level_name(loglevel: Severity) -> str:
    """Convert a severity to the name of its level.

    Args:
        loglevel: The number of a level, or a name that `level_number` takes.

    Returns:
        The name as log records show it: "WARNING" for 30 and for "warn", "Level 15" for a number
        without a name.

    Raises:
        TypeError: As `level_number`.
        ValueError: As `level_number`.
    """
    return logging.getLevelName(level_number(loglevel))


def _number_of(name: str) -> int:
    # Asked with a name, the standard library returns its number; and a text, if there is none.
    number: int | str = logging.getLevelName(name.strip().upper())  # pyright: ignore[reportDeprecated]
    return number if isinstance(number, int) else _number_of_rare(name)


def _number_of_rare(name: str) -> int:
    known = {**_ALIASES, **logging.getLevelNamesMapping()}
    number = known.get(name.strip().upper(), known.get(name))
    if number is None:
        raise ValueError(
            f"no log level is named {name!r}: give a number or one of {_listed(known)}"
        )
    return number


def _listed(known: dict[str, int]) -> str:
    return ", ".join(sorted(known, key=lambda name: (known[name], name)))
