"""Names and numbers of log levels."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from structmode.utils.logging import Severity, level_name, level_number


@pytest.mark.parametrize(
    ("severity", "number"),
    [
        ("info", logging.INFO),
        ("INFO", logging.INFO),
        (" Warning ", logging.WARNING),
        ("warn", logging.WARNING),
        ("crit", logging.CRITICAL),
        ("fatal", logging.CRITICAL),
        ("dev", logging.DEBUG),
        ("notset", logging.NOTSET),
        (logging.ERROR, logging.ERROR),
        (15, 15),
    ],
)
def test_a_severity_has_a_number(severity: Severity, number: int) -> None:
    """A name in any case becomes the number of its level, and a number stays what it is."""
    assert level_number(severity) == number


@pytest.mark.parametrize(
    ("severity", "name"),
    [
        (30, "WARNING"),
        ("warn", "WARNING"),
        ("crit", "CRITICAL"),
        ("dev", "DEBUG"),
        (15, "Level 15"),
    ],
)
def test_a_severity_has_a_name(severity: Severity, name: str) -> None:
    """A number or any name becomes the name that records show."""
    assert level_name(severity) == name


def test_an_unknown_level_lists_the_known_ones() -> None:
    """A name that no level has is a ValueError which repeats it and lists those that exist."""
    with pytest.raises(ValueError, match=r"'loud'.*DEBUG.*INFO.*WARNING.*ERROR.*CRITICAL"):
        level_number("loud")
    with pytest.raises(ValueError, match="'loud'"):
        level_name("loud")


@pytest.mark.parametrize("wrong", [None, True, 2.5, b"info"])
def test_another_type_is_no_level(wrong: Any) -> None:
    """What is neither a string nor a number is a TypeError that names its type."""
    with pytest.raises(TypeError, match=type(wrong).__name__):
        level_number(wrong)


def test_levels_that_a_program_adds_are_known() -> None:
    """A level added to the standard library is found in any case, and by its exact name."""
    logging.addLevelName(7, "Structmode-Trace")
    try:
        assert level_number("Structmode-Trace") == 7
        assert level_name(7) == "Structmode-Trace"
        logging.addLevelName(7, "STRUCTMODE-TRACE")
        assert level_number("structmode-trace") == 7
    finally:
        for name in ("Structmode-Trace", "STRUCTMODE-TRACE"):
            logging._nameToLevel.pop(name, None)
        logging._levelToName.pop(7, None)
