"""asyncio's event loops: what of them can be had, and what is said where there are none."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from structmode.exceptions import AsyncioRequired
from structmode.utils import loops
from structmode.utils.loops import call_asap, clone_loop, get_event_loop

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@on_asyncio
async def test_the_running_loop_is_the_loop() -> None:
    """Where one runs."""
    assert get_event_loop() is asyncio.get_running_loop()


def test_a_thread_keeps_a_loop_for_later() -> None:
    """The same one each time, until it is closed; each thread has its own."""
    first = get_event_loop()
    try:
        assert get_event_loop() is first is loops._current_loop.loop
        others: list[Any] = []
        thread = threading.Thread(target=lambda: others.append(get_event_loop()))
        thread.start()
        thread.join()
        assert others[0] is not first
        others[0].close()
    finally:
        first.close()
    second = get_event_loop()
    assert second is not first
    second.close()


def test_a_clone_is_of_the_same_kind_and_has_the_signal_handlers() -> None:
    """With their arguments; the loop that was copied is left as it was."""
    calls: list[str] = []
    loop = asyncio.SelectorEventLoop()
    loop.add_signal_handler(signal.SIGUSR1, calls.append, "told")
    clone = clone_loop(loop)
    try:
        assert type(clone) is type(loop)
        clone.call_soon(signal.raise_signal, signal.SIGUSR1)
        clone.call_later(0.05, clone.stop)
        clone.run_forever()
        assert calls == ["told"]
        assert not loop.is_closed()
    finally:
        clone.remove_signal_handler(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)
        clone.close()
        loop.close()


def test_a_loop_that_shows_no_signal_handlers_is_cloned_without() -> None:
    """uvloop's does not show them; the kind is the same."""
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    clone = clone_loop(loop)
    assert isinstance(clone, uvloop.Loop)
    clone.close()
    loop.close()


@on_asyncio
async def test_who_calls_asap_comes_first() -> None:
    """Before what the loop has to do already, with arguments, and in the given context."""
    calls: list[Any] = []
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    loop.call_soon(calls.append, "soon")
    call_asap(calls.append, "asap")
    call_asap(lambda: calls.append(variable.get()), context=context, loop=loop)
    handle = call_asap(calls.append, "never")
    handle.cancel()
    await asyncio.sleep(0)
    assert calls == ["given", "asap", "soon"]


def test_a_loop_without_a_queue_to_jump_calls_in_turn() -> None:
    """On uvloop the function is called all the same."""
    uvloop = pytest.importorskip("uvloop")
    loop, calls = uvloop.new_event_loop(), list[str]()

    async def main() -> None:
        call_asap(calls.append, "called")
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert calls == ["called"]


CALLS: dict[str, Callable[[], object]] = {
    "anyio.lowlevel.current_token()": get_event_loop,
    "anyio.run()": lambda: clone_loop(None),
    "anyio.from_thread.run_sync": lambda: call_asap(str),
}


@on_trio
@pytest.mark.parametrize("instead", CALLS)
async def test_on_trio_they_name_what_works_there(instead: str) -> None:
    """The error says that it needs asyncio, and what works on every backend."""
    with pytest.raises(AsyncioRequired, match="needs asyncio") as caught:
        CALLS[instead]()
    assert instead in str(caught.value)


def test_without_a_loop_nothing_can_be_called() -> None:
    """There is none to call it."""
    with pytest.raises(AsyncioRequired, match="call_asap"):
        call_asap(str)
