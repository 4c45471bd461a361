"""Taps on trio: its instruments are told of each task before its first step, and can put a tap in its place."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any, cast

import trio
from outcome import Error

from structmode import _engine as engine

from ._taps import Say, Tap

__all__ = ("cancel_current_task", "tapped_tasks")


# Whose tasks belong to the event loop itself, or to its clock.
_OF_THE_LOOP = ("trio._core.", "structmode.testing.")


class _Tapping(trio.abc.Instrument):
    def __init__(self, say: Say) -> None:
        self._say = say
        self._give_way = _what_gives_way()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        coroutine = task.coro
        if _module_of(coroutine).startswith(_OF_THE_LOOP):
            return

        def is_failure(sent: object) -> bool:
            return isinstance(sent, Error) and not _sleeps(coroutine)

        task.coro = cast(Any, Tap(coroutine, self._say, self._give_way, is_failure))


def _module_of(coroutine: Coroutine[Any, Any, Any]) -> str:
    """Return where a coroutine that has not begun was written."""
    frames = engine.frames_of(coroutine)
    return str(frames[0].f_globals.get("__name__")) if frames else ""


def _sleeps(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Whether it is in one of trio's sleeps, which end by a cancellation of their own."""
    return any(
        frame.f_globals.get("__name__") == "trio._timeouts"
        for frame in engine.frames_of(coroutine)
    )


def _what_gives_way() -> object:
    """Return what a coroutine yields to trio to be resumed in its next pass, whatever is cancelled."""
    checkpoint = trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC105 - it is looked into instead
    try:
        return checkpoint.send(None)
    finally:
        checkpoint.close()


@contextmanager
def tapped_tasks(say: Say, seed: int) -> Generator[None]:
    """Tap each task that begins inside, and settle the order in which trio takes them."""
    _settle_chance(seed)
    tapping = _Tapping(say)
    trio.lowlevel.add_instrument(tapping)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(tapping)


def _settle_chance(seed: int) -> None:
    # What trio draws from is not public, though Hypothesis settles it in the same way: without it, all still holds, but
    # a run can't be repeated.
    chance = getattr(getattr(trio, "_core", None), "_run", None)
    source = getattr(chance, "_r", None)
    if source is not None:
        source.seed(seed)


def cancel_current_task() -> bool:
    """Do nothing: on trio a task is cancelled through a scope, or not at all."""
    return False
