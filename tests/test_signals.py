"""Signals: who is called, in which order, for which sender, how long, and what happens to what is raised."""

from __future__ import annotations

import abc
import copy
import functools
import gc
import pickle
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from hypothesis import example, given, settings, strategies as st

from structmode import Service
from structmode.signals import BaseSignal, Signal, SyncSignal
from structmode.types.signals import BaseSignalT, SignalT, SyncSignalT
from tests.at_once import at_once, taking_turns_often
from tests.meanwhile import meanwhile

AnySignal: TypeAlias = Signal[Any] | SyncSignal[Any]


class Sender:
    """Something that is its own equal only."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.heard: list[Any] = []

    def on_signal(self, sender: Any, *args: Any, **kwargs: Any) -> None:
        """A receiver."""
        self.heard.append((sender, *args))


@dataclass
class Point:
    """A value: equal to others, and without a hash."""

    x: int


class Calls(list[Any]):
    """What was called, and receivers that note it here."""

    def receiver(self, name: str) -> Callable[..., None]:
        """Return a new receiver that notes its name."""

        def receive(*args: Any, **kwargs: Any) -> None:
            self.append(name)

        return receive

    def async_receiver(self, name: str) -> Callable[..., Any]:
        """Return a new async receiver that notes its name when it is done."""

        async def receive(*args: Any, **kwargs: Any) -> None:
            await anyio.lowlevel.checkpoint()
            self.append(name)

        return receive

    def failing(self, name: str, error: BaseException) -> Callable[..., None]:
        """Return a new receiver that notes its name, and fails."""

        def fail(*args: Any, **kwargs: Any) -> None:
            self.append(name)
            raise error

        return fail

    def taken(self) -> list[Any]:
        """Return what was noted, and forget it."""
        taken = list(self)
        self.clear()
        return taken


@pytest.fixture
def calls() -> Calls:
    """What was called."""
    return Calls()


@pytest.fixture(params=[Signal, SyncSignal])
def signal(request: pytest.FixtureRequest) -> AnySignal:
    """A signal of each kind, for what they have in common."""
    made: AnySignal = request.param()
    return made


async def send(signal: AnySignal, /, *args: Any, **kwargs: Any) -> None:
    """Send a signal of whatever kind."""
    if isinstance(signal, Signal):
        await signal.send(*args, **kwargs)
    else:
        signal.send(*args, **kwargs)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What goes must go by itself, not with a collection that happens to come."""
    gc.disable()
    yield
    gc.enable()


# --- Who is called, with what ---------------------------------------------------------------------


async def test_receivers_get_the_sender_the_arguments_and_the_signal(signal: AnySignal) -> None:
    """A receiver is called with all that was sent, and with the signal by name."""
    seen: list[Any] = []

    def receive(*args: Any, **kwargs: Any) -> None:
        seen.append((args, kwargs))

    signal.connect(receive)
    await send(signal, "sender", 1, two=2)
    assert seen == [(("sender", 1), {"two": 2, "signal": signal})]


async def test_receivers_are_called_in_the_order_in_which_they_connected(
    signal: AnySignal, calls: Calls
) -> None:
    """Order is that of connecting, whatever the receivers are connected to, and however."""
    sender, expected = Sender(), [str(number) for number in range(60)]
    kept = [calls.receiver(name) for name in expected]
    for number, receiver in enumerate(kept):
        signal.connect(receiver, sender=[None, sender][number % 2], weak=number % 3 == 0)
    await send(signal, sender)
    assert calls == expected


async def test_values_and_objects_keep_one_order(signal: AnySignal, calls: Calls) -> None:
    """Receivers of an equal value stand in line with those of all senders."""
    for name in ("a", "b", "c"):
        signal.connect(calls.receiver(name), sender={"b": Point(1)}.get(name))
    await send(signal, Point(1))
    assert calls == ["a", "b", "c"]


async def test_async_receivers_are_awaited_one_after_the_other(calls: Calls) -> None:
    """The next receiver is called when the last one is done; plain functions are receivers too."""
    signal = Signal[str]()
    for number in range(3):
        signal.connect(calls.async_receiver(f"async {number}"))
        signal.connect(calls.receiver(f"plain {number}"))
    signal.connect(functools.partial(calls.async_receiver("partial"), 1))
    await signal.send("sender")
    assert calls == [*(f"{kind} {n}" for n in range(3) for kind in ("async", "plain")), "partial"]


async def test_whatever_can_be_awaited_is(calls: Calls) -> None:
    """A plain receiver may return something to wait for, which need not be a coroutine."""

    class Work:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from anyio.lowlevel.checkpoint().__await__()
            calls.append("work")

    signal = Signal[Any]()
    signal.connect(lambda *args, **kwargs: Work())
    signal.connect(calls.receiver("two"))
    await signal.send("me")
    assert calls == ["work", "two"]


async def test_connect_is_a_decorator_with_and_without_parentheses(signal: AnySignal) -> None:
    """In each form, `connect` gives back what it was given."""
    heard: list[Any] = []

    @signal.connect
    def bare(sender: Any, **kwargs: Any) -> None:
        heard.append("bare")

    @signal.connect()
    def called(sender: Any, **kwargs: Any) -> None:
        heard.append("called")

    @signal.connect(sender="me", weak=True)
    def special(sender: Any, **kwargs: Any) -> None:
        heard.append("special")

    assert {bare.__name__, called.__name__, special.__name__} == {"bare", "called", "special"}
    await send(signal, "me")
    await send(signal, "you")
    assert heard == ["bare", "called", "special", "bare", "called"]


async def test_a_receiver_is_called_once(signal: AnySignal, calls: Calls) -> None:
    """Connecting again, to the same sender, to all, or to an equal one, does not call it twice."""
    receiver = calls.receiver("r")
    signal.connect(receiver, sender="me")
    signal.connect(calls.receiver("later"))
    for _ in range(2):
        signal.connect(receiver)
        signal.connect(receiver, sender="me")
    await send(signal, "me")
    assert calls.taken() == ["r", "later"]
    await send(signal, "you")
    assert calls.taken() == ["later", "r"]


async def test_methods_are_told_apart_by_their_objects(signal: AnySignal) -> None:
    """The method of an object is one receiver each time it is asked for; equality is not asked."""

    class Receiver(Sender):
        __hash__ = None  # type: ignore[assignment]  # has none, and needs none

        def __eq__(self, other: object) -> bool:
            raise AssertionError

    one, two = Receiver(), Receiver()
    for receiver in (one, two, one):
        signal.connect(receiver.on_signal)
    await send(signal, "me")
    assert (one.heard, two.heard) == ([("me",)], [("me",)])
    signal.disconnect(one.on_signal)
    await send(signal, "you")
    assert (one.heard, two.heard) == ([("me",)], [("me",), ("you",)])


def test_the_methods_of_built_in_objects_are_receivers() -> None:
    """Two lists that are equal are two receivers, and so are two methods of one."""

    class Bare(SyncSignal[Any]):
        """A signal that sends nothing but the sender."""

        def iter_receivers(self, sender: Any) -> Iterator[Any]:
            for receiver in super().iter_receivers(sender):
                yield lambda sender, receiver=receiver, **_: receiver(sender)

    one, two = list[str](), list[str]()
    signal = Bare()
    for each in (one, two, one):
        signal.connect(each.append)
    signal.send("me")
    signal.disconnect(one.append)
    signal.connect(two.extend)
    signal.send("you")
    assert (one, two) == (["me"], ["me", "you", *"you"])


async def test_objects_that_can_be_called_are_told_apart_by_identity(
    signal: AnySignal, calls: Calls
) -> None:
    """Callable objects may be equal, and without a hash: they are two receivers all the same."""

    @dataclass
    class Receiver:
        name: str

        def __call__(self, *args: Any, **kwargs: Any) -> None:
            calls.append(self.name)

    one, two = Receiver("same"), Receiver("same")
    signal.connect(one)
    signal.connect(two)
    await send(signal, "me")
    assert calls.taken() == ["same", "same"]
    signal.disconnect(one)
    await send(signal, "me")
    assert calls.taken() == ["same"]


async def test_a_signal_can_be_called(signal: AnySignal, calls: Calls) -> None:
    """To call a signal is to send it."""
    signal.connect(calls.receiver("r"))
    result = signal("me")
    if result is not None:
        await result
    assert calls == ["r"]


# --- Copies ---------------------------------------------------------------------------------------


class Inbox:
    """Has signals of its class, as of itself, and one of its own."""

    arrived: Signal[Inbox] = Signal()
    opened: SyncSignal[Inbox] = SyncSignal()

    def __init__(self) -> None:
        self.arrived = self.arrived.with_default_sender(self)
        self.opened = self.opened.with_default_sender(self)
        self.read: SyncSignal[Inbox] = SyncSignal(default_sender=self)
        self.read.connect(self.on_read)
        self.heard: list[str] = []

    def on_read(self, *args: Any, **kwargs: Any) -> None:
        """A receiver of its own."""
        self.heard.append("read")


@dataclass(slots=True)
class Slotted:
    """A class that is made twice: the second has the slots."""

    number: int = 0
    signal: Any = None
    arrived: ClassVar[SyncSignal[Any]] = SyncSignal()


def pickled(obj: Any) -> Any:
    """Return what pickling makes of an object."""
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 - it is our own


duplicating = pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])


@duplicating
def test_a_copy_of_a_sender_whose_class_was_made_anew(duplicate: Any, calls: Calls) -> None:
    """Its signal is that of the class that there is."""
    sender = Slotted()
    sender.signal = Slotted.arrived.with_default_sender(sender)
    other = duplicate(sender)
    Slotted.arrived.connect(calls.receiver("of all"))
    other.signal()
    assert calls.taken() == ["of all"]
    assert Slotted.arrived.owner is Slotted


@duplicating
@pytest.mark.parametrize("name", ["arrived", "opened"])
async def test_a_copy_of_a_sender_is_another_sender_of_the_same_signal(
    duplicate: Any, name: str, calls: Calls
) -> None:
    """Who hears of all hears of it; who hears of the first one does not; who connects to it hears of it only."""
    inbox = Inbox()
    of_all, of_first, of_copy = map(calls.receiver, ("of all", "of the first", "of the copy"))
    of_class: AnySignal = getattr(Inbox, name)
    of_class.connect(of_all)
    getattr(inbox, name).connect(of_first)
    other = duplicate(duplicate(inbox))
    signal = getattr(other, name)
    signal.connect(of_copy)
    assert (type(signal), signal.default_sender, signal.label) == (
        type(of_class),
        other,
        f"Inbox.{name}",
    )
    await send(signal)
    assert calls.taken() == ["of all", "of the copy"]
    await send(getattr(inbox, name))
    assert calls.taken() == ["of all", "of the first"]
    of_class.disconnect(of_all)
    await send(signal)
    assert calls.taken() == ["of the copy"]


@duplicating
async def test_a_copy_of_a_signal_of_no_class_has_receivers_of_its_own(duplicate: Any) -> None:
    """Those of a sender's own methods are the copy's methods then."""
    inbox = Inbox()
    other = duplicate(inbox)
    other.read.send()
    assert (inbox.heard, other.heard) == ([], ["read"])
    other.read.disconnect(other.on_read)
    other.read.send()
    inbox.read.send()
    assert (inbox.heard, other.heard) == (["read"], ["read"])


@duplicating
def test_what_a_copy_of_a_signal_takes_along(duplicate: Any) -> None:
    """What it keeps alive, in order, and for the same senders; not what it holds weakly, nor what has gone."""
    signal: SyncSignal[Any] = SyncSignal()
    first, weak, last, sender = (Sender(name) for name in ("first", "weak", "last", "sender"))
    signal.connect(last.on_signal, sender=Point(1))
    signal.connect(first.on_signal)
    signal.connect(weak.on_signal, weak=True)
    signal.connect(sender.on_signal, sender=sender)
    signal.connect(first.on_signal, sender=Sender("gone"))
    other, *copies = duplicate((signal, last, first, weak, sender))
    other.send(Point(1))
    other.send(copies[-1])
    assert [len(one.heard) for one in copies] == [1, 2, 0, 1]
    assert [one.__self__ for one in other.iter_receivers(Point(1))] == copies[:2]
    assert not any(one.heard for one in (first, weak, last, sender))


def test_a_shallow_copy_has_the_same_receivers(signal: AnySignal, calls: Calls) -> None:
    """Also those that connect to either of them later on."""
    other = copy.copy(signal)
    receiver = calls.receiver("a")
    other.connect(receiver)
    assert [*signal.iter_receivers(None)] == [receiver]
    signal.disconnect(receiver)
    assert [*other.iter_receivers(None)] == []


async def test_a_signal_that_is_no_longer_that_of_its_class_is_copied_as_one_of_none(
    calls: Calls,
) -> None:
    """Another one has taken its place, whose receivers are not its own."""

    class Box:
        emptied: SyncSignal[Box] = SyncSignal()

    signal = Box.emptied
    signal.connect(calls.append)
    Box.emptied = SyncSignal()
    other = copy.deepcopy(signal)
    assert len([*other.iter_receivers(None)]) == 1
    assert not [*Box.emptied.iter_receivers(None)]
    assert other.label == signal.label


# --- Senders --------------------------------------------------------------------------------------


async def test_a_receiver_hears_of_its_sender_only(signal: AnySignal, calls: Calls) -> None:
    """Objects are told apart by identity."""
    one, two = Sender(), Sender()
    signal.connect(calls.receiver("one"), sender=one)
    signal.connect(calls.receiver("two"), sender=two)
    signal.connect(calls.receiver("all"))
    await send(signal, one)
    assert calls.taken() == ["one", "all"]
    await send(signal, two)
    assert calls.taken() == ["two", "all"]
    await send(signal, None)
    assert calls.taken() == ["all"]


@pytest.mark.parametrize(
    ("sender", "equal", "other"),
    [
        pytest.param(-1, -1.0, -2, id="the same hash"),
        pytest.param([1], [1], [2], id="no hash"),
        pytest.param(Point(1), Point(1), Point(2), id="an unhashable value"),
        pytest.param(0, False, 1, id="false"),
        pytest.param("", str(), "x", id="empty"),  # noqa: UP018
        pytest.param((), (), ((),), id="no weak reference"),
    ],
)
async def test_equal_senders_are_one(
    signal: AnySignal, calls: Calls, sender: Any, equal: Any, other: Any
) -> None:
    """What is equal to a sender is that sender, whatever their hashes say."""
    signal.connect(calls.receiver("r"), sender=sender)
    await send(signal, equal)
    assert calls.taken() == ["r"]
    await send(signal, other)
    assert calls.taken() == []
    signal.disconnect(next(signal.iter_receivers(sender)), sender=equal)
    await send(signal, sender)
    assert calls.taken() == []


async def test_a_sender_without_equality_and_weak_references(
    signal: AnySignal, calls: Calls
) -> None:
    """An object that can't be referenced weakly is held, so that nothing else is taken for it."""
    sender = object()
    signal.connect(calls.receiver("r"), sender=sender)
    await send(signal, object())
    assert calls.taken() == []
    await send(signal, sender)
    assert calls.taken() == ["r"]


async def test_a_sender_may_claim_to_be_another(signal: AnySignal, calls: Calls) -> None:
    """A stand-in that says it is equal to an object is taken for it."""
    sender = Sender()

    class StandIn:
        __hash__ = None  # type: ignore[assignment]  # has none, and needs none

        def __eq__(self, other: object) -> bool:
            return other is sender

    signal.connect(calls.receiver("r"), sender=sender)
    signal.connect(calls.receiver("other"), sender=Sender())
    await send(signal, StandIn())
    assert calls == ["r"]


async def test_a_comparison_that_fails_says_no(signal: AnySignal, calls: Calls) -> None:
    """Senders such as arrays, whose comparison has no truth value, can be sent and connected to."""

    class Array:
        __hash__ = None  # type: ignore[assignment]  # has none, and needs none

        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

    one, two = Array(), Array()
    signal.connect(calls.receiver("one"), sender=one)
    signal.connect(calls.receiver("name"), sender="name")
    for sender in (one, two, "name"):
        await send(signal, sender)
        calls.append("-")
    assert calls == ["one", "-", "-", "name", "-"]


async def test_a_class_may_be_a_sender(signal: AnySignal, calls: Calls) -> None:
    """Classes and functions are objects like others."""
    signal.connect(calls.receiver("class"), sender=Sender)
    signal.connect(calls.receiver("function"), sender=send)
    await send(signal, Sender)
    await send(signal, send)
    await send(signal, Sender())
    assert calls == ["class", "function"]


# --- Signals with a default sender, and clones ----------------------------------------------------


async def test_a_default_sender_is_sent_and_listened_to(signal: AnySignal, calls: Calls) -> None:
    """The signal of one sender shares receivers with that of all, and hears of itself only."""
    one, two = Sender("one"), Sender("two")
    of_one, of_two = signal.with_default_sender(one), signal.with_default_sender(two)
    signal.connect(one.on_signal)
    of_one.connect(calls.receiver("of one"))
    of_two.connect(calls.receiver("of two"))
    of_two.connect(calls.receiver("of a third"), sender="third")
    await send(of_one, 1)
    await send(of_two, 2)
    assert calls.taken() == ["of one", "of two"]
    assert one.heard == [(one, 1), (two, 2)]
    await send(signal, "third")
    assert calls.taken() == ["of a third"]


async def test_what_a_default_sender_heard_can_be_disconnected(
    signal: AnySignal, calls: Calls
) -> None:
    """`disconnect` means what `connect` means: the default sender."""
    of_one, receiver = signal.with_default_sender("one"), calls.receiver("r")
    signal.connect(receiver)
    of_one.connect(receiver)
    of_one.disconnect(receiver)
    await send(of_one)
    assert calls.taken() == ["r"]
    signal.disconnect(receiver)
    await send(of_one)
    assert calls.taken() == []


def test_a_default_sender_stays_until_there_is_another() -> None:
    """`with_default_sender` without a sender keeps the one there is; a false one is one too."""
    signal = SyncSignal[Any]().with_default_sender(0)
    assert signal.unpack_sender_from_args(1, 2) == (0, (1, 2))
    assert signal.with_default_sender().default_sender == 0
    assert signal.with_default_sender("x").unpack_sender_from_args() == ("x", ())
    assert SyncSignal[Any]().unpack_sender_from_args(1, 2) == (1, (2,))


async def test_a_clone_has_its_own_receivers(signal: AnySignal, calls: Calls) -> None:
    """A clone is like the signal, except for what is asked for, and nobody has connected to it yet."""
    owner = type("Owner", (), {"it": signal})
    signal.connect(calls.receiver("signal"))
    clone = signal.clone(default_sender="me", receivers=[calls.receiver("clone")])
    await send(clone)
    await send(signal, "me")
    assert calls == ["clone", "signal"]
    assert type(clone) is type(signal)
    assert clone.asdict() == {
        "name": "it",
        "owner": owner,
        "loop": None,
        "default_sender": "me",
    }
    assert clone.clone().default_sender == "me"


async def test_receivers_may_be_given_at_first(calls: Calls) -> None:
    """The constructor connects what it is given, each to its sender."""
    signal = Signal[Any](
        receivers=[calls.receiver("all")],
        filter_receivers={"me": [calls.receiver("mine"), calls.async_receiver("mine too")]},
    )
    await signal.send("me")
    await signal.send("you")
    assert calls == ["all", "mine", "mine too", "all"]


# --- Names ----------------------------------------------------------------------------------------


def test_a_signal_takes_its_name_from_its_class() -> None:
    """As an attribute of a class it is called by both; a given name stays."""

    class Owner:
        happened = SyncSignal[Any]()
        given = SyncSignal[Any](name="other")

    owner = Owner.__qualname__
    assert (Owner.happened.name, Owner.happened.owner) == ("happened", Owner)
    assert Owner.happened.label == Owner.happened.ident == f"{owner}.happened"
    assert Owner.given.label == f"{owner}.other"
    assert repr(Owner.happened) == f"<SyncSignal {owner}.happened>"
    of_one = Owner.happened.with_default_sender("one")
    assert repr(of_one) == f"<SyncSignal {owner}.happened of 'one'>"
    assert (repr(Signal()), Signal().label, Signal().name) == ("<Signal>", "", "")


class Yielding:
    """Has a method that yields, and yields where it is called."""

    async def on_signal(self, sender: Any, **kwargs: Any) -> AsyncIterator[int]:
        """Yield, so that a mere call runs nothing."""
        yield 1

    __call__ = on_signal


@pytest.mark.parametrize(
    "receiver", [Yielding(), Yielding().on_signal, functools.partial(Yielding().on_signal)]
)
def test_a_receiver_that_yields(signal: AnySignal, receiver: Any) -> None:
    """An async generator function, of which a call runs nothing, is refused by both kinds of signals."""
    with pytest.raises(TypeError, match=r"yields, so a call runs nothing of it.*without `yield`"):
        signal.connect(receiver)
    assert not [*signal.iter_receivers(None)]


def test_a_second_name_for_a_signal_leaves_it_where_it_is() -> None:
    """In a subclass, in another class or in the same one: it keeps its class and its name there."""

    class Base:
        arrived: SyncSignal[Any] = SyncSignal()
        came = arrived

    class Child(Base):
        mail_came = Base.arrived

    class Other:
        arrived = Base.arrived

    assert Child.mail_came is Other.arrived is Base.came is Base.arrived
    assert (Base.arrived.owner, Base.arrived.name) == (Base, "arrived")
    assert Base.arrived.label == f"{Base.__qualname__}.arrived"


def test_a_sender_may_show_its_signal() -> None:
    """A sender whose repr shows the signal that shows its sender does not go on for ever."""

    class Owner:
        def __init__(self) -> None:
            self.happened = SyncSignal[Any]().with_default_sender(self)

        def __repr__(self) -> str:
            return f"Owner({self.happened!r})"

    assert repr(Owner().happened) == "<SyncSignal of Owner(...)>"


def test_the_types_are_those_of_the_signals() -> None:
    """Code that knows the abstract types only can tell signals by them."""
    assert isinstance(Signal(), (SignalT, BaseSignalT, BaseSignal))
    assert isinstance(SyncSignal(), (SyncSignalT, BaseSignalT, BaseSignal))
    assert not isinstance(Signal(), SyncSignalT)
    abstracts: list[Any] = [BaseSignalT, SignalT, SyncSignalT]
    for abstract in abstracts:
        assert abc.ABC in abstract.__mro__
        with pytest.raises(TypeError, match="abstract"):
            abstract()


# --- How long a connection lasts ------------------------------------------------------------------


async def test_receivers_are_kept_unless_weak(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """A strong receiver lives as long as the signal, a weak one as long as others hold it."""
    signal.connect(calls.receiver("strong"))
    weak = calls.receiver("weak")
    signal.connect(weak, weak=True)
    await send(signal, "me")
    assert calls.taken() == ["strong", "weak"]
    gone = weakref.ref(weak)
    del weak
    assert gone() is None
    await send(signal, "me")
    assert calls.taken() == ["strong"]


async def test_the_weak_method_lives_as_long_as_its_object(
    signal: AnySignal, no_collector: None
) -> None:
    """Of a method, it is the object that counts, not the bound method itself."""
    receiver = Sender()
    signal.connect(receiver.on_signal, weak=True)
    await send(signal, "me")
    assert receiver.heard == [("me",)]
    gone = weakref.ref(receiver)
    del receiver
    assert gone() is None
    assert list(signal.iter_receivers("me")) == []


async def test_weak_lambdas_partials_and_objects(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """A callable that nothing else holds is forgotten at once; one that is held is called."""

    class Callable_:  # noqa: N801
        def __call__(self, *args: Any, **kwargs: Any) -> None:
            calls.append("object")

    kept: list[Any] = [Callable_(), functools.partial(calls.receiver("partial"), 1)]
    for receiver in kept:
        signal.connect(receiver, weak=True)
    signal.connect(Callable_(), weak=True)
    signal.connect(lambda *args, **kwargs: calls.append("lambda"), weak=True)
    signal.connect(functools.partial(calls.receiver("lost"), 1), weak=True)
    await send(signal, "me")
    assert calls == ["object", "partial"]


async def test_a_receiver_wanted_both_ways_is_kept(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """Held once, held for good: whichever comes first."""
    one, two = calls.receiver("one"), calls.receiver("two")
    signal.connect(one, weak=True)
    signal.connect(one)
    signal.connect(two)
    signal.connect(two, weak=True)
    del one, two
    await send(signal, "me")
    assert calls == ["one", "two"]


async def test_a_receiver_goes_with_the_sender_that_held_it(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """A strong connection to a sender holds the receiver as long as there is the sender, and no longer.

    So its weak connection, to all senders, lasts as long.
    """
    sender, receiver = Sender(), calls.receiver("r")
    signal.connect(receiver, weak=True)
    signal.connect(receiver, sender=sender)
    del receiver
    await send(signal, "another")
    assert calls.taken() == ["r"]
    del sender
    await send(signal, "another")
    assert calls.taken() == []


def test_a_finaliser_may_connect_and_disconnect_at_any_time(calls: Calls) -> None:
    """A collection that comes in the middle of whatever the signal does finds nothing half done."""
    signal, receiver = SyncSignal[Any](), calls.receiver("r")
    senders = [Sender() for _ in range(20)]

    class Leaving:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            senders.append(Sender())
            signal.connect(receiver, sender=senders[-1])
            signal.disconnect(receiver, sender=senders[5])

    before = gc.get_threshold()
    try:
        for threshold in range(1, 60):  # so that it comes at each point in turn
            Leaving()
            gc.collect(0)
            Leaving()
            gc.set_threshold(threshold)
            signal.send("a value, which may equal any sender")
            gc.set_threshold(0)
    finally:
        gc.set_threshold(*before)
    assert calls == []
    assert len(senders) > 100


async def test_disconnect_does_not_ask_how_it_is_held(signal: AnySignal, calls: Calls) -> None:
    """Weak or strong, a receiver is disconnected, and may connect again at the end of the line."""
    one, two = calls.receiver("one"), calls.receiver("two")
    signal.connect(one, weak=True)
    signal.connect(two)
    signal.disconnect(one)
    signal.disconnect(two, weak=True)
    await send(signal, "me")
    assert calls.taken() == []
    signal.connect(two)
    signal.connect(one)
    await send(signal, "me")
    assert calls.taken() == ["two", "one"]


async def test_what_is_disconnected_is_let_go(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """Nothing keeps a receiver, or the sender it was connected to, after `disconnect`."""
    sender = Point(1)
    receiver = calls.receiver("r")
    signal.connect(receiver, sender=sender)
    signal.disconnect(receiver, sender=sender)
    gone: list[weakref.ref[Any]] = [weakref.ref(sender), weakref.ref(receiver)]
    del sender, receiver
    assert [each() for each in gone] == [None, None]


@pytest.mark.parametrize("kind", [Sender, Point])
def test_a_weak_receiver_takes_its_connection_to_a_sender_along(
    signal: AnySignal, calls: Calls, kind: Callable[[Any], Any], no_collector: None
) -> None:
    """When a weak receiver goes, its connection does at once, and the sender is not held by it."""
    sender, receiver = kind(1), calls.receiver("r")
    signal.connect(receiver, sender=sender, weak=True)
    del receiver
    gone = weakref.ref(sender)
    del sender
    assert gone() is None


def test_a_sender_takes_its_connections_along(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """When a sender goes, its receivers are let go at once; the sender is not kept alive."""
    sender, receiver = Sender(), calls.receiver("r")
    signal.connect(receiver, sender=sender)
    gone: list[weakref.ref[Any]] = [weakref.ref(sender), weakref.ref(receiver)]
    del receiver
    assert gone[1]() is not None
    del sender
    assert [each() for each in gone] == [None, None]


async def test_a_new_object_is_not_taken_for_a_dead_one(signal: AnySignal, calls: Calls) -> None:
    """Another object at the same address hears nothing of what was connected to the first."""
    reused = 0
    for _ in range(100):
        sender = Sender()
        signal.connect(calls.receiver("r"), sender=sender)
        address = id(sender)
        del sender
        other = Sender()
        reused += id(other) == address
        await send(signal, other)
        signal.connect(calls.receiver("other"), sender=other)
        await send(signal, other)
        assert calls.taken() == ["other"]
        del other
    assert reused  # or this has shown nothing


async def test_nothing_stays_of_senders(signal: AnySignal, calls: Calls) -> None:
    """Neither sending nor connecting leaves anything of senders that are gone."""
    receiver = calls.receiver("r")

    async def use(number: int) -> None:
        for _ in range(number):
            sender = Sender()
            signal.connect(receiver, sender=sender)
            await send(signal, sender)
            await send(signal, number)
        calls.clear()
        gc.collect()

    await use(10)
    before = sys.getallocatedblocks()
    await use(1000)
    assert sys.getallocatedblocks() - before < 500


@pytest.mark.parametrize("sender", [None, "me", Sender()])
def test_nothing_stays_of_receivers(signal: AnySignal, calls: Calls, sender: object) -> None:
    """A signal does not grow by receivers that go, are disconnected, or connect again."""
    same = calls.receiver("same")
    # Made beforehand: one that takes the place of another in memory would take its place in the signal as well.
    others = [calls.receiver("other") for _ in range(1000)]

    def use(number: int) -> None:
        for other in others[:number]:
            weak = calls.receiver("weak")
            signal.connect(same, sender=sender)
            signal.connect(other, sender=sender)
            signal.connect(weak, sender=sender, weak=True)
            signal.disconnect(other, sender=sender)
        gc.collect()

    use(10)
    before = sys.getallocatedblocks()
    use(1000)
    assert sys.getallocatedblocks() - before < 500


def test_the_method_of_another_object_is_kept(signal: AnySignal, no_collector: None) -> None:
    """A strong method of an object that nothing else holds is called, also for one sender only."""
    sender, receiver = Sender(), Sender()
    signal.connect(receiver.on_signal, sender=sender)
    heard = receiver.heard
    del receiver
    for receive in signal.iter_receivers(sender):
        receive(sender)
    assert heard == [(sender,)]


def test_a_sender_that_hears_itself_is_let_go(signal: AnySignal, no_collector: None) -> None:
    """A sender's own method is called as long as there is the sender, and does not keep it alive."""
    sender = Sender()
    signal.connect(sender.on_signal, sender=sender)
    assert list(signal.iter_receivers(sender)) == [sender.on_signal]
    signal.connect(sender.on_signal, sender=sender)
    signal.disconnect(sender.on_signal, sender=sender)
    assert list(signal.iter_receivers(sender)) == []
    signal.connect(sender.on_signal, sender=sender)
    gone = weakref.ref(sender)
    del sender
    assert gone() is None


def test_the_signal_of_an_instance_goes_with_it() -> None:
    """A signal of a class that instances make their own holds none of them."""

    class Owner(Sender):
        happened: SyncSignal[Any] = SyncSignal()

        def __init__(self) -> None:
            super().__init__()
            self.happened = self.happened.with_default_sender(self)
            self.happened.connect(self.on_signal)

    owner = Owner()
    owner.happened.send(1)
    assert owner.heard == [(owner, 1)]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_a_signal_goes_with_what_holds_it(
    signal: AnySignal, calls: Calls, no_collector: None
) -> None:
    """A signal is not kept by those who have connected, nor by their senders."""
    made = type(signal)()
    sender, receiver = Sender(), calls.receiver("r")
    made.connect(receiver, weak=True)
    made.connect(receiver, sender=sender)
    gone = weakref.ref(made)
    del made
    assert gone() is None
    del sender, receiver


# --- While it is being sent -----------------------------------------------------------------------


async def test_who_connects_during_a_send_is_called_from_the_next_one_on(
    signal: AnySignal, calls: Calls
) -> None:
    """A receiver may connect others."""
    later = calls.receiver("later")

    @signal.connect
    def connect_another(*args: Any, **kwargs: Any) -> None:
        calls.append("first")
        signal.connect(later)

    await send(signal, "me")
    assert calls.taken() == ["first"]
    await send(signal, "me")
    assert calls.taken() == ["first", "later"]


async def test_who_disconnects_during_a_send_is_no_longer_called(
    signal: AnySignal, calls: Calls
) -> None:
    """A receiver may disconnect itself and others, whoever they were connected to."""
    before, after, special = (calls.receiver(name) for name in ("before", "after", "special"))

    def disconnect(*args: Any, **kwargs: Any) -> None:
        calls.append("disconnect")
        signal.disconnect(special, sender="me")
        for receiver in (before, after, disconnect):
            signal.disconnect(receiver)

    for receiver in (before, disconnect, after):
        signal.connect(receiver)
    signal.connect(special, sender="me")
    signal.connect(calls.receiver("last"))
    await send(signal, "me")
    assert calls.taken() == ["before", "disconnect", "last"]
    await send(signal, "me")
    assert calls.taken() == ["last"]


async def test_a_receiver_may_go_during_a_send(signal: AnySignal, calls: Calls) -> None:
    """A weak receiver that is let go before its turn is not called."""
    held = [calls.receiver("weak")]

    @signal.connect
    def let_go(*args: Any, **kwargs: Any) -> None:
        held.clear()

    signal.connect(held[0], weak=True)
    await send(signal, "me")
    assert calls == []


async def test_a_signal_may_be_sent_by_its_receiver(signal: AnySignal, calls: Calls) -> None:
    """A send within a send goes to all, and the outer one goes on after it."""

    def again(sender: Any, depth: int, **kwargs: Any) -> Any:
        calls.append(("again", depth))
        return send(signal, sender, depth - 1) if depth else None

    def again_at_once(sender: Any, depth: int, **kwargs: Any) -> None:
        calls.append(("again", depth))
        if depth and isinstance(signal, SyncSignal):
            signal.send(sender, depth - 1)

    def last(sender: Any, depth: int, **kwargs: Any) -> None:
        calls.append(("last", depth))

    signal.connect(again if isinstance(signal, Signal) else again_at_once)
    signal.connect(last)
    await send(signal, "me", 1)
    assert calls == [("again", 1), ("again", 0), ("last", 0), ("last", 1)]


async def test_sends_in_several_tasks_do_not_mix(calls: Calls) -> None:
    """Each send calls all receivers, in order, whatever other tasks send meanwhile."""
    signal = Signal[Any]()

    @signal.connect
    async def first(sender: Any, **kwargs: Any) -> None:
        await anyio.lowlevel.checkpoint()
        calls.append((sender, 1))

    @signal.connect
    async def second(sender: Any, **kwargs: Any) -> None:
        calls.append((sender, 2))

    async with anyio.create_task_group() as group:
        for sender in "abc":
            group.start_soon(signal.send, sender)
    assert sorted(calls) == [(sender, number) for sender in "abc" for number in (1, 2)]
    for sender in "abc":
        assert calls.index((sender, 1)) < calls.index((sender, 2))


def test_threads_may_connect_and_send(calls: Calls) -> None:
    """Threads that connect, send and disconnect at once lose nothing of each other."""
    signal, stay = SyncSignal[Any](), calls.receiver("stay")

    def use(number: int) -> None:
        for _ in range(50):
            sender, receiver = Sender(), Sender()
            signal.connect(receiver.on_signal, sender=sender)
            signal.connect(receiver.on_signal, sender=number, weak=True)
            signal.send(sender)
            assert receiver.heard == [(sender,)]
            signal.disconnect(receiver.on_signal, sender=sender)

    signal.connect(stay)
    with taking_turns_often():
        at_once(*(functools.partial(use, number) for number in range(4)))
    assert calls == ["stay"] * 200
    assert all(list(signal.iter_receivers(number)) == [stay] for number in range(4))


# --- What is raised -------------------------------------------------------------------------------


async def test_all_are_called_and_then_the_failure_leaves(
    signal: AnySignal, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """One failing receiver does not keep the others from being called; its error leaves as it was raised."""
    error = ValueError("one")
    signal.connect(calls.failing("one", error))
    signal.connect(calls.receiver("two"))
    with pytest.raises(ValueError, match="one") as caught:
        await send(signal, "me")
    assert caught.value is error
    assert error.__context__ is None
    assert not hasattr(error, "__notes__")
    assert calls == ["one", "two"]
    assert caplog.records == []


async def test_an_error_goes_when_it_is_caught(signal: AnySignal, no_collector: None) -> None:
    """The send keeps no cycle with what has left it."""

    class Failure(Exception):
        """An error that can be referenced weakly."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise Failure

    signal.connect(fail)
    gone: list[weakref.ref[Any]] = []
    try:
        await send(signal, "me")
    except Failure as error:
        gone.append(weakref.ref(error))
    assert [each() for each in gone] == [None]


async def test_later_failures_are_noted_on_the_first_and_logged(
    signal: AnySignal, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure leaves; nothing of the later ones is lost."""
    first, second, third = ValueError("one"), KeyError("two"), OSError("three")

    class Failing:
        def __call__(self, *args: Any, **kwargs: Any) -> None:
            raise second

        def on_signal(self, *args: Any, **kwargs: Any) -> None:
            raise third

    failing = Failing()
    signal.name = "happened"
    for receiver in (calls.failing("one", first), failing, failing.on_signal):
        signal.connect(receiver)
    with pytest.raises(ValueError, match="one") as caught:
        await send(signal, "me")
    assert caught.value is first
    one, two = first.__notes__
    assert "happened" in one
    assert "Failing" in one
    assert "KeyError('two')" in one
    assert "Failing.on_signal" in two
    assert "OSError('three')" in two
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == [second, third]


async def test_one_error_raised_twice_is_not_noted_on_itself(
    signal: AnySignal, calls: Calls
) -> None:
    """Receivers that raise one and the same exception object raise it."""
    error = ValueError("both")
    signal.connect(calls.failing("one", error))
    signal.connect(calls.failing("two", error))
    with pytest.raises(ValueError, match="both"):
        await send(signal, "me")
    assert calls == ["one", "two"]
    assert not hasattr(error, "__notes__")


async def test_a_failing_async_receiver_is_one_like_others(calls: Calls) -> None:
    """What is raised while a receiver is awaited leaves when all were called."""
    signal = Signal[Any]()

    @signal.connect
    async def fail(sender: Any, **kwargs: Any) -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("late")

    signal.connect(calls.async_receiver("two"))
    with pytest.raises(ValueError, match="late"):
        await signal.send("me")
    assert calls == ["two"]


async def test_the_end_of_the_program_leaves_at_once(
    signal: AnySignal, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no Exception leaves at once; a failure before it is logged, and not lost."""
    error = ValueError("one")
    signal.connect(calls.failing("one", error))
    signal.connect(calls.failing("two", SystemExit(3)))
    signal.connect(calls.receiver("three"))
    with pytest.raises(SystemExit):
        await send(signal, "me")
    assert calls == ["one", "two"]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_a_cancellation_leaves_at_once(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled send calls no more receivers; a failure before it is logged."""
    signal, error = Signal[Any](), ValueError("one")
    signal.connect(calls.failing("one", error))
    ended: list[str] = []

    with anyio.CancelScope() as scope:

        @signal.connect
        async def wait(sender: Any, **kwargs: Any) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        signal.connect(calls.receiver("three"))
        await signal.send("me")
        ended.append("not cancelled")  # pragma: no cover - only if the test fails
    assert calls == ["one"]
    assert ended == []
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_a_send_is_a_checkpoint_also_without_receivers() -> None:
    """A loop that only sends can be cancelled, and starves no one."""
    signal, turns = Signal[Any](), list[str]()

    async def other() -> None:
        turns.append("other")

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        while not turns:
            await signal.send("me")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await signal.send("me")
        turns.append("not cancelled")  # pragma: no cover - only if the test fails
    assert turns == ["other"]


async def test_a_send_that_is_done_is_not_taken_for_cancelled() -> None:
    """A cancellation that comes while plain functions are called does not make the send look as if it had not been."""
    signal, ended = Signal[Any](), list[str]()
    with anyio.CancelScope() as scope:

        @signal.connect
        def receive(sender: str, **kwargs: Any) -> None:
            scope.cancel()

        await signal.send("me")
        ended.append("sent")
        await signal.send("me")
        ended.append("sent again")  # pragma: no cover - only if the test fails
    assert ended == ["sent"]


# --- What can't be done ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [3, "receive", object()])
def test_only_what_can_be_called_is_a_receiver(signal: AnySignal, wrong: Any) -> None:
    """What can't be called is refused when it is connected, in whatever form."""
    with pytest.raises(TypeError, match="takes a function or another callable"):
        signal.connect(wrong)
    with pytest.raises(TypeError, match="takes a function or another callable"):
        signal.connect(sender="me")(wrong)
    with pytest.raises(TypeError, match="takes a function or another callable"):
        type(signal)(receivers=[wrong])
    assert list(signal.iter_receivers("me")) == []


def test_a_sync_signal_takes_no_async_receiver() -> None:
    """A receiver that would never run is refused: functions, methods, partials, callable objects."""

    class Receiver:
        async def __call__(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError

        async def method(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError

    signal = SyncSignal[Any](name="happened")
    receiver = Receiver()
    refused: list[Any] = [receiver, receiver.method, functools.partial(receiver.method, 1)]
    for wrong in refused:
        with pytest.raises(TypeError, match=r"happened is a SyncSignal, .* is async: connect a"):
            signal.connect(wrong)
    assert list(signal.iter_receivers("me")) == []


def test_a_sync_signal_tells_of_a_coroutine_that_will_not_run(calls: Calls) -> None:
    """A plain function that returns a coroutine is a failing receiver; the coroutine is closed."""
    signal, receive = SyncSignal[Any](name="happened"), calls.async_receiver("never")
    signal.connect(lambda *args, **kwargs: receive())
    signal.connect(calls.receiver("two"))
    with pytest.raises(TypeError, match="returned a coroutine, which will not run"):
        signal.send("me")
    assert calls == ["two"]


def test_what_can_not_be_held_weakly_is_refused(signal: AnySignal) -> None:
    """A weak receiver that would be gone at once, without a word, is refused."""

    class Slotted:
        __slots__ = ()

        def __call__(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError

        def method(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError

    slotted = Slotted()
    refused: list[Any] = [slotted, slotted.method, list[str]().append, "".__eq__]
    for wrong in refused:
        with pytest.raises(TypeError, match="can't be held weakly: connect it without"):
            signal.connect(wrong, weak=True)
    assert list(signal.iter_receivers("me")) == []
    signal.connect(repr, weak=True)
    assert list(signal.iter_receivers("me")) == [repr]


async def test_a_send_needs_a_sender(signal: AnySignal) -> None:
    """Without a default sender, there must be one; and `signal` is what receivers get the signal by."""
    with pytest.raises(TypeError, match=r"was sent without a sender: write `send\(sender"):
        await send(signal)
    with pytest.raises(TypeError, match="takes no argument of the name `signal`"):
        await send(signal, "me", signal=1)


async def test_the_sender_may_be_named(signal: AnySignal) -> None:
    """`sender=` is the sender where nothing else can be; otherwise it is an argument for the receivers."""
    told: list[tuple[Any, ...]] = []

    def receive(who: Any, *args: Any, **kwargs: Any) -> None:
        told.append((who, args, kwargs.get("sender"), kwargs.get("mail")))

    signal.connect(receive)
    await send(signal, sender="me", mail="letter")
    await send(signal, "me", sender="you")
    await send(signal.with_default_sender("me"), sender="you")
    assert told == [("me", (), None, "letter"), ("me", (), "you", None), ("me", (), "you", None)]


def test_what_is_not_connected_is_let_be(signal: AnySignal, calls: Calls) -> None:
    """To disconnect twice, or what never was connected, or another sender, does no harm."""
    receiver = calls.receiver("r")
    signal.disconnect(receiver)
    signal.connect(receiver, sender="me")
    signal.disconnect(receiver, sender="you")
    signal.disconnect(receiver, sender=Sender())
    assert list(signal.iter_receivers("me")) == [receiver]
    signal.disconnect(receiver, sender="me")
    signal.disconnect(receiver, sender="me")
    signal.disconnect(receiver)
    assert list(signal.iter_receivers("me")) == []


@pytest.mark.parametrize("sender", [Sender(), "me"])
def test_a_forgotten_sender_is_told_of(signal: AnySignal, calls: Calls, sender: object) -> None:
    """A receiver that is connected to some senders only is not disconnected from all by mistake."""
    receiver = calls.receiver("r")
    signal.connect(receiver, sender=sender)
    with pytest.raises(ValueError, match=r"write `disconnect\(receiver, sender=sender\)`"):
        signal.disconnect(receiver)
    assert list(signal.iter_receivers(sender)) == [receiver]


def test_who_is_called_for_one_sender_is_not_taken_for_another(
    signal: AnySignal, calls: Calls
) -> None:
    """That a sender calls itself the equal of another one is about that sender alone."""

    class Impostor:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    sender = Sender()
    receiver = calls.receiver("r")
    signal.connect(receiver, sender=sender)
    for _ in range(2):
        assert list(signal.iter_receivers(Impostor())) == [receiver]
        assert list(signal.iter_receivers(Sender())) == []
        assert list(signal.iter_receivers(sender)) == [receiver]


# --- In the middle of anything --------------------------------------------------------------------


@pytest.mark.parametrize("sender", [None, Sender(), "me"])
@pytest.mark.parametrize("weak", [False, True])
def test_a_send_in_the_middle_of_connecting(sender: Any, weak: bool) -> None:
    """Who is being connected may miss that one, and none that comes later; the same for who disconnects."""
    signal, called = SyncSignal[Any](), list[str]()

    def receive(*args: Any, **kwargs: Any) -> None:
        called.append("r")

    def send() -> None:
        signal.send(Sender() if sender is None else sender)

    send()
    meanwhile(lambda: signal.connect(receive, sender=sender, weak=weak), send)
    called.clear()
    send()
    assert called == ["r"]
    meanwhile(lambda: signal.disconnect(receive, sender=sender), send)
    called.clear()
    send()
    assert called == []


@pytest.mark.parametrize("sender", [None, Sender(), "me"])
@pytest.mark.parametrize("at", range(1, 30))
def test_the_same_is_connected_in_the_middle_of_connecting(sender: Any, at: int) -> None:
    """It is connected once, whenever that is: called once, and disconnected by one call."""
    signal, called = SyncSignal[Any](), list[str]()

    def receive(*args: Any, **kwargs: Any) -> None:
        called.append("r")

    def connect() -> None:
        signal.connect(receive, sender=sender)

    meanwhile(connect, connect, at=at)
    signal.send("me" if sender is None else sender)
    assert called == ["r"]
    signal.disconnect(receive, sender=sender)
    signal.send("me" if sender is None else sender)
    assert called == ["r"]


# --- In services ----------------------------------------------------------------------------------


async def test_a_failing_receiver_crashes_the_service_that_sends(calls: Calls) -> None:
    """What leaves `send` in a task of a service is a failure of that service like any other."""

    class Shop(Service):
        sold: Signal[Any] = Signal()

        def __init__(self) -> None:
            self.ordered = anyio.Event()
            super().__init__()

        @Service.task
        async def sell(self) -> None:
            await self.ordered.wait()
            await self.sold.send(self, "apple")

    shop = Shop()
    shop.sold.connect(calls.failing("r", ValueError("no apples")), sender=shop)
    with pytest.raises(ValueError, match="no apples"):
        async with shop:
            shop.ordered.set()
            await anyio.sleep_forever()
    assert calls == ["r"]


# --- Any sequence of calls ------------------------------------------------------------------------


class World:
    """A signal, and a list of connections that says what must hold of it."""

    def __init__(self) -> None:
        self.signal = SyncSignal[Any]()
        self.called: list[int] = []
        self.senders: list[Any] = [None, Sender(), Sender(), -1, -2, [1], [1]]
        self.receivers: dict[int, Callable[..., None]] = {}
        self.made = 0
        #: Of each connection: the receiver's number, the sender, and whether it is weak.
        self.model: list[tuple[int, Any, bool]] = []
        for _ in range(3):
            self.make()

    def make(self) -> None:
        """Make a receiver."""
        number = self.made = self.made + 1

        def receive(*args: Any, **kwargs: Any) -> None:
            self.called.append(number)

        self.receivers[number] = receive

    def numbered(self, index: int) -> tuple[int, Callable[..., None]]:
        """Return one of the receivers."""
        return list(self.receivers.items())[index]

    def connect(self, index: int, sender: Any, weak: bool) -> None:
        """Connect; the model keeps the place of what is there."""
        number, receiver = self.numbered(index)
        self.signal.connect(receiver, sender=sender, weak=weak)
        for place, (known, to, held_weakly) in enumerate(self.model):
            if known == number and to == sender:
                self.model[place] = (number, to, held_weakly and weak)
                return
        self.model.append((number, sender, weak))

    def disconnect(self, index: int, sender: Any, weak: bool) -> None:
        """Disconnect; without a sender only if that is no mistake."""
        number, receiver = self.numbered(index)
        mine = [to for known, to, _ in self.model if known == number]
        if sender is None and mine and None not in mine:
            with pytest.raises(ValueError, match="particular senders"):
                self.signal.disconnect(receiver, weak=weak)
            return
        self.signal.disconnect(receiver, sender=sender, weak=weak)
        self.model = [each for each in self.model if each[:2] != (number, sender)]

    def send(self, index: int, sender: Any, weak: bool) -> None:
        """Send; the model is looked through in order."""
        self.called.clear()
        self.signal.send(sender)
        numbers = [number for number, to, _ in self.model if to is None or to == sender]
        assert self.called == list(dict.fromkeys(numbers))

    def let_go(self, index: int, sender: Any, weak: bool) -> None:
        """Let a receiver go, and make another; what held it strongly still calls it."""
        number, receiver = self.numbered(index)
        del self.receivers[number], receiver
        self.forget_the_gone()
        self.make()

    def replace(self, index: int, sender: Any, weak: bool) -> None:
        """Let a sender go, and put another in its place."""
        place = 1 + index % 2
        gone = self.senders[place]
        self.model = [each for each in self.model if each[1] is not gone]
        self.senders[place] = gone = Sender()
        self.forget_the_gone()

    def forget_the_gone(self) -> None:
        """A receiver that neither the test nor a strong connection holds is gone, with all its weak connections."""
        held = {*self.receivers, *(number for number, _, is_weak in self.model if not is_weak)}
        self.model = [each for each in self.model if each[0] in held]


STEPS = st.tuples(
    st.sampled_from(["connect", "connect", "disconnect", "send", "send", "let_go", "replace"]),
    st.integers(0, 2),
    st.integers(0, 6),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30))
@example([("connect", 0, 1, False), ("connect", 0, 1, True), ("disconnect", 0, 0, False)])
@example([("connect", 0, 1, False), ("replace", 0, 0, False), ("let_go", 0, 0, False)])
@example(  # the sender held the receiver, and goes last: what is connected weakly to all goes with it
    [
        ("connect", 0, 0, True),
        ("connect", 0, 2, False),
        ("let_go", 0, 0, False),
        ("replace", 1, 0, False),
    ]
)
def test_any_sequence_of_calls_is_as_the_model_says(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    """Whatever is connected, disconnected, sent and let go: a plain list says who is called."""
    world = World()
    for step, index, sender, weak in steps:
        getattr(world, step)(index, world.senders[sender], weak)
    for sender in range(len(world.senders)):
        world.send(0, world.senders[sender], weak=False)
