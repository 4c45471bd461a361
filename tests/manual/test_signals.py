"""The chapter `mode.signals` of mode's manual, and what its history says of signals."""

from __future__ import annotations

from typing import Any

import anyio

from structmode import Signal, SyncSignal


class Inbox:
    """Tells who wants to know what has come."""

    arrived: Signal[Inbox] = Signal()
    read: SyncSignal[Inbox] = SyncSignal()


async def test_connect_without_parentheses() -> None:
    """A receiver may be connected by a decorator without parentheses."""
    signal: Signal[Inbox] = Signal(name="arrived")
    told: list[Any] = []

    @signal.connect
    async def receive(sender: Inbox, mail: str, **kwargs: Any) -> None:
        await anyio.sleep(0)
        told.append((sender, mail))

    inbox = Inbox()
    await signal.send(inbox, "hello")
    assert told == [(inbox, "hello")]
    signal.disconnect(receive)
    await signal.send(inbox, "again")
    assert len(told) == 1


async def test_connect_with_parentheses() -> None:
    """And with them, where it can be said of which sender the receiver wants to hear."""
    signal: Signal[Inbox] = Signal(name="arrived")
    mine, other = Inbox(), Inbox()
    told: list[str] = []

    @signal.connect()
    async def of_all(sender: Inbox, mail: str, **kwargs: Any) -> None:
        told.append(f"all: {mail}")

    @signal.connect(sender=mine)
    async def of_mine(sender: Inbox, mail: str, **kwargs: Any) -> None:
        told.append(f"mine: {mail}")

    await signal.send(mine, "one")
    await signal.send(other, "two")
    assert told == ["all: one", "mine: one", "all: two"]


def test_a_signal_that_is_not_async() -> None:
    """A `SyncSignal` is sent without `await`, and called with its sender as a keyword as well."""
    told: list[Any] = []

    @Inbox.read.connect
    def receive(sender: Inbox, **kwargs: Any) -> None:
        told.append(sender)

    inbox = Inbox()
    Inbox.read.send(sender=inbox)
    Inbox.read.send(inbox)
    Inbox.read.disconnect(receive)
    assert told == [inbox, inbox]


async def test_a_default_sender() -> None:
    """A clone of a signal with a default sender may be sent without one."""
    signal: Signal[int] = Signal()
    told: list[Any] = []

    async def receive(sender: int, *args: Any, **kwargs: Any) -> None:
        told.append((sender, args))

    signal.connect(receive)
    of_seven = signal.with_default_sender(7)
    await of_seven.send("what")
    await signal.send(8, "what")
    assert told == [(7, ("what",)), (8, ("what",))]


async def test_receivers_are_held() -> None:
    """A receiver that nobody else holds is called all the same, unless it was connected weakly."""
    signal: Signal[str] = Signal()
    told: list[str] = []

    def connect() -> None:
        async def receive(sender: str, **kwargs: Any) -> None:
            told.append(sender)

        signal.connect(receive)

    connect()
    await signal.send("it")
    assert told == ["it"]


def test_the_name_of_a_signal() -> None:
    """A signal in a class body knows its name and its class."""
    assert (Inbox.arrived.name, Inbox.arrived.owner) == ("arrived", Inbox)
    assert Inbox.arrived.label == "Inbox.arrived"
