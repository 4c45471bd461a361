"""Where a wrong declaration stands: file and line, whatever has been put around the function."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from structmode import Service


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put a function around another."""

    @wraps(function)
    def wrapper(*args: Any) -> Any:
        raise AssertionError("never called")

    return wrapper


def plain(self: Service) -> None:
    """Is no coroutine function."""


def line_of(function: Any) -> str:
    """Return where a function stands."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


class CallableThing:
    """Is callable, and no function."""

    def __call__(self) -> None: ...

    def __repr__(self) -> str:
        return "CallableThing()"


@pytest.mark.parametrize(
    ("body", "place", "name"),
    [
        (plain, line_of(plain), "plain"),
        (passing_on(plain), line_of(plain), "plain"),
        (CallableThing(), "CallableThing()", "work"),
        (42, "42", "work"),
        (None, "None", "work"),
    ],
)
@pytest.mark.parametrize(
    ("declare", "shown"),
    [
        (Service.task, "@Service.task"),
        (Service.timer(1.0), "@Service.timer(interval)"),
        (Service.crontab("* * * * *"), "@Service.crontab(cron_format)"),
    ],
)
def test_the_place_comes_first(declare: Any, shown: str, body: Any, place: str, name: str) -> None:
    """The error begins with the place of the function itself; of what has none, with what it is."""
    with pytest.raises(TypeError) as caught:
        declare(body)
    assert str(caught.value).startswith(f"{place}: {shown} takes an `async def`, but this is ")
    assert str(caught.value).endswith(
        f"; write\n    {shown}\n    async def {name}(self) -> None: ..."
    )


@pytest.mark.parametrize("declare", [Service.timer, Service.crontab])
def test_parentheses_forgotten(declare: Any) -> None:
    """A decorator without its argument names the function, too."""
    with pytest.raises(TypeError) as caught:
        declare(passing_on(plain))
    assert str(caught.value).startswith(f"{line_of(plain)}: @Service.")


def test_on_error_misspelt() -> None:
    """As does a setting that does not exist."""

    async def body(self: Service) -> None: ...

    declare: Any = Service.timer
    with pytest.raises(
        ValueError, match='on_error is "crash", "log" or "restart", not \'raise\''
    ) as caught:
        declare(1.0, on_error="raise")(body)
    assert str(caught.value).startswith(f"{line_of(body)}: ")
