"""Log levels, changed while somebody looks, and put back when the console stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from structmode.utils.logging import level_name, level_number

__all__ = ("Levels",)


class Levels:
    """The levels of the loggers that there are, as a context that puts them back."""

    def __init__(self) -> None:
        # What each was before, and what it was set to.
        self._changed: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, (before, since) in self._changed.items():
            logger = logging.getLogger(name)
            if logger.level == since:  # nobody else has set it meanwhile
                logger.setLevel(before)
        self._changed.clear()

    def shown(self) -> Iterator[str]:
        """Iterate over what there is to say: the root's level, and those of loggers that have one of their own."""
        yield f"root {level_name(logging.root.level)}"
        known = logging.root.manager.loggerDict
        for name in sorted(known):
            logger = known[name]
            if isinstance(logger, logging.Logger) and logger.level:
                yield f"{name} {level_name(logger.level)}"

    def set(self, name: str, level: str) -> str:
        """Change the level of a logger; returns what is so now.

        Raises:
            ValueError: If there is no such logger, or no such level.
        """
        logger = self._find(name)
        number = level_number(int(level) if level.isdecimal() else level)
        before = self._changed.get(logger.name, (logger.level, 0))[0]
        self._changed[logger.name] = before, number
        logger.setLevel(number)
        return f"{logger.name} {level_name(number)}, until the console stops"

    def _find(self, name: str) -> logging.Logger:
        if name == "root":
            return logging.root
        # To ask `getLogger` would make one, for good.
        logger = logging.root.manager.loggerDict.get(name)
        if not isinstance(logger, logging.Logger):
            raise ValueError(f"there is no logger {name}")  # noqa: TRY004 - it is the name that is wrong
        return logger
