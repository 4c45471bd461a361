"""Signals: ten receivers are told, one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.clock import per_unit
from benchmarks.library import Signal, hand
from benchmarks.model import ELSEWHERE, Row, times_mode

RECEIVERS = 10


class Sender:
    """Who sends."""


def receiver() -> Callable[..., Awaitable[None]]:
    """Return a function that is told, and does nothing."""

    async def receive(sender: object, **kwargs: Any) -> None:
        pass

    return receive


async def send(units: int) -> float:
    """Send a signal."""
    # mode keeps receivers weakly, so they are held here.
    receivers = [receiver() for _ in range(RECEIVERS)]
    signal: Signal[Any] = Signal()
    for receive in receivers:
        signal.connect(receive)
    return await per_unit(units, partial(signal.send, Sender()))


async def send_by_hand(units: int) -> float:
    """Call the functions of a list."""
    receivers = [receiver() for _ in range(RECEIVERS)]
    sender = Sender()

    async def tell() -> None:
        for receive in receivers:
            await receive(sender)

    return await per_unit(units, tell)


async def send_at_least(units: int) -> float:
    """Call the functions of a list that may change meanwhile; one that fails keeps none of the others from being called."""
    receivers = [receiver() for _ in range(RECEIVERS)]
    sender, signal = Sender(), Sender()

    async def tell() -> None:
        failures: list[Exception] = []
        await hand.lowlevel.checkpoint_if_cancelled()
        for receive in tuple(receivers):
            try:
                result: Any = receive(sender, signal=signal)
                if inspect.isawaitable(result):
                    await result
            except Exception as exc:  # noqa: BLE001 - it leaves when all were called
                failures.append(exc)
        if failures:
            raise failures[0]

    return await per_unit(units, tell)


ROWS: Sequence[Row] = (
    Row(
        name="signal-send",
        work="`Signal.send` to 10 receivers",
        codes={"services": send, "hand": send_by_hand, "floor": send_at_least},
        size=2000,
        goals=(times_mode(5), *ELSEWHERE),
    ),
)
