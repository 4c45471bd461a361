"""Signals: tell whoever wants to know that something has happened.

    class Inbox:
        arrived: Signal[Inbox] = Signal()

    @Inbox.arrived.connect
    async def log(sender: Inbox, mail: str, **kwargs: Any) -> None:
        print(mail)

    await Inbox.arrived.send(inbox, "hello")

What they promise:

- *In order, and all of them.* Receivers are called one after the other in the order in which they connected, each
  once per send. One that fails does not keep the others from being called; on asyncio it fails also if what it awaits is
  cancelled. When all were called, the first failure
  leaves the send as it was raised; later ones are noted on it, and logged.
- *The sender itself, or its equal.* A receiver connected to one sender is called for that object and for what is
  equal to it. Hashes decide nothing, so a sender need not have one.
- *Nothing is kept that nobody needs.* Of a sender that is its own equal only (most objects are) a signal holds a weak
  reference, and forgets its connections with it. A send leaves no trace. Receivers are kept alive, unless connected
  with ``weak=True``.
- *A send is a moment.* Who connects during a send is called from the next one on; who disconnects during it, and has
  not been called yet, is no longer called.
- *A copy is as if its constructor had made it.* However an object is copied - by `copy.deepcopy`, or by pickling - its signal is
  that of its class still: it has the receivers of all senders, and not those of the one that was copied. A signal of no class takes its
  receivers along, as any object does what it holds, but for those that are held weakly.

Signals may be connected and sent from several threads; a receiver is called in the thread, and in the task, of the
send.
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from reprlib import recursive_repr
from types import (
    BuiltinMethodType,
    CoroutineType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    TracebackType,
)
from typing import Any, NamedTuple, Self, TypeVar, overload

import anyio
import anyio.lowlevel

from structmode._engine import as_failure, note
from structmode.types.signals import (
    BaseSignalT as BaseSignalT,
    FilterReceiverMapping,
    SignalHandlerRefT,
    SignalHandlerT,
    SignalT as SignalT,
    SyncSignalT as SyncSignalT,
    T,
)

__all__ = ("BaseSignal", "Signal", "SyncSignal")

logger: logging.Logger = logging.getLogger(__name__)

_Handler = TypeVar("_Handler", bound=SignalHandlerT)


# --- Who is who


def _is_own_equal_only(sender: object) -> bool:
    """Whether nothing else can be equal to a sender, as far as that is up to the sender."""
    return type(sender).__eq__ is object.__eq__


def _is_same_sender(sender: Any, other: Any) -> bool:
    """Whether two senders are one, or equal; a comparison that fails, or gives no truth value, says no."""
    if sender is other:
        return True
    with suppress(Exception):
        return bool(sender == other)
    return False


def _identity_of(receiver: Any) -> tuple[object, ...]:
    """Return what tells a receiver from all others that exist at the same time.

    Of a method it is the object and the function: the method itself is made anew whenever it is asked for.
    """
    if isinstance(receiver, MethodType):
        return id(receiver.__self__), id(receiver.__func__)
    if isinstance(receiver, (BuiltinMethodType, MethodWrapperType)):
        return id(receiver.__self__), receiver.__name__
    return (id(receiver),)


def _name_of(receiver: Any) -> str:
    """Return what a receiver is called in errors and in the log; no code of its own is run for it."""
    if isinstance(receiver, FunctionType):
        return receiver.__qualname__
    if isinstance(receiver, MethodType) and isinstance(receiver.__func__, FunctionType):
        return receiver.__func__.__qualname__
    return f"a receiver of type {type(receiver).__qualname__}"


def _is_async(fun: Any) -> bool:
    """Whether calling a function, a partial of one, or a callable object makes a coroutine."""
    call = type(fun).__call__
    return inspect.iscoroutinefunction(fun) or inspect.iscoroutinefunction(call)


def _is_made_anew(before: type[Any], name: str, owner: type[Any], new_name: str) -> bool:
    """Whether a class takes the place of one before: `@dataclass(slots=True)` makes a class anew, and throws the first one away."""
    return (before.__module__, before.__qualname__, name) == (
        owner.__module__,
        owner.__qualname__,
        new_name,
    )


# --- Who is connected


def _nobody() -> None:
    """Stand for a receiver, or a sender, that has gone."""


class _Connection:
    """One receiver, connected to one sender or to all of them."""

    __slots__ = (
        "__weakref__",
        "get_receiver",
        "get_sender",
        "identity",
        "key",
        "number",
        "receiver",
    )

    def __init__(self, number: int, identity: tuple[object, ...]) -> None:
        #: The place in the order of connecting.
        self.number = number
        #: Of the receiver; as long as that exists.
        self.identity = identity
        #: The receiver, if the connection keeps it alive.
        self.receiver: SignalHandlerT | None = None
        #: Gives the receiver otherwise, or None when that has gone.
        self.get_receiver: SignalHandlerRefT = _nobody
        #: Gives the sender, or None when that has gone; None for all senders.
        self.get_sender: Callable[[], Any] | None = None
        #: The id of the sender, if that is held weakly.
        self.key: int | None = None

    def takes(self, sender: Any) -> bool:
        """Whether the receiver is called for this sender."""
        if self.get_sender is None:  # pragma: no cover - who asks has looked: a call costs
            return True
        mine = self.get_sender()
        return mine is not None and _is_same_sender(mine, sender)

    def held(self) -> tuple[SignalHandlerT, Any] | None:
        """Return the receiver, if it is kept alive, and the sender, which is None for all."""
        receiver = self.receiver
        if receiver is None and not isinstance(self.get_receiver, weakref.ref):
            receiver = self.get_receiver()
        if receiver is None or self.get_sender is None:
            return None if receiver is None else (receiver, None)
        sender = self.get_sender()
        return None if sender is None else (receiver, sender)

    def end(self) -> None:
        """Let go of the receiver, and of the sender."""
        self.receiver = None
        self.get_receiver = self.get_sender = _nobody


class _Plan(NamedTuple):
    """Whom a send concerns.

    Attributes:
        connections: The connections, in order.
        once: Whether no receiver is there twice.
        version: Up to which change it is good.
    """

    connections: tuple[_Connection, ...]
    once: bool
    version: int


_NO_PLAN = _Plan((), once=True, version=-1)


class _OfReceiver:
    """The connections of one receiver."""

    __slots__ = ("by_sender", "to_values")

    def __init__(self) -> None:
        #: To senders that are held weakly, by the id of the sender; and that to all senders, by None.
        self.by_sender: dict[int | None, _Connection] = {}
        #: To senders that are held by the connection, by its number.
        self.to_values: dict[int, _Connection] = {}

    def to(self, sender: Any) -> list[_Connection]:
        """Return those that may be to just this sender; None stands for all senders."""
        if sender is None or _is_own_equal_only(sender):
            held = self.by_sender.get(None if sender is None else id(sender))
            found = [] if held is None else [held]
        else:  # it may be the equal of one that does not know it
            found = [one for key, one in list(self.by_sender.items()) if key is not None]
        return found if sender is None else found + list(self.to_values.values())

    def file(self, connection: _Connection) -> _Connection:
        """Take in a connection, unless there is one to the same sender; return that which is there."""
        if connection.key is None and connection.get_sender is not None:
            self.to_values[connection.number] = connection
            return connection
        # In one step: whatever comes before it, or after, in another thread or a finaliser, is told from it.
        there = self.by_sender.setdefault(connection.key, connection)
        if there.get_sender is _nobody:  # it has ended
            there = self.by_sender[connection.key] = connection
        return there

    def forget(self, gone: _Connection) -> bool:
        """Know one less; returns whether none is left."""
        if self.by_sender.get(gone.key) is gone:
            del self.by_sender[gone.key]
        else:
            self.to_values.pop(gone.number, None)
        return not self.by_sender and not self.to_values


class _OfSender(weakref.ref[Any]):
    """One sender, held weakly, and the connections to it by their numbers."""

    __slots__ = ("connections", "key", "on_gone", "plan")

    connections: dict[int, _Connection]
    key: int
    on_gone: Callable[[_OfSender], object]
    plan: _Plan


def _forget_sender(gone: Any) -> None:
    """Let go of what was connected to the sender; called with the reference to it."""
    for connection in list(gone.connections.values()):
        connection.end()
    gone.on_gone(gone)


class _Connections:
    """All connections of a signal, which it shares with what `with_default_sender` makes of it.

    What is weakly referenced may go at any time, in any thread, and even while a dict is being copied. So the one who
    is told of it only notes it down, and the dicts are tidied up before they are used the next time. A finaliser that
    a collection runs may connect and disconnect just as suddenly, in the thread that holds the lock: so dicts are
    copied in one step, by `list`, and the copies gone through. Whether senders are equal is asked without holding the
    lock, since that runs code of others.

    Whom a send concerns is found out once, and kept until something changes, where no comparison of senders can change it: for
    senders that nothing else is equal to, as long as nobody is connected to a value. Who connects and disconnects looks for the receiver
    among its own connections only.
    """

    __slots__ = (
        "_gone",
        "_lock",
        "_numbers",
        "_of_receivers",
        "_of_senders",
        "_others",
        "_plan",
        "_version",
        "place",
    )

    def __init__(self) -> None:
        #: Of which class the signal is an attribute, and by which name; None if of none.
        self.place: tuple[type[Any], str] | None = None
        self._lock = threading.RLock()
        self._numbers = count()
        #: By the id of the sender.
        self._of_senders: dict[int, _OfSender] = {}
        #: To all senders, and to those that are held by the connection; by their numbers.
        self._others: dict[int, _Connection] = {}
        #: All of them, by the identity of the receiver.
        self._of_receivers: dict[tuple[object, ...], _OfReceiver] = {}
        #: What has gone, and is still filed.
        self._gone: deque[_Connection | _OfSender] = deque()
        #: How often something has changed.
        self._version = 0
        #: For senders that have no connections of their own.
        self._plan = _NO_PLAN

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied deeply, or pickled: as those of the class, or else with the receivers that are kept alive here."""
        if self.place is not None and self._are_at(*self.place):
            return _connections_at, self.place
        return _Connections, (), self._held()

    def __setstate__(self, held: list[tuple[SignalHandlerT, Any]]) -> None:
        for receiver, sender in held:
            self.add(receiver, sender, weak=False)

    def _are_at(self, owner: type[Any], name: str) -> bool:
        return getattr(vars(owner).get(name), "_connections", None) is self

    def _held(self) -> list[tuple[SignalHandlerT, Any]]:
        with self._lock:
            self._tidy()
            connections = list(self._others.values())
            for of_sender in list(self._of_senders.values()):
                connections += list(of_sender.connections.values())
        connections.sort(key=lambda connection: connection.number)
        held = [connection.held() for connection in connections]
        return [one for one in held if one is not None]

    def plan_for(self, sender: Any) -> _Plan:
        """Return the connections that a send by this sender concerns."""
        plan = self._plan
        if self._of_senders and _is_own_equal_only(sender):
            of_sender = self._filed(sender)
            plan = plan if of_sender is None else of_sender.plan
        elif self._of_senders:  # it may be the equal of one that does not know it
            plan = _NO_PLAN
        if plan.version == self._version and not self._gone:
            return plan
        return self._make_plan(sender)

    def _make_plan(self, sender: Any) -> _Plan:
        with self._lock:
            self._tidy()
            version = self._version
            asked, found = list(self._others.values()), list[_Connection]()
            to_all = all(one.get_sender is None for one in asked)
            of_sender = None
            if not _is_own_equal_only(sender):
                to_all = to_all and not self._of_senders
                for each in list(self._of_senders.values()):
                    asked += list(each.connections.values())
            elif of_sender := self._filed(sender):
                found += list(of_sender.connections.values())
        found += [one for one in asked if one.get_sender is None or one.takes(sender)]
        found.sort(key=lambda connection: connection.number)
        plan = _Plan(tuple(found), len({one.identity for one in found}) == len(found), version)
        if to_all and of_sender is not None:
            of_sender.plan = plan
        elif to_all:
            self._plan = plan
        return plan

    def find(self, fun: SignalHandlerT, sender: Any) -> list[_Connection]:
        """Return the connections of a receiver to just this sender; None stands for all senders."""
        with self._lock:
            self._tidy()
            of_receiver = self._of_receivers.get(_identity_of(fun))
            found = [] if of_receiver is None else of_receiver.to(sender)
        return [one for one in found if one.get_sender is None or one.takes(sender)]

    def knows(self, fun: SignalHandlerT) -> bool:
        """Whether a receiver is connected to whomever."""
        with self._lock:
            self._tidy()
            return _identity_of(fun) in self._of_receivers

    def add(self, fun: SignalHandlerT, sender: Any, *, weak: bool) -> None:
        """Connect a receiver, unless it is; being held weakly ends as soon as somebody wants it held."""
        known = self.find(fun, sender)
        if known and weak:
            return
        with self._lock:
            connection = known[0] if known else self._file(_identity_of(fun), sender)
            if weak:
                connection.get_receiver = _weakly(fun, connection, self._gone.append)
            elif connection.key is not None and _is_method_of(sender, fun):
                connection.get_receiver = _own_method(fun)
            else:
                connection.receiver = fun

    def remove(self, connection: _Connection) -> None:
        """End a connection."""
        connection.end()
        self._gone.append(connection)
        with self._lock:
            self._tidy()

    def _file(self, identity: tuple[object, ...], sender: Any) -> _Connection:
        """Make a connection, without a receiver yet; or return that which has been made in this very instant."""
        connection = _Connection(next(self._numbers), identity)
        of_sender, home = self._of_sender(sender), self._others
        if of_sender is not None:
            connection.get_sender, connection.key = of_sender, of_sender.key
            home = of_sender.connections
        elif sender is not None:
            connection.get_sender = partial(_itself, sender)
        there = self._of_receivers.setdefault(identity, _OfReceiver()).file(connection)
        if there is connection:
            home[connection.number] = connection
            self._version += 1  # last: a plan that is made meanwhile does not know it yet
        return there

    def _of_sender(self, sender: Any) -> _OfSender | None:
        """Return where connections to a sender are filed if it is held weakly, else None.

        A sender that others may be equal to is a value, such as a name or a pair. It may be sent by another object long
        after this one has gone.
        """
        if sender is None or not _is_own_equal_only(sender):
            return None
        if of_sender := self._filed(sender):
            return of_sender
        try:
            of_sender = _OfSender(sender, _forget_sender)
        except TypeError:  # no weak reference to it can be made
            return None
        of_sender.connections, of_sender.key, of_sender.plan = {}, id(sender), _NO_PLAN
        of_sender.on_gone = self._gone.append
        there = self._of_senders.setdefault(id(sender), of_sender)  # in one step, as above
        if there() is not sender:  # of one that has gone
            there = self._of_senders[id(sender)] = of_sender
        return there

    def _filed(self, sender: Any) -> _OfSender | None:
        """Return where connections to a sender are filed, if they are; the id may have been that of another before."""
        of_sender = self._of_senders.get(id(sender))
        return of_sender if of_sender is not None and of_sender() is sender else None

    def _tidy(self) -> None:
        while self._gone:
            gone = self._gone.popleft()
            self._version += 1
            if isinstance(gone, _OfSender):
                if self._of_senders.get(gone.key) is gone:  # pragma: no branch - false in a race
                    del self._of_senders[gone.key]
                for connection in list(gone.connections.values()):
                    self._forget(connection)
                continue
            self._forget(gone)
            if gone.key is None:
                self._others.pop(gone.number, None)
            elif gone.key in self._of_senders:  # pragma: no branch - false in a race of threads
                self._of_senders[gone.key].connections.pop(gone.number, None)

    def _forget(self, gone: _Connection) -> None:
        of_receiver = self._of_receivers.get(gone.identity)
        if of_receiver is not None and of_receiver.forget(gone):
            del self._of_receivers[gone.identity]


def _connections_at(owner: type[Any], name: str) -> _Connections:
    """Return the connections of the signal that is an attribute of a class."""
    signal: BaseSignal[Any] = vars(owner)[name]
    return signal._connections


# --- How a receiver is held


def _itself(thing: Any) -> Any:
    return thing


def _is_method_of(sender: object, fun: SignalHandlerT) -> bool:
    return isinstance(fun, MethodType) and fun.__self__ is sender


def _own_method(fun: Any) -> SignalHandlerRefT:
    """Hold a sender's own method, which is needed no longer than the sender, and must not keep it alive."""
    function, of_sender = fun.__func__, weakref.ref(fun.__self__)

    def get_receiver() -> SignalHandlerT | None:
        sender = of_sender()
        return None if sender is None else MethodType(function, sender)

    return get_receiver


def _weakly(
    fun: SignalHandlerT, connection: _Connection, on_gone: Callable[[_Connection], object]
) -> SignalHandlerRefT:
    which = weakref.ref(connection)

    def forget(_: object) -> None:
        ended = which()
        if ended is not None:  # pragma: no branch - what calls this belongs to the connection
            ended.end()
            on_gone(ended)

    if isinstance(fun, MethodType):
        return weakref.WeakMethod(fun, forget)
    return weakref.ref(fun, forget)


# --- Sending


class _Failures:
    """What the receivers of one send raise: the first failure leaves, later ones are noted on it and logged."""

    __slots__ = ("_first", "_signal", "_where")

    def __init__(self, signal: BaseSignal[Any]) -> None:
        self._signal = signal
        self._first: Exception | None = None
        self._where = ""

    def __enter__(self) -> Self:
        return self

    def add(self, receiver: SignalHandlerT, exc: Exception) -> None:
        """Take what a receiver raised."""
        where = f"{self._signal._spoken}: {_name_of(receiver)}"
        if self._first is None:
            self._first, self._where = exc, where
            return
        logger.error("%s failed too: %r", where, exc, exc_info=exc)
        if exc is not self._first:
            note(self._first, where, exc)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        first, self._first = self._first, None
        if first is None:
            return
        try:
            if exc is None:
                raise first
            # A cancellation, or the end of the program: that leaves instead.
            logger.error("%s failed: %r", self._where, first, exc_info=first)
        finally:
            del first  # its traceback leads back here


class BaseSignal(BaseSignalT[T]):
    """What `Signal` and `SyncSignal` have in common.

    As an attribute of a class, a signal takes its name from there. It is one for all instances; `with_default_sender`
    makes one for each.

    A signal can be copied. What ``copy.copy`` makes of it has the same receivers, as what `with_default_sender` makes. So have deep
    copies and pickles of a class's signal, each with its own default sender; those of another signal have their own receivers.

    Differs from mode: receivers are kept in order, senders are told apart by identity and equality, and the failure of
    a receiver does not keep others from being called.

    Args:
        name: What the signal is called. The name of the attribute, if none is given.
        owner: The class that it is an attribute of. Found out, if none is given.
        loop: Accepted for programs written for mode, without a meaning of its own.
        default_sender: Who sends the signal, and whose signal is connected to, where nothing else is said.
        receivers: Receivers to connect to every sender. Differs from mode: they are copied, and are no references.
        filter_receivers: Receivers to connect, by their sender. The same.

    Raises:
        TypeError: If one of the receivers can't be called; for a `SyncSignal`, if it is async.
    """

    #: What the signal is called; empty if it has no name.
    name: str
    #: The class that the signal is an attribute of.
    owner: type[Any] | None
    #: As it was given; without a meaning of its own.
    loop: Any
    #: Who sends the signal, where a send does not say; `None` if it has to.
    default_sender: Any

    def __init__(
        self,
        *,
        name: str | None = None,
        owner: type[Any] | None = None,
        loop: Any = None,
        default_sender: Any = None,
        receivers: Iterable[SignalHandlerT] | None = None,
        filter_receivers: FilterReceiverMapping | None = None,
    ) -> None:
        self.name = name or ""
        self.owner = owner
        self.loop = loop
        self.default_sender = default_sender
        self._connections = _Connections()
        for fun in receivers or ():
            self._connect(fun, weak=False, sender=None)
        for sender, funs in (filter_receivers or {}).items():
            for fun in funs:
                self._connect(fun, weak=False, sender=sender)

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = self.name or name
        place = self._connections.place
        if place is not None and not _is_made_anew(*place, owner, name):
            return  # one more name, of a signal that has a class
        self._connections.place = (owner, name)
        if self.owner is None or (place is not None and self.owner is place[0]):
            self.owner = owner

    @recursive_repr()
    def __repr__(self) -> str:
        label = f" {self.label}" if self.label else ""
        sender = "" if self.default_sender is None else f" of {self.default_sender!r}"
        return f"<{type(self).__name__}{label}{sender}>"

    @property
    def ident(self) -> str:
        """What tells the signal from others: its class and its name there."""
        return self.label

    @property
    def label(self) -> str:
        """The name of the signal, with that of its class before it; empty if it has none."""
        return f"{self.owner.__qualname__}.{self.name}" if self.owner else self.name

    def asdict(self) -> Mapping[str, Any]:
        """Return what `clone` passes on.

        Returns:
            Arguments of the constructor, by their names: all but the receivers.
        """
        return {
            "name": self.name,
            "owner": self.owner,
            "loop": self.loop,
            "default_sender": self.default_sender,
        }

    def clone(self, **kwargs: Any) -> Self:
        """Return another signal like this one, without its receivers.

        Args:
            kwargs: What is to be different, as the constructor takes it.

        Returns:
            The new signal. It has the receivers that were given, and what is connected to it later on.
        """
        return type(self)(**{**self.asdict(), **kwargs})

    def with_default_sender(self, sender: Any = None) -> Self:
        """Return this signal as one that `sender` sends.

        Both have the same receivers: who has connected to one is called by the other too, if it wants to hear of the
        sender. Who connects to what is returned hears of `sender` only. So the signal of a class becomes that of an
        instance, usually in its constructor:

            self.arrived = self.arrived.with_default_sender(self)

        Args:
            sender: Who sends it; the default sender that there is already, if `None`.

        Returns:
            A signal whose `send` takes no sender.
        """
        signal = self.clone(default_sender=self.default_sender if sender is None else sender)
        signal._connections = self._connections
        return signal

    def unpack_sender_from_args(self, *args: Any) -> tuple[T, tuple[Any, ...]]:
        """Tell the sender from the arguments of a send.

        Args:
            args: The positional arguments as they were given.

        Returns:
            The sender, and the arguments that are left. With a default sender, that is all of them.

        Raises:
            TypeError: If there is no default sender, and no argument either.
        """
        if self.default_sender is not None:
            return self.default_sender, args
        if not args:
            raise TypeError(
                f"{self._spoken} was sent without a sender: write `send(sender, ...)`, or give it one for good, "
                "`signal = signal.with_default_sender(sender)`"
            )
        return args[0], args[1:]

    def _sender_of(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[T, tuple[Any, ...]]:
        """Tell the sender, which may be given by keyword, from what receivers are called with."""
        if self.default_sender is None and not args and "sender" in kwargs:
            return kwargs.pop("sender"), ()
        return self.unpack_sender_from_args(*args)

    @overload
    def connect(self, fun: _Handler, *, weak: bool = False, sender: Any = None) -> _Handler: ...

    @overload
    def connect(
        self, fun: None = None, *, weak: bool = False, sender: Any = None
    ) -> Callable[[_Handler], _Handler]: ...

    def connect(
        self, fun: SignalHandlerT | None = None, *, weak: bool = False, sender: Any = None
    ) -> Any:
        """Let a receiver be called whenever the signal is sent.

        It is called with the sender and the arguments of the send, and gets the signal as ``signal=``. To be ready for
        arguments that are added later on, it takes ``**kwargs``. Also a decorator, with and without parentheses.

        A receiver that is connected already keeps its place. It is called once per send, also if it is connected to all
        senders and to this one.

        Differs from mode: a `sender` that is given counts, also where there is a default sender.

        Args:
            fun: The receiver: a function, a method, or any other callable. Without one, a decorator is returned.
            weak: Whether not to keep the receiver alive: when nothing else holds it, it is forgotten. That is at once
                for a lambda or a ``partial`` that is held nowhere else; of a method, it is the object that counts. What
                another connection keeps alive is called, and is forgotten with that connection.
            sender: Whose signal it is to receive: that of this object, and of all that is equal to it. `None` stands
                for the default sender, or for all senders where there is none. Its connections are forgotten with an
                object that only itself is equal to; other ones are values, and are held until it is disconnected.

        Returns:
            The receiver as it was given, or the decorator.

        Raises:
            TypeError: If it can't be called, or can't be held weakly; if it is an async generator function; for a `SyncSignal`, if it
                is async.
        """
        if fun is None:
            return partial(self.connect, weak=weak, sender=sender)
        self._connect(fun, weak=weak, sender=self.default_sender if sender is None else sender)
        return fun

    def disconnect(self, fun: SignalHandlerT, *, weak: bool = False, sender: Any = None) -> None:
        """Let a receiver no longer be called.

        One that is not connected, or has been forgotten, is let be.

        Differs from mode: `weak` need not be what it was for `connect`.

        Args:
            fun: The receiver.
            weak: Has no meaning: it is disconnected however it is held.
            sender: The sender that it was connected to, if one was given.

        Raises:
            ValueError: If no sender is given, and the receiver is connected to particular ones only.
        """
        sender = self.default_sender if sender is None else sender
        connections = self._connections.find(fun, sender)
        for connection in connections:
            self._connections.remove(connection)
        if sender is None and not connections and self._connections.knows(fun):
            raise ValueError(
                f"{_name_of(fun)} is connected to particular senders of {self._spoken}, and not to all: "
                "write `disconnect(receiver, sender=sender)`"
            )

    def iter_receivers(self, sender: Any) -> Iterator[SignalHandlerT]:
        """Go through those whom a send by this sender calls, in order.

        Args:
            sender: The sender.

        Returns:
            An iterator over the receivers that are connected now. One that is disconnected before its turn is left out.
        """
        plan = self._connections.plan_for(sender)
        called: set[tuple[object, ...]] = set()
        for connection in plan.connections:
            receiver = connection.receiver
            if receiver is None:
                receiver = connection.get_receiver()
            if receiver is None or connection.identity in called:
                continue
            if not plan.once:
                called.add(connection.identity)
            yield receiver

    @property
    def _spoken(self) -> str:
        return self.label or f"a {type(self).__name__}"

    def _connect(self, fun: SignalHandlerT, *, weak: bool, sender: Any) -> None:
        if not callable(fun):
            raise TypeError(
                f"{self._spoken}: connect() takes a function or another callable, not {fun!r}"
            )
        if inspect.isasyncgenfunction(fun) or inspect.isasyncgenfunction(type(fun).__call__):
            raise TypeError(
                f"{self._spoken}: {_name_of(fun)} yields, so a call runs nothing of it: connect a function without `yield`"
            )
        if weak:
            self._check_weak(fun)
        self._connections.add(fun, sender, weak=weak)

    def _check_weak(self, fun: SignalHandlerT) -> None:
        # A method of a built-in object is made anew each time it is asked for, and nothing tells of its object's end.
        can_be_held = not isinstance(fun, (BuiltinMethodType, MethodWrapperType)) or isinstance(
            getattr(fun, "__self__", None), ModuleType
        )
        if can_be_held:
            with suppress(TypeError):
                weakref.ref(fun.__self__ if isinstance(fun, MethodType) else fun)
                return
        raise TypeError(
            f"{self._spoken}: {_name_of(fun)} can't be held weakly: connect it without `weak=True`, "
            "or wrap it in a function"
        )

    def _check_call(self, kwargs: Mapping[str, Any]) -> None:
        if "signal" in kwargs:
            raise TypeError(
                f"{self._spoken}: send() takes no argument of the name `signal`: receivers get the signal by it"
            )


class Signal(BaseSignal[T], SignalT[T]):
    """A signal whose receivers may be async: they are awaited, one after the other.

    Plain functions are receivers too. `BaseSignal` tells the arguments, and what differs from mode.
    """

    async def send(self, *args: Any, **kwargs: Any) -> None:
        """Call the receivers, one after the other, and await those that are async.

        All are called, also if some of them fail. A cancellation leaves at once, and so does what is no ``Exception``;
        a failure that there has been by then is logged. Where there is nothing to await it is a checkpoint still.

        Args:
            args: The sender, unless there is a default sender, and what else receivers are called with.
            kwargs: Passed to the receivers, together with ``signal=``; without any ``args``, ``sender=`` is the sender.

        Raises:
            TypeError: If there is no sender, or an argument has the name ``signal``.
            Exception: What the first receiver to fail has raised. Later failures are noted on it.
        """
        sender, args = self._sender_of(args, kwargs)
        self._check_call(kwargs)
        await anyio.lowlevel.checkpoint_if_cancelled()
        awaited = False
        with _Failures(self) as failures:
            for receiver in self.iter_receivers(sender):
                try:
                    result = receiver(sender, *args, signal=self, **kwargs)
                    if type(result) is CoroutineType or (
                        result is not None and inspect.isawaitable(result)
                    ):
                        awaited = True
                        await result
                except Exception as exc:  # noqa: BLE001 - it leaves when all were called
                    failures.add(receiver, exc)
                except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - of what the receiver awaits, it is a failure
                    failure = as_failure(exc, _name_of(receiver))
                    if not isinstance(failure, Exception):
                        raise
                    failures.add(receiver, failure)
            if not awaited:  # and what has been done is not taken for cancelled
                await anyio.lowlevel.cancel_shielded_checkpoint()

    async def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Send the signal, as `send` does."""
        await self.send(*args, **kwargs)


class SyncSignal(BaseSignal[T], SyncSignalT[T]):
    """A signal whose receivers are plain functions, for code that can't await.

    `BaseSignal` tells the arguments, and what differs from mode. Besides, an async receiver is an error here, where in
    mode it is never run.
    """

    def send(self, *args: Any, **kwargs: Any) -> None:
        """Call the receivers, one after the other.

        All are called, also if some of them fail. What is no ``Exception`` leaves at once; a failure that there has
        been by then is logged.

        Args:
            args: The sender, unless there is a default sender, and what else receivers are called with.
            kwargs: Passed to the receivers, together with ``signal=``; without any ``args``, ``sender=`` is the sender.

        Raises:
            TypeError: If there is no sender, or an argument has the name ``signal``.
            Exception: What the first receiver to fail has raised. Later failures are noted on it.
        """
        sender, args = self._sender_of(args, kwargs)
        self._check_call(kwargs)
        with _Failures(self) as failures:
            for receiver in self.iter_receivers(sender):
                try:
                    self._check_result(receiver, receiver(sender, *args, signal=self, **kwargs))
                except Exception as exc:  # noqa: BLE001 - it leaves when all were called
                    failures.add(receiver, exc)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Send the signal, as `send` does."""
        self.send(*args, **kwargs)

    def _connect(self, fun: SignalHandlerT, *, weak: bool, sender: Any) -> None:
        if _is_async(fun):
            raise TypeError(
                f"{self._spoken} is a SyncSignal, and {_name_of(fun)} is async: connect a plain function, "
                "or make it a Signal"
            )
        super()._connect(fun, weak=weak, sender=sender)

    def _check_result(self, receiver: SignalHandlerT, result: object) -> None:
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                f"{self._spoken} is a SyncSignal, and {_name_of(receiver)} returned a coroutine, "
                "which will not run: make it a Signal"
            )
