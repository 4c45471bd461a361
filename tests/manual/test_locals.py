"""The chapter `mode.locals` of mode's manual: proxies made of roles, evaluated each time or once, and stacks per task."""

from __future__ import annotations

from collections import UserDict
from types import TracebackType
from typing import Any, Self

import anyio

from structmode.locals import AsyncContextManagerRole, MutableMappingRole
from structmode.utils.locals import LocalStack

made: list[str] = []


class Session(UserDict[str, str]):
    """A mapping that is entered by `async with`; all that are made share one store."""

    store: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.data = self.store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


def make() -> Session:
    """Make a session, and tell so."""
    made.append("made")
    return Session()


class SessionProxy(MutableMappingRole[str, str], AsyncContextManagerRole[Session]):
    """Stands for a session."""


def fresh() -> None:
    """Forget what other tests have made."""
    made.clear()
    Session.store = {}


def test_a_proxy_is_made_of_roles() -> None:
    """A class may combine roles; its proxies do what the object behind can do, and nothing is made before that."""
    fresh()
    session: Any = SessionProxy(make)
    assert made == []
    session["key"] = "value"
    assert Session.store == {"key": "value"}
    assert isinstance(session, Session)


async def test_it_is_evaluated_each_time() -> None:
    """Each time the object is needed it is made: twice for an item that is got in an `async with` block."""
    fresh()
    session: Any = SessionProxy(make)
    session["key"] = "value"
    assert made == ["made"]
    assert session["key"] == "value"
    assert made == ["made"] * 2
    async with session:
        assert session["key"] == "value"
    assert made == ["made"] * 4


async def test_it_is_evaluated_once() -> None:
    """With `cache=True` it is made when it is needed first, and never again."""
    fresh()
    session: Any = SessionProxy(make, cache=True)
    assert made == []
    session["key"] = "value"
    assert session["key"] == "value"
    async with session:
        assert session["key"] == "value"
    assert made == ["made"]


class Request:
    """What a task works at."""


async def test_a_typed_stack() -> None:
    """A stack is typed by what is pushed; each task has its own, and the topmost item is the current one."""
    requests: LocalStack[Request] = LocalStack()
    seen: list[Request | None] = []

    async def handle() -> None:
        assert requests.top is None
        request = Request()
        with requests.push(request):
            await anyio.sleep(0)
            seen.append(requests.top)
            assert requests.top is request
            assert list(requests.stack) == [request]
        assert requests.top is None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handle)
        tasks.start_soon(handle)
    assert len(set(seen)) == 2
    assert requests.pop() is None
