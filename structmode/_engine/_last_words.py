"""Reports that can't harm who makes them.

Theory: the engine reports mistakes of others - a listener that raised, a unit that could not be told - from the midst of what
it owes to somebody: a stop, an answer. The report goes to a log, and a log is others' code too: a filter may have a bug, a
stream may be closed. What is raised there must not take the engine's own path, so what can't be logged is written to the
standard error stream of the process, and what can't be written there is lost.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress


def report(logger: logging.Logger, message: str, *args: object) -> BaseException | None:
    """Log an error, with the exception that is being handled; never raises.

    Args:
        logger: Where.
        message: The message, a %-format.
        *args: What to put into it.

    Returns:
        What the log has raised to end the program, such as SystemExit; for the caller to pass on when its duty is done.
    """
    try:
        logger.error(message, *args, exc_info=sys.exception())
    except Exception:
        with suppress(Exception):
            text = f"{message % args}\n{traceback.format_exc()}"
            print(text, file=sys.__stderr__, flush=True)
    except BaseException as to_end:  # noqa: ASYNC103 - returned
        return to_end  # noqa: ASYNC104 - nothing here waits
    return None
