"""What a configuration for `logging.config.dictConfig` leaves out, put in.

Theory: a configuration says what is to be different, so what it does not mention is as it is without one. Only one thing can't be told
from silence: handlers of the root. Where the configuration was written to be used alone - it has a version, which it need not have
here, and loggers with handlers of their own - lines of these loggers would be written twice, as they go to the root's handler as
well. So there the root has none, as it would have none without us.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, cast

from structmode.utils.logging._formatters import (
    COLOR_FORMAT,
    DEFAULT_FORMAT,
    DefaultFormatter,
    ExtensionFormatter,
)

__all__ = ("check", "completed")

# What has names in it, and under each a mapping.
_SECTIONS = ("formatters", "filters", "handlers", "loggers")
# What the root may be called among the loggers.
_ROOT = ("", "root")


def check(config: Mapping[str, Any]) -> None:
    """See that a configuration has the form that it takes to be read here; the standard library sees to the rest.

    Args:
        config: The configuration.

    Raises:
        TypeError: If it is no mapping.
        ValueError: If a section of it, or a logger in it, is none, or if it is incremental.
    """
    if not isinstance(config, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"logging_config must be a mapping, as logging.config.dictConfig() takes it, not {config!r}; "
            "for a file, leave logging alone and call logging.config.fileConfig()"
        )
    if config.get("incremental"):
        raise ValueError(
            "an incremental logging_config can't set logging up: give a full one, "
            "or call logging.config.dictConfig() with it once logging is set up"
        )
    for section in _SECTIONS:
        _check_is_mapping(config.get(section, {}), f"{section!r}", "leave it out if it is empty")
    for name, logger in config.get("loggers", {}).items():
        _check_is_mapping(
            logger, f"the logger {name!r}", "leave it out if nothing is to be said of it"
        )


def _check_is_mapping(part: object, what: str, else_do: str) -> None:
    if not isinstance(part, Mapping):
        raise ValueError(  # noqa: TRY004 - the argument has the right type; what it says is wrong
            f"{what} in a logging_config must be a mapping, not {part!r}; {else_do}"
        )


def completed(config: Mapping[str, Any], level: int, handler: object) -> dict[str, Any]:
    """Return a configuration with what it leaves out.

    Args:
        config: The configuration.
        level: The level of the root, unless the configuration has one.
        handler: What makes the handler "default".
    """
    given = _with_root_in_its_place(config)
    base = _default_config(level, handler)
    if "root" not in given and _stands_alone(given):
        del base["root"]["handlers"]
    return _merged(base, given)


def _default_config(level: int, handler: object) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {"()": DefaultFormatter, "format": DEFAULT_FORMAT},
            "colored": {"()": ExtensionFormatter, "format": COLOR_FORMAT},
        },
        "handlers": {"default": {"()": handler}},
        "root": {"level": level, "handlers": ["default"]},
    }


def _with_root_in_its_place(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration in which the root is none of the loggers, where it would be overwritten by the default."""
    loggers: Mapping[str, Any] = config.get("loggers", {})
    named = [loggers[name] for name in _ROOT if name in loggers]
    if not named:
        return config
    root: dict[str, Any] = dict(ChainMap(config.get("root") or {}, *reversed(named)))
    others = {name: logger for name, logger in loggers.items() if name not in _ROOT}
    return {**config, "loggers": others, "root": root}


def _stands_alone(config: Mapping[str, Any]) -> bool:
    loggers: Mapping[str, Any] = config.get("loggers", {})
    written_twice = any(
        logger.get("handlers") and logger.get("propagate", True) for logger in loggers.values()
    )
    return "version" in config and written_twice and not config.get("merge")


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if (
            isinstance(known, Mapping)
            and isinstance(value, Mapping)
            and not {"class", "()"} & value.keys()
        ):
            result[key] = _merged(
                cast("Mapping[str, Any]", known), cast("Mapping[str, Any]", value)
            )
        else:
            result[key] = value
    return result
