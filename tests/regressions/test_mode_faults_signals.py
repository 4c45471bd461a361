"""The faults of mode's signals, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from structmode.signals import Signal, SyncSignal


def noting(calls: list[Any], name: str) -> Callable[..., None]:
    """Return a new receiver that notes its name."""

    def receive(*args: Any, **kwargs: Any) -> None:
        calls.append(name)

    return receive


@pytest.mark.fault("F1")
async def test_f1_senders_with_the_same_hash_are_two() -> None:
    """What is connected to the sender -1 does not hear of -2, whose hash is the same."""
    signal, calls = Signal[int](), list[str]()
    assert hash(-1) == hash(-2)
    signal.connect(noting(calls, "-1"), sender=-1)
    await signal.send(-2)
    assert calls == []
    await signal.send(-1)
    assert calls == ["-1"]


@pytest.mark.fault("F1")
async def test_f1_senders_need_no_hash() -> None:
    """A sender that can't be hashed can be sent, and connected to."""
    signal, calls = Signal[list[int]](), list[str]()
    signal.connect(noting(calls, "[1]"), sender=[1])
    await signal.send([1])
    await signal.send([2])
    assert calls == ["[1]"]


@pytest.mark.fault("F2")
async def test_f2_nothing_is_kept_per_sender() -> None:
    """A signal that is sent by ever new senders does not grow."""
    signal = Signal[object]()
    signal.connect(noting([], "r"), sender="nobody")
    await signal.send(object())
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(3000):
        await signal.send((number, "a sender"))
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000


@pytest.mark.fault("F3")
async def test_f3_receivers_are_called_in_the_order_in_which_they_connected() -> None:
    """Receivers stand in line; in a set they would be called in any order."""
    signal, calls = Signal[str](), list[str]()
    expected = [str(number) for number in range(100)]
    for name in expected:
        signal.connect(noting(calls, name))
    await signal.send("me")
    assert calls == expected


@pytest.mark.fault("F3")
async def test_f3_a_failing_receiver_does_not_stop_the_rest() -> None:
    """Those behind the one that fails are called too; then its error leaves."""
    signal, calls = Signal[str](), list[str]()

    for name in "abc":
        signal.connect(noting(calls, name))

    @signal.connect
    def fail(sender: str, **kwargs: Any) -> None:
        raise ValueError("no")

    for name in "defghijklm":
        signal.connect(noting(calls, name))
    with pytest.raises(ValueError, match="no"):
        await signal.send("me")
    assert calls == list("abcdefghijklm")


def test_an_async_receiver_of_a_sync_signal_is_refused() -> None:
    """Such a receiver would never run: in mode its coroutine is made, and dropped."""
    signal = SyncSignal[str]()

    async def receive(sender: str, **kwargs: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="is async"):
        signal.connect(receive)


def test_a_weak_receiver_can_be_disconnected_as_a_strong_one() -> None:
    """`disconnect` without ``weak=True`` is not silently without effect."""
    signal, calls = SyncSignal[str](), list[str]()
    receiver = noting(calls, "r")
    signal.connect(receiver, weak=True)
    signal.disconnect(receiver)
    signal.send("me")
    assert calls == []


def test_the_sender_that_is_asked_for_counts() -> None:
    """A `sender` that is given to `connect` is not overruled by the default sender."""
    signal, calls = SyncSignal[str](), list[str]()
    signal.with_default_sender("me").connect(noting(calls, "you"), sender="you")
    signal.send("me")
    assert calls == []
    signal.send("you")
    assert calls == ["you"]
