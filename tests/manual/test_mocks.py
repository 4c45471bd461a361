"""The chapter `mode.utils.mocks` of mode's manual: stand-ins for what is async, and for modules."""

from __future__ import annotations

import http
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from structmode import Service
from structmode.utils.mocks import IN, AsyncContextManagerMock, AsyncMock, Mock, mask_module


def test_alternatives() -> None:
    """A value may be compared with several at once."""
    value = 2
    assert value == IN(1, 2)
    assert value != IN(3)


#: Stands for a module that makes sessions of an HTTP client.
library = SimpleNamespace(ClientSession=None)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """A session, whose requests are async contexts of a response."""
    response = Mock(status=http.HTTPStatus.OK, json=AsyncMock(return_value={"hello": "json"}))
    session = Mock(
        name="client", get=Mock(return_value=AsyncContextManagerMock(return_value=response))
    )
    monkeypatch.setattr(library, "ClientSession", Mock(return_value=session))
    return session


async def test_an_async_client(session: Mock) -> None:
    """A mock can be entered by `async with`, and what it gives has methods that can be awaited."""
    client = library.ClientSession()
    async with client.get("http://example.com") as response:
        assert response.status == http.HTTPStatus.OK
        assert await response.json() == {"hello": "json"}
    session.get.assert_called_once_with("http://example.com")


class App(Service):
    """Calls a slow method of its own when it starts."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        self.got = await self.slow("argument")

    async def slow(self, argument: str) -> str:
        raise AssertionError


async def test_an_async_method() -> None:
    """A method of a service can be replaced, and the mock tells how it was called."""
    app = App()
    mock = AsyncMock()
    app.slow = mock  # type: ignore[method-assign]
    async with app:
        mock.assert_called_once_with("argument")
        assert app.got is mock.coro.return_value


def test_a_masked_module() -> None:
    """A module can't be imported in the block, and can after it."""
    with mask_module("sys"):
        with pytest.raises(ImportError):
            import_module("sys")
    assert import_module("sys") is sys
