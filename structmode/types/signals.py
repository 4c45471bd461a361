"""The abstract types of signals.

A class that is only handed a signal, to connect to it or to send it, is written against these.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Self, TypeAlias, TypeVar, overload

__all__ = (
    "BaseSignalT",
    "FilterReceiverMapping",
    "SignalHandlerRefT",
    "SignalHandlerT",
    "SignalT",
    "SyncSignalT",
    "T",
    "T_contra",
)

#: The type of a signal's senders.
T = TypeVar("T")
#: The same, for what takes a sender and gives none back.
T_contra = TypeVar("T_contra", contravariant=True)

#: A receiver: called with the sender and the arguments of the send, and with the signal as ``signal=``.
SignalHandlerT: TypeAlias = Callable[..., Any]
#: What gives a receiver as long as there is one, and then `None`; such as a ``weakref.ref``.
SignalHandlerRefT: TypeAlias = Callable[[], SignalHandlerT | None]
#: Receivers by the sender that they are connected to. Differs from mode: the keys are the senders, and no hashes.
FilterReceiverMapping: TypeAlias = Mapping[Any, Iterable[SignalHandlerT]]

_Handler = TypeVar("_Handler", bound=SignalHandlerT)


class BaseSignalT(abc.ABC, Generic[T]):
    """What every signal can do: be connected to, and be copied.

    `structmode.signals.BaseSignal` says how each of these behaves, and what its arguments are.

    Args:
        name: What the signal is called.
        owner: The class that it is an attribute of.
        loop: Accepted for programs written for mode, without a meaning of its own.
        default_sender: Who sends it, where a send does not say.
        receivers: Receivers to connect to every sender.
        filter_receivers: Receivers to connect to one sender each.
    """

    #: What the signal is called; empty if it has no name.
    name: str

    #: The class that the signal is an attribute of.
    owner: type[Any] | None

    @abc.abstractmethod
    def __init__(
        self,
        *,
        name: str | None = None,
        owner: type[Any] | None = None,
        loop: Any = None,
        default_sender: Any = None,
        receivers: Iterable[SignalHandlerT] | None = None,
        filter_receivers: FilterReceiverMapping | None = None,
    ) -> None: ...

    @abc.abstractmethod
    def clone(self, **kwargs: Any) -> Self:
        """Return another signal like this one, without its receivers.

        Args:
            kwargs: What is to be different, as the constructor takes it.

        Returns:
            The new signal.
        """

    @abc.abstractmethod
    def with_default_sender(self, sender: Any = None) -> Self:
        """Return this signal as one that `sender` sends.

        Args:
            sender: Who sends it.

        Returns:
            The signal of that sender.
        """

    @overload
    def connect(self, fun: _Handler, *, weak: bool = False, sender: Any = None) -> _Handler: ...

    @overload
    def connect(
        self, fun: None = None, *, weak: bool = False, sender: Any = None
    ) -> Callable[[_Handler], _Handler]: ...

    @abc.abstractmethod
    def connect(
        self, fun: SignalHandlerT | None = None, *, weak: bool = False, sender: Any = None
    ) -> Any:
        """Let a receiver be called whenever the signal is sent.

        Args:
            fun: The receiver; without one, a decorator for it is returned.
            weak: Whether not to keep the receiver alive.
            sender: Whose signal it is to receive; everyone's if `None`.

        Returns:
            The receiver, or the decorator.
        """

    @abc.abstractmethod
    def disconnect(self, fun: SignalHandlerT, *, weak: bool = False, sender: Any = None) -> None:
        """Let a receiver no longer be called.

        Args:
            fun: The receiver.
            weak: Has no meaning: it is disconnected however it is held.
            sender: The sender that it was connected to, if one was given.
        """


class SignalT(BaseSignalT[T]):
    """A signal whose receivers may be async."""

    @abc.abstractmethod
    async def send(self, sender: T, *args: Any, **kwargs: Any) -> None:
        """Call the receivers, one after the other.

        Args:
            sender: Who sends it.
            args: Passed to the receivers.
            kwargs: Passed to the receivers.
        """


class SyncSignalT(BaseSignalT[T]):
    """A signal whose receivers are plain functions."""

    @abc.abstractmethod
    def send(self, sender: T, *args: Any, **kwargs: Any) -> None:
        """Call the receivers, one after the other.

        Args:
            sender: Who sends it.
            args: Passed to the receivers.
            kwargs: Passed to the receivers.
        """
