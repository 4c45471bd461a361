"""`mode.utils.logging`, with a name that Faust asks for."""

from __future__ import annotations

import sys

from structmode.utils.text import isatty

__all__ = ("LOG_ISATTY",)

#: Whether the log goes to a terminal, and tables in it may be in colours; as far as can be told before logging is set up.
LOG_ISATTY: bool = isatty(sys.stderr)
