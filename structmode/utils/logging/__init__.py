"""Logging: log methods that know their service, and the setting up that a `Worker` does.

Nothing here configures anything when it is imported. Only `setup_logging`, `logging_setup` and
`redirect_stdouts` touch the process, and only a `Worker` (or a program that means to) calls them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from structmode.utils.logging._composite import (
    CompositeLogger as CompositeLogger,
    LogSeverityMixin as LogSeverityMixin,
)
from structmode.utils.logging._levels import (
    Severity as Severity,
    get_logger as get_logger,
    level_name as level_name,
    level_number as level_number,
)

if TYPE_CHECKING:
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
    from structmode.utils.logging._redirect import (
        FileLogProxy as FileLogProxy,
        redirect_logger as redirect_logger,
        redirect_stdouts as redirect_stdouts,
    )
    from structmode.utils.logging._setup import (
        logging_setup as logging_setup,
        setup_logging as setup_logging,
    )

# What a service does not need is loaded when it is first asked for.
_ROOMS = {
    "_cry": ("cry",),
    "_flight_recorder": ("Logwrapped", "flight_recorder", "on_timeout"),
    "_formatters": (
        "DefaultFormatter",
        "ExtensionFormatter",
        "FormatterHandler",
        "FormatterHandler2",
        "formatter",
        "formatter2",
    ),
    "_redirect": ("FileLogProxy", "redirect_logger", "redirect_stdouts"),
    "_setup": ("logging_setup", "setup_logging"),
}

_HOME = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    _take_home(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def _take_home(value: Any) -> None:
    """Have a name be at home where it is imported from: to users the rooms of this package are no places."""
    if getattr(value, "__module__", "").startswith(f"{__name__}."):
        value.__module__ = __name__


for _name in ("CompositeLogger", "LogSeverityMixin", "get_logger", "level_name", "level_number"):
    _take_home(globals()[_name])
