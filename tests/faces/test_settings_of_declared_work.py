"""Every setting of declared work arrives, by whichever name the work was declared, and a refusal shows the very function."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from structmode import Backoff, Service, services
from structmode.services import ServiceTask

BACKOFF = Backoff(initial=2.0, maximum=8.0)
DECLARE: dict[str, Callable[..., Any]] = {
    "Service.task": lambda **settings: Service.task(**settings),
    "Service.task of a function": lambda **settings: partial_of(Service.task, **settings),
    "task": lambda **settings: services.task(**settings),
    "Service.timer": lambda **settings: Service.timer(5.0, **settings),
    "timer": lambda **settings: services.timer(5.0, **settings),
    "Service.crontab": lambda **settings: Service.crontab("* * * * *", **settings),
    "crontab": lambda **settings: services.crontab("* * * * *", **settings),
}


def partial_of(declare: Callable[..., Any], **settings: Any) -> Callable[[Any], Any]:
    """Make a decorator of a call that is given the function together with its settings."""
    return lambda fun: declare(fun, **settings)


async def flush(self: Service) -> None:
    """Do nothing."""


@pytest.mark.parametrize("name", DECLARE)
def test_a_backoff_is_passed_on(name: str) -> None:
    """The work is begun again after the back-off that was asked for."""
    declared = DECLARE[name](on_error="restart", backoff=BACKOFF)(flush)
    assert (declared.policy.on_error, declared.policy.backoff) == ("restart", BACKOFF)


@pytest.mark.parametrize("name", [name for name in DECLARE if "task" in name])
@pytest.mark.parametrize("forever", [False, True])
def test_whether_a_task_is_forever_is_passed_on(name: str, forever: bool) -> None:
    """A task that must not return is no finite one, and each says which it is."""
    declared = DECLARE[name](on_error="log", forever=forever)(flush)
    assert declared.forever is forever
    assert declared.finite is (not forever)


def test_a_declaration_made_by_hand() -> None:
    """The class of the declarations has the settings of the decorator by default."""
    declared = ServiceTask(flush)
    assert declared.on_error == "crash"
    assert declared.policy.backoff == Backoff()
    assert declared.forever is False
    assert declared.finite is True


@pytest.mark.parametrize("name", ["Service.crontab", "crontab"])
def test_a_time_zone_is_passed_on(name: str) -> None:
    """The line is read in the zone that was asked for, and by default in UTC."""
    zone = timezone(timedelta(hours=5, minutes=30))
    assert DECLARE[name](timezone=zone)(flush).schedule.timezone is zone
    assert DECLARE[name]()(flush).schedule.timezone is UTC


def plain(self: Service) -> None:
    """Do nothing, and wait for nothing."""


@pytest.mark.parametrize("name", DECLARE)
def test_a_refusal_shows_how_to_write_the_function(name: str) -> None:
    """Who decorates a plain function is shown an async one of that very name."""
    with pytest.raises(TypeError, match=r"async def plain\(self\) -> None: \.\.\."):
        DECLARE[name](on_error="log")(plain)
