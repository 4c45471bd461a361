"""What no async library has in common with the others: backends by name, tasks of the loop itself, calls from signals."""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode._engine import (
    BACKENDS,
    new_loop_on,
    run_arguments,
    running_asyncio_loop,
    signal_safe_caller,
)
from structmode._engine._backend import absorb_cancellation

from .unit import Unit


async def loop_name() -> str:
    """Return which library's event loop runs."""
    try:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        return "trio"


@pytest.mark.parametrize(
    ("backend", "library"),
    [("asyncio", "asyncio"), ("asyncio+uvloop", "uvloop"), ("uvloop", "uvloop"), ("trio", "trio")],
)
def test_run_arguments(backend: str, library: str) -> None:
    """The arguments for a backend make `anyio.run` use just that."""
    assert anyio.run(loop_name, **run_arguments(backend)) == library


def test_all_backends_are_known() -> None:
    """Every name that is offered is understood."""
    assert [run_arguments(name)["backend"] for name in BACKENDS] == ["asyncio", "asyncio", "trio"]


@pytest.mark.parametrize(
    "backend",
    ["", "curio", "trio+uvloop", "asyncio+", "trio+", "asyncio+x", "+uvloop", "uvloop+x"],
)
def test_unknown_backend(backend: str) -> None:
    """A name that is not known is refused, and the error lists those that are."""
    with pytest.raises(ValueError, match="there is no backend") as caught:
        run_arguments(backend)
    assert all(repr(name) in str(caught.value) for name in BACKENDS)


def test_loop_on_a_selector() -> None:
    """The loop waits by the selector that it is given, and closes that with itself."""
    selector = selectors.SelectSelector()
    loop = new_loop_on(selector)
    assert loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
    assert selector.get_map()
    loop.close()
    assert not selector.get_map()


def test_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If uvloop is not installed, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ModuleNotFoundError, match=r"structmode\[uvloop\]") as caught:
        run_arguments("asyncio+uvloop")
    assert caught.value.name == "uvloop"
    assert run_arguments("asyncio")["backend"] == "asyncio"


async def test_running_asyncio_loop(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """The running asyncio loop is found on asyncio, and on no other."""
    if anyio_backend[0] == "asyncio":
        assert running_asyncio_loop() is asyncio.get_running_loop()
        return
    with pytest.raises(RuntimeError):
        running_asyncio_loop()


async def test_call_from_a_signal() -> None:
    """The function for signal handlers has the loop call something soon, from whatever thread or moment."""
    called: list[int] = []
    call_soon, event = signal_safe_caller(), anyio.Event()

    def call() -> None:
        called.append(threading.get_ident())
        event.set()

    call_soon(call)
    assert called == []
    await event.wait()
    event = anyio.Event()
    thread = threading.Thread(target=call_soon, args=(call,))
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    await event.wait()
    assert set(called) == {threading.get_ident()}


variable: ContextVar[str] = ContextVar("variable", default="default")


async def test_context_variables() -> None:
    """Hooks and tasks see the context variables of whoever called start(), on every backend, owned or not."""
    seen: list[str] = []

    async def look(unit: Unit) -> None:
        seen.append(variable.get())

    token = variable.set("caller")
    try:
        unit = Unit("a", [], Unit("b", [], set_up=look), set_up=look, work={"t": look})
        await unit.life.start()
        await unit.life.stop()
        async with unit.life.block():
            pass
    finally:
        variable.reset(token)
    assert seen == ["caller"] * 6


async def test_no_cancellation_to_take_back() -> None:
    """To take back a cancellation where none came, or outside of any task, changes nothing: the next one comes through."""
    called = anyio.Event()

    def call() -> None:  # on asyncio in no task, on trio in one of the loop's own
        absorb_cancellation()
        called.set()

    signal_safe_caller()(call)
    await called.wait()
    absorb_cancellation()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep_forever()
    assert scope.cancelled_caught
