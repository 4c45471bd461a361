"""Proxies: what is done to them is done to their object, and what it can't do, they can't."""

from __future__ import annotations

import abc
import contextvars
import copy
import fractions
import gc
import inspect
import itertools
import math
import operator
import pickle
import sys
import threading
import types
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Reversible,
    Sequence,
    Set as AbstractSet,
    Sized,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, NamedTuple, Self, assert_type

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from structmode import locals as module
from structmode.locals import (
    AsyncContextManagerProxy,
    AsyncContextManagerRole,
    AsyncGeneratorProxy,
    AsyncIterableProxy,
    AsyncIteratorProxy,
    AwaitableProxy,
    CallableProxy,
    ContextManagerProxy,
    CoroutineProxy,
    MappingProxy,
    MutableMappingProxy,
    MutableMappingRole,
    MutableSequenceProxy,
    MutableSequenceRole,
    MutableSetProxy,
    MutableSetRole,
    Proxy,
    SequenceProxy,
    SetProxy,
    SetRole,
    maybe_evaluate,
)


def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """Return what came of a call: its result with its type, or the error with its text."""
    try:
        result = call(*args)
    except Exception as exc:
        return type(exc), str(exc)
    return "gives", type(result), result


def kind_of_outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """Return what came of a call, without the text of an error."""
    came = outcome(call, *args)
    return came if came[0] == "gives" else came[:1]


class Matrix:
    """What `@` is for; it changes in place as well."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __matmul__(self, other: Any) -> int:
        return self.value * 100 + int(other)

    def __rmatmul__(self, other: Any) -> int:
        return int(other) * 100 + self.value

    def __imatmul__(self, other: Any) -> Self:
        self.value += int(other)
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matrix) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Matrix({self.value})"

    def __bytes__(self) -> bytes:
        return b"matrix"


class Box:
    """Something with attributes."""

    limit = 10

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def grow(self, by: int = 1) -> int:
        """Grow, and return the new size."""
        self.size += by
        return self.size


# --- Operators ------------------------------------------------------------------------------------

OBJECTS: list[Any] = [
    5,
    -3,
    0,
    True,
    2.5,
    1 + 2j,
    fractions.Fraction(7, 2),
    "text",
    b"bytes",
    (1, 2),
    [1, 2],
    {1, 2},
    frozenset({2, 3}),
    {"a": 1},
    None,
    int,
    int | str,
    Matrix(3),
]
OF_ONE: list[Callable[[Any], Any]] = [
    *(repr, str, bytes, bool, hash, format),
    *(int, float, complex, operator.index, math.trunc, math.floor, math.ceil, round),
    *(operator.neg, operator.pos, abs, operator.invert),
    *(copy.copy, copy.deepcopy, vars, lambda obj: obj.__class__, lambda obj: obj.__doc__),
    *(lambda obj: obj.__module__, lambda obj: obj.__name__, lambda obj: obj.missing),
    *(lambda obj: round(obj, 1), lambda obj: f"{obj:>9}", lambda obj: not obj),
    lambda obj: pickle.loads(pickle.dumps(obj)),  # noqa: S301 - it is our own
]
COMPARING: list[Callable[[Any, Any], Any]] = [
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
]
OF_TWO: list[Callable[[Any, Any], Any]] = [
    *(operator.add, operator.sub, operator.mul, operator.matmul, operator.truediv),
    *(operator.floordiv, operator.mod, divmod, pow, operator.lshift, operator.rshift),
    *(operator.and_, operator.or_, operator.xor),
]
IN_PLACE: list[Callable[[Any, Any], Any]] = [
    *(operator.iadd, operator.isub, operator.imul, operator.imatmul, operator.itruediv),
    *(operator.ifloordiv, operator.imod, operator.ipow, operator.ilshift, operator.irshift),
    *(operator.iand, operator.ior, operator.ixor),
]


def proxied(obj: Any) -> Proxy[Any]:
    """Return a plain proxy to an object."""
    return Proxy(lambda: obj)


@pytest.mark.parametrize("obj", OBJECTS, ids=repr)
@pytest.mark.parametrize("call", OF_ONE)
def test_what_is_asked_of_a_proxy_is_asked_of_its_object(
    call: Callable[[Any], Any], obj: Any
) -> None:
    """Each function of one object gives the same result, or raises the same error."""
    assert outcome(call, proxied(obj)) == outcome(call, obj)


# Not of None: blockbuster puts a function of its own in the place of `dir`, which takes that for nothing.
@pytest.mark.parametrize("obj", [obj for obj in OBJECTS if obj is not None], ids=repr)
def test_dir_is_that_of_the_object(obj: Any) -> None:
    """So a console completes what the object has."""
    assert dir(proxied(obj)) == dir(obj)


@pytest.mark.parametrize("call", [*COMPARING, *OF_TWO])
def test_a_proxy_on_the_left(call: Callable[[Any, Any], Any]) -> None:
    """Each operator gives the same result, or raises the same error, whatever is on the right."""
    for left, right in itertools.product(OBJECTS, OBJECTS):
        assert outcome(call, proxied(left), right) == outcome(call, left, right)


@pytest.mark.parametrize("call", [*COMPARING, *OF_TWO])
def test_a_proxy_on_the_right(call: Callable[[Any, Any], Any]) -> None:
    """The other object does not know the proxy, which answers in its place."""
    for left, right in itertools.product(OBJECTS, OBJECTS):
        if call is operator.mod and isinstance(left, str | bytes):
            continue  # formatting looks at what kind of thing it is given: a mapping needs its role
        came = kind_of_outcome(call, left, proxied(right))
        assert came == kind_of_outcome(call, left, right)


@pytest.mark.parametrize("call", [*COMPARING, *OF_TWO])
def test_a_proxy_on_both_sides(call: Callable[[Any, Any], Any]) -> None:
    """Two proxies do what their two objects do."""
    for left, right in itertools.product(OBJECTS, OBJECTS):
        if call is operator.mod and isinstance(left, str | bytes):
            continue
        came = kind_of_outcome(call, proxied(left), proxied(right))
        assert came == kind_of_outcome(call, left, right)


@pytest.mark.parametrize("call", IN_PLACE)
def test_a_change_in_place_is_made_to_the_object(call: Callable[[Any, Any], Any]) -> None:
    """A name for a proxy still stands for it after `+=`, if the object was changed; else for the result."""
    for left, right in itertools.product(OBJECTS, OBJECTS):
        bare, behind = copy.deepcopy(left), copy.deepcopy(left)
        proxy = proxied(behind)
        expected, came = outcome(call, bare, right), outcome(call, proxy, right)
        if expected[0] == "gives" and expected[-1] is bare and came[1] is Proxy:
            assert came[-1] is proxy
        else:
            assert came == expected
        assert behind == bare


def test_in_place_on_a_list_keeps_the_proxy_and_on_a_number_gives_a_number() -> None:
    """So a counter counts, and a list grows."""
    items = [1]
    proxy: Any = proxied(items)
    kept = proxy
    proxy += [2]
    assert proxy is kept
    assert items == [1, 2]
    number: Any = proxied(5)
    number += 1
    assert type(number) is int
    assert number == 6


def test_pow_with_a_modulus() -> None:
    """All three arguments arrive."""
    assert pow(proxied(7), 2, 10) == 9
    # `pow(2, proxy, 5)` itself asks the exponent since Python 3.14 only.
    assert proxied(3).__rpow__(2, 5) == 3
    with pytest.raises(TypeError):
        pow(proxied(7.5), 2, 10)


def test_a_proxy_to_a_class_is_asked_as_the_class() -> None:
    """`isinstance` and `issubclass` take it, and refuse one to something else."""
    cls: Any = proxied(int)
    assert isinstance(5, cls)
    assert not isinstance("5", cls)
    assert issubclass(bool, cls)
    assert not issubclass(str, cls)
    five: Any = proxied(5)
    with pytest.raises(TypeError, match="arg 2 must be a type"):
        isinstance(5, five)


def test_a_proxy_finds_its_object_in_sets_and_dicts() -> None:
    """It has the object's hash and equals it, both ways."""
    assert proxied("key") in {"key", "other"}
    assert "key" in {proxied("key"), "other"}
    assert {"key": 1}[proxied("key")] == 1  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    assert [10, 20, 30][proxied(1)] == 20
    assert "-" * proxied(3) == "---"


# --- Attributes -----------------------------------------------------------------------------------


def test_attributes_are_those_of_the_object() -> None:
    """They are read, set, deleted and listed there, and methods are called there."""
    box = Box(3)
    proxy: Any = proxied(box)
    assert (proxy.size, proxy.limit, proxy.grow(), proxy.grow(by=2)) == (3, 10, 4, 6)
    proxy.size = 20
    proxy.colour = "red"
    assert vars(box) == {"size": 20, "colour": "red"}
    assert proxy.__dict__ is vars(box)
    del proxy.size
    assert not hasattr(proxy, "size")
    assert dir(proxy) == dir(box)
    with pytest.raises(AttributeError, match="'Box' object has no attribute 'size'"):
        del proxy.size


def test_a_subclass_may_have_methods_of_its_own() -> None:
    """They come before the object's, and know the proxy."""

    class BoxProxy(Proxy[Box]):
        def shrink(self) -> int:
            return self._get_current_object().grow(-1)

        def grow(self) -> str:
            return "mine"

    box = Box(3)
    proxy = BoxProxy(lambda: box)
    assert proxy.shrink() == 2
    assert proxy.grow() == "mine"
    assert box.size == 2


def test_a_subclass_may_say_what_the_object_is() -> None:
    """`_get_current_object` is asked by everything."""

    class Doubled(Proxy[int]):
        def _get_current_object(self) -> int:
            return 2 * super()._get_current_object()

    proxy = Doubled(lambda: 5)
    assert proxy + 1 == 11
    assert repr(proxy) == "10"
    assert maybe_evaluate(proxy) == 10


def test_isinstance_knows_the_object_and_the_proxy() -> None:
    """It is both, by what `isinstance` says; `type` tells them apart."""
    proxy: Any = proxied(Box())
    assert isinstance(proxy, Box)
    assert isinstance(proxy, Proxy)
    assert not isinstance(proxy, int)
    assert type(proxy) is Proxy
    assert isinstance(proxied([]), list)
    assert isinstance(proxied({}), Mapping)


KINDS: list[type[Any]] = [
    *(Awaitable, Coroutine, AsyncIterable, AsyncIterator, AsyncGenerator, Callable),  # type: ignore[list-item]
    *(Sized, Iterable, Iterator, Reversible, Collection, Sequence, AbstractSet, Mapping),
    *(AbstractContextManager, AbstractAsyncContextManager),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_plain_proxy_is_of_no_kind_that_its_object_is_not(kind: type[Any]) -> None:
    """To a number, it is no container, nothing to be called, and nothing to be awaited."""
    assert not isinstance(proxied(5), kind)
    assert not issubclass(Proxy, kind)


def test_a_plain_proxy_can_not_be_called_awaited_or_gone_over() -> None:
    """It says so as any object does; there are roles for that."""
    proxy: Any = proxied([1])
    assert not callable(proxy)
    assert not inspect.isawaitable(proxy)
    for call in (len, iter, next, aiter, lambda obj: obj(), lambda obj: obj[0]):
        with pytest.raises(TypeError):
            call(proxy)


def test_name_and_doc_can_be_given() -> None:
    """Without, they are the object's."""
    named = Proxy(lambda: Box.grow, name="enlarge", __doc__="Make it larger.")
    assert named.__name__ == "enlarge"
    assert named.__doc__ == "Make it larger."
    plain: Any = Proxy(lambda: Box.grow)
    assert plain.__name__ == "grow"
    assert plain.__doc__ == "Grow, and return the new size."
    assert plain.__qualname__ == "Box.grow"
    assert plain.__module__ == Box.__module__
    assert plain.__annotations__ == {"by": "int", "return": "int"}


def test_a_proxy_can_be_referred_to_weakly() -> None:
    """The reference is to the proxy."""
    proxy = proxied([1])
    reference = weakref.ref(proxy)
    assert reference() is proxy
    del proxy
    assert reference() is None


class Colour(NamedTuple):
    """Something that pickle finds by its name."""

    name: str


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_holds_the_object(protocol: int) -> None:
    """Whatever kind of object it is; and once, if it is there twice."""
    items = [1]
    for obj in (5, None, Colour, Colour("red"), print, {"a": {1}}):
        back = pickle.loads(pickle.dumps(proxied(obj), protocol))  # noqa: S301 - it is our own
        assert type(back) is type(obj)
        assert back == obj
    first, second = pickle.loads(pickle.dumps((items, proxied(items)), protocol))  # noqa: S301
    assert first is second


def test_a_copy_is_one_of_the_object() -> None:
    """`copy` makes no second proxy, and `deepcopy` meets an object that it has copied before."""
    inner = [1]
    items = [inner]
    shallow: Any = copy.copy(proxied(items))
    assert type(shallow) is list
    assert shallow is not items
    assert shallow[0] is inner
    twice: Any = copy.deepcopy([items, proxied(items)])
    assert twice[0] is twice[1]
    assert twice[0] == items
    assert twice[0] is not items


# --- Where the object comes from ------------------------------------------------------------------


class Maker:
    """Makes a new box each time, and counts."""

    def __init__(self) -> None:
        self.made: list[Box] = []

    def __call__(self, size: int = 1, *, limit: int = 10) -> Box:
        box = Box(size)
        box.limit = limit
        self.made.append(box)
        return box


def test_the_function_is_called_whenever_the_object_is_needed() -> None:
    """With its arguments, and not before."""
    make = Maker()
    proxy: Any = Proxy(make, (5,), {"limit": 50})
    assert make.made == []
    assert (proxy.size, proxy.limit) == (5, 50)
    assert len(make.made) == 2
    assert proxy._get_current_object() is make.made[2]
    assert not proxy.__evaluated__()
    assert proxy.__evaluate__() is make.made[3]


def test_the_arguments_are_those_that_were_given() -> None:
    """Later changes to the dict don't reach the proxy."""
    kwargs = {"limit": 50}
    proxy: Any = Proxy(Maker(), kwargs=kwargs)
    kwargs["limit"] = 60
    assert proxy.limit == 50


def test_with_cache_it_is_called_once() -> None:
    """When it is first needed."""
    make = Maker()
    proxy: Any = Proxy(make, cache=True)
    assert not proxy.__evaluated__()
    assert make.made == []
    proxy.size = 7
    assert proxy.__evaluated__()
    assert proxy.size == 7
    assert proxy._get_current_object() is proxy.__evaluate__() is make.made[0]
    assert len(make.made) == 1


def test_none_is_kept_as_any_object() -> None:
    """A function that returns `None` is not asked again."""
    calls: list[int] = []
    proxy = Proxy(lambda: calls.append(1), cache=True)
    assert not proxy
    assert not proxy
    assert calls == [1]


def test_what_the_function_raises_is_raised_and_not_kept() -> None:
    """Next time it is asked again."""
    answers: list[Any] = [KeyError("not yet"), Box(4)]

    def look_up() -> Box:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    proxy: Any = Proxy(look_up, cache=True)
    with pytest.raises(KeyError, match="not yet"):
        _ = proxy.size
    assert not proxy.__evaluated__()
    assert proxy.size == proxy.size == 4


@pytest.mark.parametrize("error", [LookupError("nothing there"), RuntimeError("not running")])
def test_repr_tells_that_there_is_no_object(error: Exception) -> None:
    """For a debugger or a log, that is better than an error; all else raises."""

    def fail() -> Any:
        raise error

    proxy = SequenceProxy[int](fail)
    assert repr(proxy) == f"<SequenceProxy without an object: {error!r}>"
    with pytest.raises(type(error)):
        str(proxy)
    with pytest.raises(type(error)):
        bool(proxy)


def test_an_error_of_the_objects_own_repr_is_raised() -> None:
    """It is not taken for an object that is missing."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    with pytest.raises(RuntimeError, match="no words"):
        repr(proxied(Mute()))


def test_a_proxy_needs_a_function() -> None:
    """The error says what was given, and the right call."""
    with pytest.raises(TypeError, match=r"not \[1\]; .* MappingProxy\(lambda: obj\)"):
        MappingProxy([1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_class_with_type_arguments_makes_no_object() -> None:
    """`Proxy[int](...)` is `Proxy(...)`: what typing notes on instances is not set on the object."""
    make = Maker()
    proxy: Any = Proxy[Box](make, cache=True)
    other: Any = MutableMappingProxy[str, int](dict)
    assert make.made == []
    assert type(proxy) is Proxy
    assert type(other) is MutableMappingProxy


def test_threads_get_the_same_kept_object() -> None:
    """However many need it first at the same time, it is made once."""
    made: list[Box] = []
    started = threading.Event()
    go_on = threading.Event()

    def make() -> Box:
        started.set()
        assert go_on.wait(10)
        made.append(Box())
        return made[-1]

    proxy = Proxy(make, cache=True)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(proxy._get_current_object) for _ in range(4)]
        assert started.wait(10)
        go_on.set()
        found = [future.result(10) for future in futures]
    assert len(made) == 1
    assert all(box is made[0] for box in found)


def test_then_waits_for_the_object() -> None:
    """Functions are called in order, once, when the object is made; later ones at once, with their result."""
    make = Maker()
    proxy: Any = Proxy(make, cache=True)
    calls: list[Any] = []
    assert proxy.__then__(calls.append, "first") is None
    assert proxy.__then__(calls.extend, ["second", "third"]) is None
    assert calls == []
    assert proxy.size == 1
    assert calls == ["first", "second", "third"]
    assert proxy.size == 1
    assert proxy.__then__(lambda a, *, b: a + b, 1, b=2) == 3
    assert len(calls) == 3
    assert len(make.made) == 1


def test_then_calls_all_also_if_some_fail() -> None:
    """The first failure leaves, with a note on each later one; no function is called twice."""
    calls: list[str] = []

    def fail(error: Exception) -> None:
        raise error

    first = ValueError("first")
    proxy: Any = Proxy(Maker(), cache=True)
    proxy.__then__(fail, first)
    proxy.__then__(calls.append, "between")
    proxy.__then__(fail, OSError("second"))
    proxy.__then__(calls.append, "last")
    with pytest.raises(ValueError, match="first") as caught:
        _ = proxy.size
    assert caught.value is first
    assert any("second" in note for note in caught.value.__notes__)
    assert calls == ["between", "last"]
    assert proxy.size == 1
    assert calls == ["between", "last"]


def test_then_without_cache_is_for_the_next_time() -> None:
    """Nothing is kept, so nothing is there already."""
    calls: list[str] = []
    proxy: Any = Proxy(Maker())
    assert proxy.size == 1
    proxy.__then__(calls.append, "made")
    assert calls == []
    assert proxy.size == proxy.size
    assert calls == ["made"]


def test_then_may_use_the_proxy() -> None:
    """A function that is called by it finds the object."""
    seen: list[int] = []
    proxy: Any = Proxy(lambda: 5, cache=True)
    proxy.__then__(lambda: seen.append(proxy + 1))
    assert proxy == 5
    assert seen == [6]


def test_maybe_evaluate_returns_the_object_or_what_it_was_given() -> None:
    """It is for code that may or may not have been given a proxy."""
    box = Box()
    assert maybe_evaluate(proxied(box)) is box
    assert maybe_evaluate(MutableSetRole(lambda: box)) is box
    assert maybe_evaluate(box) is box
    assert maybe_evaluate(Proxy) is Proxy
    assert maybe_evaluate(None) is None
    assert proxied(box).__maybe_evaluate__() is box


# --- An abstract class behind a proxy -------------------------------------------------------------


class Request(abc.ABC):
    """What a web framework may have."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The address."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def answer(self, text: str) -> str:
        """Answer it."""

    def describe(self) -> str:
        """Say what it is."""
        return f"{self.url}: {len(self)}"


class GetRequest(Request):
    """One of them."""

    @property
    def url(self) -> str:
        return "/index"

    def __len__(self) -> int:
        return 3

    def answer(self, text: str) -> str:
        return text.upper()


def test_a_class_of_proxies_may_stand_in_for_an_abstract_class() -> None:
    """It has what that demands, special methods too, and counts as a subclass."""

    class RequestProxy(Proxy[Request], source=Request):
        pass

    request: Any = RequestProxy(GetRequest)
    assert issubclass(RequestProxy, Request)
    assert (request.url, len(request), request.answer("yes")) == ("/index", 3, "YES")
    assert request.describe() == "/index: 3"


def test_a_class_of_proxies_may_say_so_in_its_body() -> None:
    """An attribute does what the class argument does; subclasses need not repeat it."""

    class RequestProxy(Proxy[Request]):
        __proxy_source__ = Request

    class OtherProxy(RequestProxy):
        pass

    for cls in (RequestProxy, OtherProxy):
        request: Any = cls(GetRequest)
        assert issubclass(cls, Request)
        assert (request.url, len(request), request.answer("yes")) == ("/index", 3, "YES")


def test_a_class_of_proxies_may_derive_from_the_abstract_class() -> None:
    """What is abstract there is delegated; what is not, runs on the proxy; what the class has itself, stays."""

    class RequestProxy(Proxy[Request], Request, source=Request):
        def answer(self, text: str) -> str:
            return f"({self._get_current_object().answer(text)})"

    request = RequestProxy(GetRequest)  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    assert (request.url, len(request), request.answer("yes")) == ("/index", 3, "(YES)")
    assert request.describe() == "/index: 3"


def test_what_is_stood_in_for_must_be_abstract() -> None:
    """The error says so."""
    with pytest.raises(TypeError, match=r"class BoxProxy: source= takes an abstract class.*Box"):

        class BoxProxy(Proxy[Box], source=Box):
            pass


# --- Roles ----------------------------------------------------------------------------------------


class Role(NamedTuple):
    """A proxy with a role, an object for it, and the class that it is one of."""

    proxy: type[Any]
    make: Callable[[], Any]
    kind: Any


async def answer() -> int:
    """A coroutine."""
    await anyio.lowlevel.checkpoint()
    return 42


class Counted:
    """Something that `async for` can go over, and that is its own iterator."""

    def __init__(self) -> None:
        self.count = 0

    def __aiter__(self) -> Counted:
        return self

    async def __anext__(self) -> int:
        await anyio.lowlevel.checkpoint()
        self.count += 1
        if self.count > 3:
            raise StopAsyncIteration
        return self.count


class Later:
    """Something that can be awaited, and nothing else."""

    def __await__(self) -> Generator[Any, Any, int]:
        return answer().__await__()


@contextmanager
def noting(notes: list[str]) -> Generator[str]:
    """A context that notes its life, and swallows a KeyError."""
    notes.append("enter")
    try:
        yield "entered"
    except KeyError:
        notes.append("swallow")
    finally:
        notes.append("leave")


@asynccontextmanager
async def noting_async(notes: list[str]) -> AsyncGenerator[str]:
    """The same, asynchronously."""
    await anyio.lowlevel.checkpoint()
    with noting(notes) as value:
        yield value


CONTAINERS = [
    Role(SequenceProxy, lambda: (3, 1, 2, 1), Sequence),
    Role(SequenceProxy, lambda: "text", Sequence),
    Role(MutableSequenceProxy, lambda: [3, 1, 2, 1], MutableSequence),
    Role(SetProxy, lambda: frozenset({1, 2}), AbstractSet),
    Role(MutableSetProxy, lambda: {1, 2}, MutableSet),
    Role(MappingProxy, lambda: types.MappingProxyType({1: "a", 2: "b"}), Mapping),
    Role(MutableMappingProxy, lambda: {1: "a", 2: "b"}, MutableMapping),
]
OTHERS = [
    Role(AwaitableProxy, Later, Awaitable),
    Role(AsyncIterableProxy, Counted, AsyncIterable),
    Role(AsyncIteratorProxy, Counted, AsyncIterator),
    Role(ContextManagerProxy, lambda: noting([]), AbstractContextManager),
    Role(AsyncContextManagerProxy, lambda: noting_async([]), AbstractAsyncContextManager),
    Role(CallableProxy, lambda: len, Callable),
]
OF_CONTAINERS: list[Callable[[Any], Any]] = [
    *(len, list, set, sorted, bool, operator.length_hint, lambda obj: list(reversed(obj))),
    *(lambda obj: 1 in obj, lambda obj: obj[1], lambda obj: obj[1:3], lambda obj: obj[9]),
    *(lambda obj: obj.index(1), lambda obj: obj.index(1, 2), lambda obj: obj.count(1)),
    *(lambda obj: obj.isdisjoint({9}), lambda obj: obj.get(1), lambda obj: obj.get(9, "none")),
    *(lambda obj: list(obj.items()), lambda obj: set(obj.keys()), lambda obj: list(obj.values())),
    *(lambda obj: [*obj], lambda obj: max(obj), lambda obj: next(iter(obj))),
    *(operator.neg, hash, repr, lambda obj: obj == obj[:], lambda obj: "%s" % (obj,)),  # noqa: UP031
    *(lambda obj: "".join(obj), lambda obj: dict(obj)),
]
MUTATING: list[Callable[[Any], Any]] = [
    *(lambda obj: obj.append(7), lambda obj: obj.insert(0, 7), lambda obj: obj.extend([7, 8])),
    *(lambda obj: obj.reverse(), lambda obj: obj.pop(), lambda obj: obj.pop(1)),
    *(lambda obj: obj.remove(1), lambda obj: obj.remove(9), lambda obj: obj.clear()),
    *(lambda obj: obj.add(7), lambda obj: obj.discard(1), lambda obj: obj.pop(9, "none")),
    *(lambda obj: obj.popitem(), lambda obj: obj.setdefault(1), lambda obj: obj.setdefault(9)),
    *(
        lambda obj: obj.setdefault(9, "x"),
        lambda obj: obj.update({9: "x"}),
        lambda obj: obj.sort(),
    ),
    *(lambda obj: obj.update(a="b"), lambda obj: obj.update([(9, "x")], a="b")),
    *(lambda obj: obj.__setitem__(1, 7), lambda obj: obj.__delitem__(1)),
    *(lambda obj: operator.setitem(obj, 1, 7), lambda obj: operator.delitem(obj, 1)),
    *(lambda obj: operator.setitem(obj, slice(1, 2), [7, 8]),),
    *(lambda obj: operator.delitem(obj, slice(1, 2)),),
]


@pytest.mark.parametrize("role", [*CONTAINERS, *OTHERS], ids=lambda role: role.proxy.__name__)
def test_a_role_is_of_its_kind(role: Role) -> None:
    """Also before there is an object, and by the class alone."""
    assert isinstance(role.proxy(role.make), role.kind)
    assert issubclass(role.proxy, role.kind)


@pytest.mark.parametrize("call", [*OF_CONTAINERS, *MUTATING])
@pytest.mark.parametrize("role", CONTAINERS, ids=lambda role: role.proxy.__name__)
def test_a_container_behind_a_proxy_is_used_as_it_is(
    role: Role, call: Callable[[Any], Any]
) -> None:
    """Whatever is done to it, it gives the same result, error and change."""
    bare, behind = role.make(), role.make()
    came, expected = outcome(call, role.proxy(lambda: behind)), outcome(call, bare)
    if expected[0] is TypeError:  # Python names the class in some of these texts
        came, expected = came[:1], expected[:1]
    assert came == expected
    assert behind == bare


SPECIAL: list[tuple[str, Callable[[Any], Any]]] = [
    ("__len__", len),
    ("__iter__", iter),
    ("__contains__", lambda obj: 1 in obj),
    ("__reversed__", reversed),
    ("__getitem__", lambda obj: obj[0]),
    ("__setitem__", lambda obj: operator.setitem(obj, 0, 1)),
    ("__delitem__", lambda obj: operator.delitem(obj, 0)),
    ("__call__", lambda obj: obj()),
    ("__aiter__", aiter),
    ("__anext__", anext),
    ("__enter__", lambda obj: ExitStack().enter_context(obj)),
]


@pytest.mark.parametrize(("name", "call"), SPECIAL, ids=[name for name, _ in SPECIAL])
def test_what_the_object_can_not_do_its_proxy_can_not(
    name: str, call: Callable[[Any], Any]
) -> None:
    """A role promises nothing for the object: the error is the one that the object raises."""
    # Of an instance: a class can be called in any case.
    roles = [
        role for role in [*CONTAINERS, *OTHERS] if any(name in vars(c) for c in role.proxy.__mro__)
    ]
    assert roles
    for role in roles:
        with pytest.raises(TypeError) as caught:
            call(role.proxy(lambda: 5))
        with pytest.raises(TypeError) as expected:
            call(5)
        assert str(caught.value) == str(expected.value).replace("'builtins.int'", "'int'")


def test_a_mapping_can_be_unpacked_and_formatted() -> None:
    """`**` and `format_map` take it for a mapping, and so does `%`."""
    proxy = MappingProxy(lambda: {"a": 1})
    assert {**proxy} == {"a": 1}
    assert "{a}".format_map(proxy) == "1"
    assert "%(a)d" % proxy == "1"  # noqa: UP031 - it asks what kind of thing it is given


def test_patterns_match_proxies() -> None:
    """`match` takes them for sequences and mappings, and for what their object is."""

    def describe(subject: Any) -> str:
        match subject:
            case [first, *_]:
                return f"sequence of {first}"
            case {"a": value}:
                return f"mapping to {value}"
            case Box(size=size):
                return f"box of {size}"
            case _:
                return "something"

    assert describe(SequenceProxy(lambda: [1, 2])) == "sequence of 1"
    assert describe(MappingProxy(lambda: {"a": 2})) == "mapping to 2"
    assert describe(proxied(Box(3))) == "box of 3"
    assert describe(proxied(4)) == "something"


def test_roles_can_be_combined_as_the_manual_of_mode_has_it() -> None:
    """A class of roles is a class of proxies, with all that the roles have."""
    made: list[dict[str, str]] = []

    def create() -> dict[str, str]:
        made.append({})
        return made[-1]

    class XProxy(MutableMappingRole[str, str], AsyncContextManagerRole[None]):
        pass

    each_time = XProxy(create)
    each_time["foo"] = "value"
    assert each_time.get("foo") is None
    assert made == [{"foo": "value"}, {}]

    kept = XProxy(create, cache=True)
    kept["foo"] = "value"
    assert kept["foo"] == "value"
    assert len(made) == 3
    assert isinstance(kept, MutableMapping)
    assert isinstance(kept, AbstractAsyncContextManager)


def test_roles_can_be_mixed_into_a_typed_proxy() -> None:
    """With `Proxy` first, or with the roles first."""

    class First(Proxy[Any], MutableSequenceRole[int], SetRole[int]):
        pass

    class Last(MutableSequenceRole[int], SetRole[int], Proxy[Any]):
        pass

    for cls in (First, Last):
        proxy = cls(lambda: [1, 2], cache=True)
        proxy.append(3)
        assert list(proxy) == [1, 2, 3]
        assert isinstance(proxy, Proxy)


# --- Calling, awaiting, going over, entering ------------------------------------------------------


def test_a_callable_is_called() -> None:
    """With all arguments; the result is its own."""
    proxy = CallableProxy(lambda: Maker())
    assert proxy(5, limit=50).limit == 50
    assert callable(proxy)


async def test_an_awaitable_is_awaited() -> None:
    """A coroutine, an object with `__await__`, a generator of `types.coroutine`: each time the function gives one."""

    @types.coroutine
    def by_generator() -> Generator[Any, Any, int]:
        return (yield from answer().__await__())

    for make in (answer, Later, by_generator):
        proxy: Any = AwaitableProxy(make)
        assert await proxy == 42
        assert await proxy == 42
    assert inspect.isawaitable(AwaitableProxy(Later))


async def test_what_can_not_be_awaited_raises_as_without_a_proxy() -> None:
    """And a coroutine can be awaited once only."""
    number: Any = 5
    with pytest.raises(TypeError) as expected:
        await number
    with pytest.raises(TypeError) as caught:
        await AwaitableProxy[int](lambda: number)
    assert str(caught.value) == str(expected.value)
    once = CoroutineProxy[Any, Any, int](answer, cache=True)
    assert await once == 42
    with pytest.raises(RuntimeError, match="already awaited"):
        await once


async def test_cancelling_reaches_what_is_awaited_through_a_proxy() -> None:
    """It is no task of its own."""
    ended: list[str] = []

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_awaiting, AwaitableProxy(wait))
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert ended == ["cancelled"]


async def _awaiting(awaitable: Awaitable[Any]) -> None:
    await awaitable


@types.coroutine
def ask(question: str) -> Generator[str, str, str]:
    """Yield a question out of a coroutine, and return what is sent."""
    return (yield question)


async def dialogue() -> str:
    """Ask until there is an answer."""
    try:
        name = await ask("name?")
    except ValueError as exc:
        name = f"{exc} {exc.__traceback__ is not None}"
    return f"hello {name}"


def test_a_coroutine_is_driven() -> None:
    """By `send`, to its end."""
    proxy = CoroutineProxy[str, Any, str](dialogue, cache=True)
    assert isinstance(proxy, Coroutine)
    assert proxy.send(None) == "name?"
    with pytest.raises(StopIteration, match="hello you"):
        proxy.send("you")


THROWN: list[tuple[Any, ...]] = [
    (ValueError("you"),),
    (ValueError("you"), None, None),
    (ValueError, "you"),
    (ValueError, ValueError("you")),
    (ValueError, ValueError("you"), types.TracebackType(None, sys._getframe(), 0, 1)),
    (ValueError("you"), None, types.TracebackType(None, sys._getframe(), 0, 1)),
]


@pytest.mark.parametrize("thrown", THROWN)
def test_an_exception_is_thrown_into_a_coroutine(thrown: tuple[Any, ...]) -> None:
    """In each form that `throw` has had, without a warning."""
    proxy = CoroutineProxy[str, Any, str](dialogue, cache=True)
    proxy.send(None)
    with pytest.raises(StopIteration, match="hello you True"):
        proxy.throw(*thrown)


def test_a_class_of_exceptions_is_thrown_into_a_coroutine() -> None:
    """Python makes the exception; what can't be raised is refused by the coroutine."""
    first, second, third = (CoroutineProxy[str, Any, str](dialogue, cache=True) for _ in range(3))
    first.send(None)
    with pytest.raises(KeyError):
        first.throw(KeyError)
    second.send(None)
    place = types.TracebackType(None, sys._getframe(), 0, 1)
    with pytest.raises(KeyError) as caught:
        second.throw(KeyError, None, place)
    assert place in list(_chain(caught.value.__traceback__))
    third.send(None)
    with pytest.raises(TypeError):
        third.throw("no exception")
    third.close()


def _chain(traceback: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def test_a_coroutine_may_go_on_after_what_was_thrown_into_it() -> None:
    """`throw` returns what it yields next."""

    async def stubborn() -> str:
        try:
            return await ask("one?")
        except ValueError:
            return await ask("two?")

    proxy = CoroutineProxy[str, Any, str](stubborn, cache=True)
    assert proxy.send(None) == "one?"
    assert proxy.throw(ValueError("no")) == "two?"
    with pytest.raises(StopIteration, match="yes"):
        proxy.send("yes")


def test_a_coroutine_is_closed() -> None:
    """It ends, and can't go on."""
    proxy = CoroutineProxy[str, Any, str](dialogue, cache=True)
    proxy.send(None)
    proxy.close()
    with pytest.raises(RuntimeError, match="already awaited"):
        proxy.send("you")


async def test_async_for_goes_over_what_is_behind_a_proxy() -> None:
    """An iterable gives a new iterator each time; an iterator goes on."""
    each_time = AsyncIterableProxy[int](Counted)
    assert [item async for item in each_time] == [1, 2, 3]
    assert [item async for item in each_time] == [1, 2, 3]
    kept = AsyncIteratorProxy[int](Counted, cache=True)
    assert await anext(kept) == 1
    assert [item async for item in kept] == [2, 3]
    assert await anext(kept, "end") == "end"


async def echo() -> AsyncGenerator[str, str]:
    """Yield what is sent; an exception's text if one is thrown."""
    said = "ready"
    while True:
        try:
            said = yield said
        except ValueError as exc:
            said = str(exc)
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("thrown", THROWN)
async def test_an_async_generator_is_driven(thrown: tuple[Any, ...]) -> None:
    """It can be sent to, thrown into, gone over and closed."""
    proxy = AsyncGeneratorProxy[str, str](echo, cache=True)
    assert isinstance(proxy, AsyncGenerator)
    assert await anext(proxy) == "ready"
    assert await proxy.asend("one") == "one"
    assert await proxy.athrow(*thrown) == "you"
    await proxy.aclose()
    assert [item async for item in proxy] == []


def test_a_context_is_entered_and_left() -> None:
    """With the value of the context, and its say about exceptions."""
    notes: list[str] = []
    with ContextManagerProxy[str](lambda: noting(notes)) as value:
        assert value == "entered"
        raise KeyError("swallowed")
    assert notes == ["enter", "swallow", "leave"]
    with pytest.raises(ValueError, match="not swallowed"):
        with ContextManagerProxy[str](lambda: noting(notes)):
            raise ValueError("not swallowed")
    assert notes[3:] == ["enter", "leave"]


async def test_an_async_context_is_entered_and_left() -> None:
    """With the value of the context, and its say about exceptions."""
    notes: list[str] = []
    async with AsyncContextManagerProxy[str](lambda: noting_async(notes)) as value:
        assert value == "entered"
        raise KeyError("swallowed")
    assert notes == ["enter", "swallow", "leave"]


async def test_what_is_no_async_context_raises_as_without_a_proxy() -> None:
    """The object has no such method."""
    with pytest.raises(TypeError, match="'int' object does not support the asynchronous context"):
        async with AsyncContextManagerProxy[Any](lambda: 5):  # type: ignore[arg-type,return-value]
            raise AssertionError


class Door:
    """A context that notes which door was opened and closed."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def __enter__(self) -> str:
        self.notes.append(f"open {self.name}")
        return self.name

    def __exit__(self, *exc: object) -> None:
        self.notes.append(f"close {self.name}")

    async def __aenter__(self) -> str:
        await anyio.lowlevel.checkpoint()
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        await anyio.lowlevel.checkpoint()
        self.__exit__()


class DoorProxy(ContextManagerProxy[str], AsyncContextManagerRole[str]):
    """A proxy to doors, a new one each time."""


def doors(notes: list[str]) -> DoorProxy:
    """Return a proxy to numbered doors."""
    numbers = itertools.count(1)
    return DoorProxy(lambda: Door(str(next(numbers)), notes))


def test_the_door_that_was_opened_is_closed() -> None:
    """Also if the function gives another one by then; and nested blocks close each its own."""
    notes: list[str] = []
    door, other = doors(notes), DoorProxy(lambda: Door("x", notes))
    with door, other, door as inner:
        assert inner == "2"
    assert notes == ["open 1", "open x", "open 2", "close 2", "close x", "close 1"]


def test_doors_are_told_apart_in_whatever_order_they_are_closed() -> None:
    """Blocks that don't nest still leave what they entered."""
    notes: list[str] = []
    door, other = doors(notes), DoorProxy(lambda: Door("x", notes))
    first, second = ExitStack(), ExitStack()
    first.enter_context(door)
    second.enter_context(other)
    first.close()
    second.close()
    assert notes == ["open 1", "open x", "close 1", "close x"]


async def test_tasks_close_their_own_doors() -> None:
    """Blocks of several tasks, which take turns, don't get mixed up."""
    notes: list[str] = []
    door = doors(notes)
    closed: dict[str, list[str]] = {}

    async def go_through(name: str) -> None:
        async with door as outer:
            await anyio.lowlevel.checkpoint()
            with door as inner:
                await anyio.lowlevel.checkpoint()
            closed[name] = [outer, (notes[-1].removeprefix("close ") == inner and "inner") or ""]
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(go_through, name)
    assert [checked for _, checked in closed.values()] == ["inner"] * 3
    opened = sorted(note for note in notes if note.startswith("open"))
    assert sorted(note.replace("close", "open") for note in notes if "close" in note) == opened
    assert len(opened) == 6


def test_a_door_is_closed_when_a_generator_is_dropped() -> None:
    """Each is the one that was opened there; what the generators of other proxies have opened stays open."""
    notes: list[str] = []
    door, other = doors(notes), DoorProxy(lambda: Door("x", notes))

    def go_through(door: DoorProxy) -> Generator[str]:
        with door as name:
            yield name

    first, second, third = go_through(door), go_through(other), go_through(door)
    assert [next(first), next(second), next(third)] == ["1", "x", "2"]
    del third
    first.close()
    assert notes[3:] == ["close 2", "close 1"]
    with door as name:
        assert name == "3"
    del second
    assert notes[5:] == ["open 3", "close 3", "close x"]


def test_doors_that_were_closed_leave_nothing() -> None:
    """However many blocks there were in a context, it grows no larger."""
    door = DoorProxy(lambda: Door("x", []))

    def use() -> None:
        for _ in range(3000):
            with door:
                pass

    context = contextvars.Context()
    context.run(use)
    gc.collect()
    before = sys.getallocatedblocks()
    context.run(use)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500


async def test_a_door_may_be_closed_in_another_task() -> None:
    """If it is kept, it is the same one; the proxy does not need to have seen it opened there."""
    notes: list[str] = []
    door = DoorProxy(lambda: Door("kept", notes), cache=True)
    stack = ExitStack()

    async def enter() -> None:
        stack.enter_context(door)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
    stack.close()
    assert notes == ["open kept", "close kept"]


async def test_a_door_that_does_not_open_is_not_closed() -> None:
    """A failed entry leaves nothing behind that a later block would close."""
    notes: list[str] = []

    class Stuck(Door):
        def __enter__(self) -> str:
            raise OSError("stuck")

    found = [Stuck("stuck", notes), Door("free", notes), Stuck("stuck", notes)]
    door = DoorProxy(lambda: found.pop(0))
    with pytest.raises(OSError, match="stuck"), door:
        raise AssertionError
    with door as name, pytest.raises(OSError, match="stuck"):
        assert name == "free"
        async with door:
            raise AssertionError
    assert notes == ["open free", "close free"]


# --- Random work on containers --------------------------------------------------------------------

VALUES = st.integers(0, 4)


class ListMachine(RuleBasedStateMachine):
    """Random operations on a list and, through a proxy, on another."""

    def __init__(self) -> None:
        super().__init__()
        self.bare: list[int] = []
        self.behind: list[int] = []
        self.proxy: Any = MutableSequenceProxy[int](lambda: self.behind)

    def both(self, call: Callable[[Any], Any]) -> None:
        assert outcome(call, self.proxy) == outcome(call, self.bare)

    @rule(value=VALUES)
    def append(self, value: int) -> None:
        self.both(lambda items: items.append(value))

    @rule(index=st.integers(-5, 5), value=VALUES)
    def insert(self, index: int, value: int) -> None:
        self.both(lambda items: items.insert(index, value))

    @rule(values=st.lists(VALUES, max_size=3))
    def extend(self, values: list[int]) -> None:
        self.both(lambda items: items.extend(values))

    @rule(values=st.lists(VALUES, max_size=3))
    def add_in_place(self, values: list[int]) -> None:
        self.bare += values
        self.proxy += values
        assert type(self.proxy) is MutableSequenceProxy

    @rule(index=st.integers(-5, 5))
    def pop(self, index: int) -> None:
        self.both(lambda items: items.pop(index))

    @rule(value=VALUES)
    def remove(self, value: int) -> None:
        self.both(lambda items: items.remove(value))

    @rule(index=st.integers(-5, 5), value=VALUES)
    def set(self, index: int, value: int) -> None:
        self.both(lambda items: operator.setitem(items, index, value))

    @rule(where=st.slices(6), values=st.lists(VALUES, max_size=3))
    def set_slice(self, where: slice, values: list[int]) -> None:
        self.both(lambda items: operator.setitem(items, where, values))

    @rule(where=st.slices(6))
    def delete_slice(self, where: slice) -> None:
        self.both(lambda items: operator.delitem(items, where))

    @rule(where=st.slices(6))
    def get_slice(self, where: slice) -> None:
        self.both(lambda items: items[where])

    @rule(value=VALUES, start=st.integers(-5, 5))
    def look(self, value: int, start: int) -> None:
        self.both(lambda items: (value in items, items.count(value)))
        self.both(lambda items: items.index(value, start))

    @rule()
    def reverse(self) -> None:
        self.both(lambda items: items.reverse())

    @rule(other=st.lists(VALUES, max_size=4))
    def compare(self, other: list[int]) -> None:
        self.both(lambda items: (items < other, items == other, other < items, items + other))

    @invariant()
    def same(self) -> None:
        assert self.behind == self.bare
        assert self.proxy == self.bare
        assert self.bare == self.proxy
        assert list(self.proxy) == self.bare
        assert list(reversed(self.proxy)) == self.bare[::-1]
        assert len(self.proxy) == len(self.bare)
        assert repr(self.proxy) == repr(self.bare)


class DictMachine(RuleBasedStateMachine):
    """Random operations on a dict and, through a proxy, on another."""

    def __init__(self) -> None:
        super().__init__()
        self.bare: dict[int, int] = {}
        self.behind: dict[int, int] = {}
        self.proxy: Any = MutableMappingProxy[int, int](lambda: self.behind)

    def both(self, call: Callable[[Any], Any]) -> None:
        assert outcome(call, self.proxy) == outcome(call, self.bare)

    @rule(key=VALUES, value=VALUES)
    def set(self, key: int, value: int) -> None:
        self.both(lambda items: operator.setitem(items, key, value))

    @rule(key=VALUES)
    def delete(self, key: int) -> None:
        self.both(lambda items: operator.delitem(items, key))

    @rule(key=VALUES)
    def look(self, key: int) -> None:
        self.both(lambda items: items[key])
        self.both(lambda items: (items.get(key), items.get(key, "none"), key in items))

    @rule(key=VALUES)
    def pop(self, key: int) -> None:
        self.both(lambda items: items.pop(key))
        self.both(lambda items: items.pop(key, "none"))

    @rule()
    def popitem(self) -> None:
        self.both(lambda items: items.popitem())

    @rule(key=VALUES, value=VALUES)
    def setdefault(self, key: int, value: int) -> None:
        self.both(lambda items: items.setdefault(key, value))

    @rule(other=st.dictionaries(VALUES, VALUES, max_size=3))
    def update(self, other: dict[int, int]) -> None:
        self.both(lambda items: items.update(other))

    @rule(other=st.dictionaries(VALUES, VALUES, max_size=3))
    def merge(self, other: dict[int, int]) -> None:
        self.both(lambda items: (items | other, other | items))
        self.bare |= other
        self.proxy |= other
        assert type(self.proxy) is MutableMappingProxy

    @invariant()
    def same(self) -> None:
        assert self.behind == self.bare
        assert self.proxy == self.bare
        assert self.bare == self.proxy
        assert list(self.proxy) == list(self.bare)
        assert list(reversed(self.proxy)) == list(reversed(self.bare))
        assert self.proxy.items() == self.bare.items()
        assert self.proxy.keys() == self.bare.keys()
        assert list(self.proxy.values()) == list(self.bare.values())
        assert len(self.proxy) == len(self.bare)


SETS = st.sets(VALUES)


class SetMachine(RuleBasedStateMachine):
    """Random operations on a set and, through a proxy, on another."""

    def __init__(self) -> None:
        super().__init__()
        self.bare: set[int] = set()
        self.behind: set[int] = set()
        self.proxy: Any = MutableSetProxy[int](lambda: self.behind)

    def both(self, call: Callable[[Any], Any]) -> None:
        assert outcome(call, self.proxy) == outcome(call, self.bare)

    @rule(value=VALUES)
    def add(self, value: int) -> None:
        self.both(lambda items: items.add(value))

    @rule(value=VALUES)
    def discard(self, value: int) -> None:
        self.both(lambda items: items.discard(value))

    @rule(value=VALUES)
    def remove(self, value: int) -> None:
        self.both(lambda items: items.remove(value))

    @rule()
    def pop(self) -> None:
        self.both(lambda items: items.pop())

    @rule()
    def clear(self) -> None:
        self.both(lambda items: items.clear())

    @rule(other=SETS)
    def combine(self, other: set[int]) -> None:
        for call in (operator.and_, operator.or_, operator.sub, operator.xor):
            self.both(lambda items, call=call: call(items, other))  # type: ignore[misc]
            self.both(lambda items, call=call: call(other, items))  # type: ignore[misc]

    @rule(other=SETS)
    def compare(self, other: set[int]) -> None:
        for call in COMPARING:
            self.both(lambda items, call=call: call(items, other))  # type: ignore[misc]
            self.both(lambda items, call=call: call(other, items))  # type: ignore[misc]
        self.both(lambda items: items.isdisjoint(other))

    @rule(other=SETS, call=st.sampled_from([operator.iand, operator.ior, operator.isub]))
    def change_in_place(self, other: set[int], call: Callable[[Any, Any], Any]) -> None:
        self.bare = call(self.bare, other)
        assert call(self.proxy, other) is self.proxy

    @invariant()
    def same(self) -> None:
        assert self.behind == self.bare
        assert self.proxy == self.bare
        assert self.bare == self.proxy
        assert set(self.proxy) == self.bare
        assert len(self.proxy) == len(self.bare)
        assert bool(self.proxy) == bool(self.bare)


MACHINES = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestListMachine = ListMachine.TestCase
TestListMachine.settings = MACHINES
TestDictMachine = DictMachine.TestCase
TestDictMachine.settings = MACHINES
TestSetMachine = SetMachine.TestCase
TestSetMachine.settings = MACHINES


@settings(max_examples=100, deadline=None)
@given(left=st.integers(), right=st.integers(), call=st.sampled_from([*COMPARING, *OF_TWO[:4]]))
def test_numbers_behind_proxies_are_as_the_numbers(
    left: int, right: int, call: Callable[[Any, Any], Any]
) -> None:
    """Of whatever size and sign."""
    expected = kind_of_outcome(call, left, right)
    assert kind_of_outcome(call, proxied(left), right) == expected
    assert kind_of_outcome(call, left, proxied(right)) == expected


# --- The names ------------------------------------------------------------------------------------


def test_every_role_has_its_proxy() -> None:
    """A proxy derives from `Proxy` and from its role, and both can be made."""
    roles = [name for name in module.__all__ if name.endswith("Role")]
    assert len(roles) == 14
    for name in roles:
        role, proxy = getattr(module, name), getattr(module, name.replace("Role", "Proxy"))
        assert issubclass(proxy, role)
        assert issubclass(proxy, Proxy)
        for cls in (role, proxy):
            assert type(cls(lambda: 5)) is cls
            assert maybe_evaluate(cls(lambda: 5)) == 5


def test_type_checkers_see_what_a_proxy_is() -> None:
    """Each `assert_type` is read by mypy and pyright, which complain if it is wrong."""
    box = Proxy(Box)
    assert_type(box._get_current_object(), Box)

    numbers = MutableSequenceProxy[int](lambda: [3, 1], cache=True)
    assert_type(numbers[0], int)
    assert_type(numbers[0:1], MutableSequence[int])
    assert_type(numbers.pop(), int)
    assert_type(numbers.index(3), int)
    assert_type(len(numbers), int)
    assert_type(list(reversed(numbers)), list[int])

    names = MutableMappingProxy[str, int](dict, cache=True)
    assert_type(names.get("a"), int | None)
    assert_type(names.get("a", 0), int)
    assert_type(names.get("a", "none"), int | str)
    assert_type(names.setdefault("a", 1), int)
    assert_type(names.pop("a", None), int | None)
    assert_type(list(names.items()), list[tuple[str, int]])
    assert_type(sorted(names), list[str])
    assert_type(list(reversed(names)), list[str])

    texts = MutableSetProxy[str](lambda: {"a", "b"}, cache=True)
    assert_type(texts.pop(), str)
    assert_type(sorted(texts), list[str])

    five = Proxy(lambda: 5)
    converted: list[Any] = [int(five), float(five), complex(five), abs(five), math.floor(five)]
    assert converted == [5, 5.0, 5 + 0j, 5, 5]
    computed: list[Any] = [sum([five, five]), max(five, five), divmod(five, 2)]
    assert computed == [10, 5, (2, 1)]
    assert ["one", "two"][Proxy(lambda: 1)] == "two"

    takes_a_sequence: Sequence[int] = numbers
    takes_a_mapping: Mapping[str, int] = names
    takes_a_set: AbstractSet[str] = texts
    assert len(takes_a_sequence) == 1
    assert len(takes_a_mapping) == 0
    assert len(takes_a_set) == 1
    with ContextManagerProxy(lambda: noting([])) as value:
        assert_type(value, str)


async def test_type_checkers_see_what_is_awaited() -> None:
    """As above."""
    assert_type(await AwaitableProxy(answer), int)
    async with aclosing(AsyncGeneratorProxy(echo, cache=True)) as echoing:
        assert_type(await anext(echoing), str)
    assert_type([item async for item in AsyncIterableProxy(Counted)], list[int])
    async with AsyncContextManagerProxy(lambda: noting_async([])) as value:
        assert_type(value, str)
