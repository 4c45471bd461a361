"""The mixin costs a class nothing: no `super()` call, no attribute, no hash, no dict; and nothing is left behind."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio
import pytest

from structmode.facet import (
    AsyncioServiceMixin,
    BlockingServiceMixin,
    ServiceMixin,
    _blocks,
    _lives,
)


class Plain(ServiceMixin):
    def __init__(self) -> None:
        self.value = 0

    async def start(self) -> None:
        self.value += 1
        self.task = self.add_task(anyio.sleep_forever())

    async def stop(self) -> None:
        self.value -= 1


class Slotted(ServiceMixin):
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    async def start(self) -> None:
        self.value += 1

    async def stop(self) -> None:
        self.value -= 1


class Base:
    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class WithSlottedBase(ServiceMixin, Base):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0)

    async def start(self) -> None:
        self.value += 1

    async def stop(self) -> None:
        self.value -= 1


@dataclass
class Data(ServiceMixin):
    value: int = 0
    graceful_shutdown_timeout: float = 3.0

    async def start(self) -> None:
        self.value += 1

    async def stop(self) -> None:
        self.value -= 1


@dataclass(frozen=True, slots=True)
class Frozen(ServiceMixin):
    values: list[int] = field(default_factory=lambda: [0])

    @property
    def value(self) -> int:
        return self.values[0]

    async def start(self) -> None:
        self.values[0] += 1

    async def stop(self) -> None:
        self.values[0] -= 1


class Counting(type):
    """A metaclass that wants to have its own way."""


class Model(metaclass=Counting):
    """A base that takes no attributes but those it knows, compares by them, and can't be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "value", values.get("value", 0))

    def __setattr__(self, name: str, value: object) -> None:
        if name != "value":
            raise ValueError(
                f"the model has no field {name!r}"
            )  # pragma: no cover - nobody does so
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)


class OfModel(Model, ServiceMixin):
    value: int

    async def start(self) -> None:
        self.value += 1

    async def stop(self) -> None:
        self.value -= 1


class Pair(NamedTuple):
    left: int
    right: int


class OfTuple(ServiceMixin, Pair):
    """A service that is a tuple: it is a dependency, and no list of them."""

    __slots__ = ()
    log: list[str] = []  # noqa: RUF012 - a tuple has no attributes of its own

    @property
    def value(self) -> int:
        return len(self.log)

    async def start(self) -> None:
        self.log.append("start")

    async def stop(self) -> None:
        self.log.pop()


EVERY = [Plain, Slotted, WithSlottedBase, Data, Frozen, OfModel, lambda: OfTuple(1, 2)]


@pytest.mark.parametrize("make", EVERY)
async def test_of_any_class(make: Any) -> None:
    """It runs twice, alone and as a dependency, whatever else its class is; and is collected afterwards."""
    service = make()

    class Above(ServiceMixin):
        dependencies: Any = ()

    above: Any = Above()
    above.dependencies = [service]
    for one in (service, above):
        assert not service.running
        async with one as entered:
            assert entered is one
            del entered
            assert service.running
            assert service.value == 1
        assert not service.running
        assert service.value == 0
    known = id(service)
    one = above = service = None
    gc.collect()
    assert known not in _lives
    assert known not in _blocks


async def test_nothing_on_the_object() -> None:
    """What the object has and how it compares stays as it is, before, while and after it runs."""
    one, two = OfModel(), OfModel()
    assert vars(one) == {"value": 0}
    async with one:
        assert vars(one) == {"value": 1}
    assert one == two
    for thing in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(Data()))):  # noqa: S301 - its own
        async with thing:
            assert thing.running
            assert not one.running


async def test_equal_is_not_the_same() -> None:
    """Two that are equal are two, wherever they are named."""
    one, two = Data(), Data()
    assert one == two

    class Above(ServiceMixin):
        dependencies: Any = [one, two, one]  # noqa: RUF012 - an attribute does as well

    async with Above():
        assert (one.value, two.value) == (1, 1)
    assert (one.value, two.value) == (0, 0)


async def test_kept_alive_while_it_runs() -> None:
    """Who drops the last reference to a service in a block finds it again; it stops all the same."""
    stopped: list[str] = []

    class Forgotten(ServiceMixin):
        async def stop(self) -> None:
            stopped.append("stop")

    async def use() -> None:
        async with Forgotten():
            gc.collect()
            await anyio.lowlevel.checkpoint()

    await use()
    assert stopped == ["stop"]


def test_not_kept_alive_otherwise() -> None:
    """A service that nobody uses is collected, also if it was asked whether it runs."""
    service = Plain()
    assert not service.running
    gone = weakref.ref(service)
    del service
    gc.collect()
    assert gone() is None


def test_constructors_touch_no_event_loop() -> None:
    """Services are made and asked without an event loop, in any thread."""
    assert not Plain().running
    assert Plain().graceful_shutdown_timeout == 10
    assert list(Plain().dependencies) == []


def test_names() -> None:
    """ServiceMixin goes by two names."""
    assert AsyncioServiceMixin is ServiceMixin


@pytest.mark.parametrize("name", ["start", "stop"])
def test_async_or_not(name: str) -> None:
    """A start or stop of the wrong kind is refused while the class is made; the error shows the right one."""

    async def is_async(self: object) -> None:
        raise AssertionError

    def is_not(self: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match=rf"Bad\.{name} .*write `async def {name}\(self\)`"):
        type("Bad", (ServiceMixin,), {name: is_not})
    with pytest.raises(TypeError, match=rf"Bad\.{name} .*write `def {name}\(self\)`"):
        type("Bad", (BlockingServiceMixin,), {name: is_async})


async def test_start_that_is_replaced() -> None:
    """A start that an instance gets later, and that is not async, makes the start fail with an error that says so."""
    service: Any = Plain()
    service.start = lambda: 3
    with pytest.raises(TypeError, match=r"Plain\.start must be async; it returned 3"):
        async with service:
            raise AssertionError("was entered")
