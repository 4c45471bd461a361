"""Logging: log methods that know their service, and the setting up that a `Worker` does.

Nothing here configures anything when it is imported. Only `setup_logging`, `logging_setup` and
`redirect_stdouts` touch the process, and only a `Worker` (or a program that means to) calls them.
"""

from __future__ import annotations

from structmode.utils.logging._composite import (
    CompositeLogger as CompositeLogger,
    LogSeverityMixin as LogSeverityMixin,
)
from structmode.utils.logging._cry import cry as cry
from structmode.utils.logging._flight_recorder import (
    Logwrapped as Logwrapped,
    flight_recorder as flight_recorder,
    on_timeout as on_timeout,
)
from structmode.utils.logging._formatters import (
    DefaultFormatter as DefaultFormatter,
    ExtensionFormatter as ExtensionFormatter,
    FormatterHandler as FormatterHandler,
    FormatterHandler2 as FormatterHandler2,
    formatter as formatter,
    formatter2 as formatter2,
)
from structmode.utils.logging._levels import (
    Severity as Severity,
    level_name as level_name,
    level_number as level_number,
)
from structmode.utils.logging._redirect import (
    FileLogProxy as FileLogProxy,
    redirect_logger as redirect_logger,
    redirect_stdouts as redirect_stdouts,
)
from structmode.utils.logging._setup import (
    get_logger as get_logger,
    logging_setup as logging_setup,
    setup_logging as setup_logging,
)

__all__ = (
    "CompositeLogger",
    "DefaultFormatter",
    "ExtensionFormatter",
    "FileLogProxy",
    "FormatterHandler",
    "FormatterHandler2",
    "LogSeverityMixin",
    "Logwrapped",
    "Severity",
    "cry",
    "flight_recorder",
    "formatter",
    "formatter2",
    "get_logger",
    "level_name",
    "level_number",
    "logging_setup",
    "on_timeout",
    "redirect_logger",
    "redirect_stdouts",
    "setup_logging",
)


def _settle() -> None:
    # To users the rooms of this package are no places: a name is at home where it is imported from.
    for name in __all__:
        value = globals()[name]
        if getattr(value, "__module__", "").startswith(f"{__name__}."):
            value.__module__ = __name__


_settle()
