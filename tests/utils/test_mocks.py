"""Stand-ins for tests, on every event loop."""

from __future__ import annotations

import importlib
import subprocess
import sys
import unittest.mock
from collections.abc import Callable
from typing import Any, Self
from unittest.mock import DEFAULT

import anyio
import pytest

from structmode import Service, hold, service
from structmode.utils import mocks
from structmode.utils.mocks import (
    ANY,
    IN,
    AsyncContextManagerMock,
    AsyncContextMock,
    AsyncMagicMock,
    AsyncMock,
    ContextMock,
    FutureMock,
    MagicMock,
    Mock,
    call,
    mask_module,
    patch,
    patch_module,
)

# For what a type checker would not let pass.
services_of: Any = service


def test_what_the_standard_library_has_is_its_own() -> None:
    """The names stay, and are those of `unittest.mock`."""
    assert ANY is unittest.mock.ANY
    assert call is unittest.mock.call
    assert patch is unittest.mock.patch
    assert MagicMock is unittest.mock.MagicMock


def test_names_are_loaded_when_asked_for() -> None:
    """All that are public are there, and listed; others are not."""
    assert set(dir(mocks)) >= set(mocks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Mocker'"):
        _ = mocks.Mocker


@pytest.mark.process
def test_an_import_of_the_module_loads_no_asyncio() -> None:
    """``unittest.mock`` does, and is loaded when a mock is asked for."""
    program = "import sys, structmode.utils.mocks as m; a = 'asyncio' in sys.modules; m.IN; print(a, 'asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["False", "True"]


def test_in_is_equal_to_each_of_several() -> None:
    """On either side of ``==``, and to nothing else."""
    assert IN("a", "b") == "a"
    assert "b" == IN("a", "b")  # noqa: SIM300 - this side too
    assert IN("a", "b") != "c"
    assert repr(IN(1, "b")) == "<IN: 1, 'b'>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(IN(1))


def test_mocks_know_the_order_of_their_calls() -> None:
    """Calls are counted over all mocks, so that it can be told which came first."""
    first: Any = Mock(return_value=1)
    second: Any = Mock(spec_set=["method"])
    assert (first.global_call_count, first.call_counts) == (None, None)
    assert first("a", b=2) == 1
    second()
    first()
    assert first.call_args_list == [call("a", b=2), call()]
    assert first.call_counts[0] < second.global_call_count < first.call_counts[1]
    assert first.global_call_count == first.call_counts[1]
    first.reset_mock()
    assert (first.global_call_count, first.call_counts) == (None, None)
    assert first.call_count == 0
    first.reset_mock(return_value=True)
    assert isinstance(first(), Mock)


async def test_async_mocks() -> None:
    """They are `unittest.mock`'s, with mode's name for what records the calls."""
    mock = AsyncMock(return_value=1)
    assert await mock("a") == 1
    mock.coro.assert_awaited_once_with("a")
    mock.coro.side_effect = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await mock()
    magic = AsyncMagicMock(name="magic")
    magic.__len__.return_value = 3
    assert len(magic) == 3
    await magic()
    assert "magic" in repr(magic)
    assert isinstance(magic.coro, AsyncMock)


def test_a_context_mock_gives_itself() -> None:
    """An exception passes, and what was called is known."""
    mock = ContextMock(name="context")
    with pytest.raises(ValueError, match="passes"), mock as given:
        assert given is mock
        raise ValueError("passes")
    mock.__enter__.assert_called_once_with()
    assert mock.__exit__.call_count == 1


async def test_an_async_context_mock() -> None:
    """It gives what it was told to, or its return value, and ends an exception if it was told to."""
    assert AsyncContextManagerMock is AsyncContextMock
    response = Mock()
    get = Mock(return_value=AsyncContextMock(return_value=response))
    async with get("url") as given:
        assert given is response
    async with AsyncContextMock(aenter_return="given", aexit_return=True) as given:
        assert given == "given"
        raise ValueError("ends here")
    with pytest.raises(ValueError, match="passes"):
        async with AsyncContextMock():
            raise ValueError("passes")


async def test_an_async_context_mock_with_a_side_effect() -> None:
    """An exception is raised as the block begins, a function is called."""
    for effect in (ValueError("no"), ValueError):
        with pytest.raises(ValueError):  # noqa: PT011 - one of them has no text
            async with AsyncContextMock(side_effect=effect):
                pytest.fail("it began")
    calls: list[str] = []
    async with AsyncContextMock(side_effect=lambda: calls.append("called"), return_value=1) as one:
        assert one == 1
    assert calls == ["called"]


async def test_an_async_context_mock_with_several_side_effects() -> None:
    """Each block has the next, and what comes after the last is the error that an AsyncMock raises then."""
    effects = ["first", ValueError("second"), DEFAULT]
    mock = AsyncContextMock(side_effect=effects, return_value="third")
    async with mock as given:
        assert given == "first"
    with pytest.raises(ValueError, match="second"):
        async with mock:
            pytest.fail("it began")
    async with mock as given:
        assert given == "third"
    with pytest.raises(StopAsyncIteration):
        async with mock:
            pytest.fail("it began")


async def test_an_async_context_mock_awaits_its_side_effect() -> None:
    """A function that is `async def` is awaited when the block begins."""
    calls: list[str] = []

    async def effect() -> None:
        calls.append("called")

    async with AsyncContextMock(side_effect=effect, return_value=1) as one:
        assert one == 1
    assert calls == ["called"]


async def test_a_future_mock_can_be_awaited() -> None:
    """It gives what calling it gives, and knows whether it was awaited."""
    mock = FutureMock(return_value=1)
    mock.assert_not_awaited()
    with pytest.raises(AssertionError, match="was not awaited"):
        mock.assert_awaited()
    assert await mock == 1
    mock.assert_awaited()
    with pytest.raises(AssertionError, match="was awaited"):
        mock.assert_not_awaited()
    mock.assert_called_once_with()
    with pytest.raises(ValueError, match="no"):
        await FutureMock(side_effect=ValueError("no"))
    assert not FutureMock().awaited
    mock.reset_mock()
    mock.assert_not_awaited()
    mock.assert_not_called()
    await anyio.sleep(0)


def test_a_masked_module_cannot_be_imported() -> None:
    """Nor what is in it, in whatever form; afterwards it can, and is the same."""
    import collections.abc

    before = sys.modules["collections"], sys.modules["collections.abc"]
    with mask_module("collections", "there_is_none"):
        for statement in (
            "import collections",
            "import collections.abc",
            "from collections import abc",
            "from collections.abc import Mapping",
            "import there_is_none",
        ):
            with pytest.raises(ModuleNotFoundError):
                exec(statement)  # noqa: S102 - the statement is what is tested
    assert (sys.modules["collections"], sys.modules["collections.abc"]) == before
    assert "there_is_none" not in sys.modules
    assert collections.abc is before[1]


def test_a_patched_module_is_made_of_mocks() -> None:
    """Whatever is asked of it, the same each time; afterwards the module is as before, also after an error."""
    before = sys.modules["json"]
    with patch_module("json", "there_is_none") as (json, none):
        import json as imported

        import there_is_none  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        assert imported is json
        assert there_is_none is none
        assert json.loads is json.loads
        assert isinstance(json.loads, Mock)
        assert not hasattr(json, "__path__")
    assert sys.modules["json"] is before
    assert "there_is_none" not in sys.modules
    with pytest.raises(ValueError, match="no"), patch_module("json", new_callable=dict) as (json,):
        assert json.loads == {}
        raise ValueError("no")
    assert sys.modules["json"] is before


def test_mocks_have_children_of_their_kind() -> None:
    """An attribute of a counting mock counts too."""
    mock: Any = Mock()
    mock.child()
    assert mock.child.call_counts is not None


def test_a_module_in_a_package_is_masked_and_patched_there_too() -> None:
    """A package that has been imported has its modules as attributes, and gives those without importing anything."""
    import json

    decoder = json.decoder
    with mask_module("json.decoder"):
        for statement in ("from json import decoder", "import json.decoder"):
            with pytest.raises(ModuleNotFoundError):
                exec(statement)  # noqa: S102 - the statement is what is tested
        assert not hasattr(json, "decoder")
    assert json.decoder is decoder
    with patch_module("json.decoder", "json.there_is_none") as (patched, none):
        from json import decoder as imported

        assert imported is json.decoder is patched
        assert json.there_is_none is none  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert json.decoder is decoder
    assert not hasattr(json, "there_is_none")


def test_a_module_that_its_package_does_not_have_is_masked() -> None:
    """There is nothing to be taken from the package, and nothing is left in it."""
    import json

    before = set(vars(json))
    with mask_module("json.there_is_none"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("json.there_is_none")
    assert set(vars(json)) == before
    assert "json.there_is_none" not in sys.modules


def test_a_package_and_what_is_in_it_can_be_patched_together() -> None:
    """Where there is neither: the one is found in the other."""
    with patch_module("there_is_none", "there_is_none.inside") as (package, inside):
        found: dict[str, Any] = {}
        exec("import there_is_none.inside as inside", found)  # noqa: S102 - the statement is what is tested
        assert found["inside"] is inside is package.inside


class Asked:
    """Answers with itself whatever it is asked for, as stubs of things far away do; ends with the name that is too long."""

    def __init__(self, name: str = "stub") -> None:
        self.name = name

    def __getattr__(self, name: str) -> Asked:
        if name.startswith("__"):
            raise AttributeError(name)
        assert len(self.name) < 1000, "asked without end"
        return Asked(f"{self.name}.{name}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


@pytest.mark.parametrize("make", [AsyncContextMock, MagicMock, Asked])
async def test_what_answers_whatever_it_is_asked_can_be_held(make: Callable[[], Any]) -> None:
    """A service of it takes its name from its class, and no attribute for what it is made of."""
    held = hold(make())
    assert held.label == make.__name__
    async with held:
        assert held.state == "running"


@pytest.mark.parametrize("kind", [AsyncMock, AsyncMagicMock, unittest.mock.AsyncMock])
async def test_async_mocks_as_work(kind: Callable[..., Any]) -> None:
    """A service calls them, as it does any async function, and does not take one of their attributes for an event."""
    work = kind(return_value=3)
    async with Service() as user:
        assert (await user.wait(work)).result == 3
        assert await user.add_future(work) == 3
        assert await user.transition_with("working", work) == 3
    async with services_of(work)() as job:
        await job.wait_until_stopped()
    assert job.result == 3
    assert work.await_count == 4
    assert work.mock_calls == [unittest.mock.call()] * 4


async def test_a_mock_of_an_event() -> None:
    """What stands for an event is waited for."""
    event = AsyncMock(spec=anyio.Event)
    event.wait.return_value = "came"
    async with Service() as user:
        assert (await user.wait(event)).result == "came"
    event.wait.assert_awaited_once_with()


async def test_a_context_mock_is_held() -> None:
    """It is entered and left, and not taken for a cancel scope."""
    context = ContextMock()
    async with Service() as user:
        _ = user.add_context(context)
        context.__exit__.assert_not_called()
    assert context.__enter__.call_count == 1
    assert context.__exit__.call_count == 1
