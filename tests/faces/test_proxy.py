"""A proxy of a service: every name reaches the service behind it, which is made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import anyio
import pytest

from structmode import LifecycleError, Service, ServiceBase, ServiceT, Worker
from structmode.events import LifecycleEvent, Started, subscribe
from structmode.proxy import ServiceProxy
from structmode.services import ServiceCallbacks
from structmode.supervisors import OneForOneSupervisor

PUBLIC = sorted(name for name in {*dir(Service), *dir(ServiceT)} if not name.startswith("_"))
#: It says of the class whether it can be instantiated.
OF_THE_CLASS = {"abstract"}


class Hands(Service):
    """The service behind the proxies of these tests."""

    def __post_init__(self) -> None:
        self.done: list[str] = []

    async def on_start(self) -> None:
        self.done.append("start")

    async def on_stop(self) -> None:
        self.done.append("stop")


class Glove(ServiceProxy):
    """A proxy as users write it."""

    @cached_property
    def _service(self) -> Hands:
        return Hands()


class Given(ServiceProxy):
    """A proxy of a service that is there already."""

    def __init__(self, service: Any) -> None:
        self.service = service
        super().__init__()

    @property
    def _service(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.service


# --- All members ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*PUBLIC, "__post_init__"} - OF_THE_CLASS))
def test_every_public_name_is_that_of_the_service_behind(name: str) -> None:
    """Read, set and deleted on the proxy, each name of `Service` is that of the service behind."""

    class Behind(Service):
        pass

    behind, mark = Behind(), object()
    proxy = Given(behind)
    vars(behind).pop(name, None)
    setattr(Behind, name, mark)
    assert getattr(proxy, name) is mark

    other = object()
    setattr(proxy, name, other)
    assert vars(behind)[name] is other
    assert name not in vars(proxy)

    delattr(proxy, name)
    assert name not in vars(behind)


def test_every_special_method_of_a_service_is_one_of_the_proxy() -> None:
    """Python looks special methods up in the class, past what forwards: each is written for proxies as well."""
    special = {
        name
        for cls in (Service, ServiceBase, ServiceT, ServiceCallbacks)
        for name, value in vars(cls).items()
        if name.startswith("__") and callable(getattr(value, "__func__", value))
    }
    assert {"__aenter__", "__aexit__", "__init__", "__repr__"} <= special
    assert special <= set(vars(ServiceProxy))


def test_the_class_answers_for_itself() -> None:
    """Asked of the class, a name of `Service` is what it is there."""
    assert Glove.start is Service.start
    assert Glove.label is Service.label
    assert Glove.shutdown_timeout == Service.shutdown_timeout
    assert isinstance(Glove.from_awaitable(anyio.sleep_forever), Service)


def test_settings_and_notes_of_supervisors() -> None:
    """What is set on a proxy is set on the service that reads it."""
    hands = Hands()
    proxy = Given(hands)
    proxy.shutdown_timeout = 3.0
    proxy.supervisor = supervisor = OneForOneSupervisor()
    assert (hands.shutdown_timeout, hands.supervisor) == (3.0, supervisor)


# --- When the service is made ---------------------------------------------------------------------


def test_nothing_is_made_before_it_is_needed() -> None:
    """Making and showing a proxy makes no service; the first question does, once."""
    made: list[Hands] = []

    class Late(ServiceProxy):
        @cached_property
        def _service(self) -> Hands:
            made.append(Hands())
            return made[-1]

    proxy = Late(loop="of a program written for mode")
    assert (repr(proxy), made) == ("<Late: not made yet>", [])
    assert (proxy.label, proxy.state, proxy.should_stop) == ("Hands", "init", False)
    assert repr(proxy) == f"<Late of {made[0]!r}>"
    assert len(made) == 1


# --- As a service ---------------------------------------------------------------------------------


async def test_a_proxy_is_started_and_stopped() -> None:
    """`async with`, `start` and `stop` of a proxy are those of the service behind; the block is given the proxy."""
    proxy = Glove()
    async with proxy as inside:
        assert inside is proxy
        assert (proxy.state, proxy.started) == ("running", True)
        await proxy.restart()
    assert (proxy.state, proxy.restart_count) == ("shutdown", 1)
    assert await proxy.maybe_start()
    await proxy.stop()
    assert proxy._service.done[-2:] == ["start", "stop"]


async def test_a_proxy_as_a_child() -> None:
    """A proxy is added, started, stopped and removed as a service; in the tree stands the service behind."""

    class Body(Service):
        def __post_init__(self) -> None:
            self.glove = self.add_dependency(Glove())

    async with Body() as body:
        glove = body.glove
        assert type(glove) is Glove
        assert [node.data for node in body.beacon.children] == [glove._service]
        assert glove.beacon.path == "Body/Hands"
        await body.remove_dependency(glove)
        assert (glove.state, body.beacon.children) == ("shutdown", ())
        assert await body.add_runtime_dependency(glove) is glove
        assert glove.started
    assert not glove.started


async def test_children_work_and_contexts_of_a_proxy() -> None:
    """What is added to a proxy belongs to the service behind."""
    proxy, finger = Glove(), Service()
    proxy.add_dependency(finger)
    async with proxy:
        assert finger.started
        assert finger.beacon.parent is proxy.beacon
        assert await proxy.add_future(_answer) == 42
        assert (await proxy.wait(_answer)).result == 42
    assert not finger.started


async def _answer() -> int:
    await anyio.lowlevel.checkpoint()
    return 42


async def test_a_crash_behind_a_proxy_leaves_its_block() -> None:
    """A crash of the service behind is one of the proxy: the block ends with its reason."""
    reason = ValueError("behind")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - which it is, is looked at
        async with Glove() as proxy:
            await proxy.crash(reason)
            await anyio.sleep_forever()
    assert caught.value is reason
    assert (proxy.crashed, proxy.crash_reason, proxy.failures) == (True, reason, (reason,))


async def test_a_proxy_in_a_worker() -> None:
    """A worker takes a proxy for a service."""
    proxy = Glove()
    async with Worker(proxy) as worker:
        assert worker.services == (proxy,)
        assert proxy.started
    assert proxy._service.done == ["start", "stop"]


async def test_a_proxy_under_a_supervisor() -> None:
    """A supervisor restarts the service behind a proxy, and lets go of it when it is told to."""
    proxy = Glove()
    async with OneForOneSupervisor(proxy) as supervisor:
        before = proxy.restart_count
        await proxy.crash(ValueError("a hole"))
        while proxy.restart_count == before or proxy.state != "running":
            await anyio.sleep(0.001)
        assert proxy.supervisor is supervisor
        supervisor.discard(proxy)
        while proxy.started:  # noqa: ASYNC110 - discarded in the background
            await anyio.lowlevel.checkpoint()
        assert proxy.supervisor is None
        assert supervisor.state == "running"
    assert proxy.state == "shutdown"


async def test_a_proxy_of_a_proxy() -> None:
    """A proxy may stand for another one."""
    outer = Given(Glove())
    async with outer:
        assert outer.service._service.state == "running"
    assert outer.state == "shutdown"


async def test_a_subclass_overrides_and_asks_its_super() -> None:
    """What the class of a proxy overrides is its own; `super()` there is the service behind, with what that overrides."""
    called: list[str] = []

    class Behind(Service):
        async def start(self) -> None:
            called.append("behind")
            await super().start()

    class Telling(ServiceProxy):
        @cached_property
        def _service(self) -> Behind:
            return Behind()

        async def start(self) -> None:
            called.append("proxy")
            await super().start()

        @property
        def label(self) -> str:
            return f"telling {super().label}"

    proxy = Telling()
    await proxy.start()
    assert (called, proxy.label) == (["proxy", "behind"], "telling Behind")
    await proxy.stop()


async def test_events_are_about_the_service_behind() -> None:
    """What is told of a proxy's life is told of the service behind."""
    events: list[LifecycleEvent] = []
    unsubscribe = subscribe(events.append)
    async with Glove() as proxy:
        pass
    unsubscribe()
    assert Started(proxy._service) in events


# --- Mistakes -------------------------------------------------------------------------------------


def test_a_proxy_of_nothing() -> None:
    """A class that does not say which service it stands for is refused with what to write."""

    class Empty(ServiceProxy):
        pass

    with pytest.raises(TypeError, match=r"Empty does not say .*\n    @cached_property"):
        Empty()

    class Circular(ServiceProxy):
        @cached_property
        def _service(self) -> ServiceT:
            return super()._service

    with pytest.raises(TypeError, match="Circular does not say"):
        _ = Circular().label
    with pytest.raises(TypeError, match="ServiceProxy does not say"):
        ServiceProxy()


@pytest.mark.parametrize("wrong", [None, Hands, "hands"])
def test_a_proxy_of_no_service(wrong: object) -> None:
    """A `_service` that is no instance of `Service` is named."""
    with pytest.raises(
        TypeError, match=r"Given\._service must return an instance of Service, not"
    ):
        _ = Given(wrong).state


@pytest.mark.parametrize("kind", [lambda fun: fun, staticmethod, classmethod])
def test_a_proxy_whose_service_is_a_method(kind: Callable[[Any], Any]) -> None:
    """A forgotten decorator is told while the class is made, with the place."""

    def _service(self: object) -> Service:
        return Hands()

    with pytest.raises(
        TypeError,
        match=r"test_proxy\.py:\d+: Late\._service is a method: put @cached_property before it",
    ):
        type("Late", (ServiceProxy,), {"_service": kind(_service)})


async def test_a_proxy_of_what_is_shown_by_way_of_the_proxy() -> None:
    """The error does not show it, and so comes to an end; whatever is asked, the repr included."""
    proxy = Given(None)
    proxy.service = proxy.__aenter__
    wrong = r"Given\._service must return an instance of Service, not one of type method"
    for use in (repr, lambda it: it.state, Service().add_dependency):
        with pytest.raises(TypeError, match=wrong):
            use(proxy)
    with pytest.raises(TypeError, match=wrong):
        await proxy.start()


def test_a_proxy_of_itself() -> None:
    """A proxy can't stand for itself."""
    proxy = Given(None)
    proxy.service = proxy
    with pytest.raises(TypeError, match="is the proxy itself"):
        _ = proxy.state


def test_work_and_settings_in_the_class_of_a_proxy() -> None:
    """Tasks and settings in the class of a proxy would do nothing, so they are refused."""
    with pytest.raises(TypeError, match=r"Working\.work would have no effect"):

        class Working(Glove):
            @Service.task
            async def work(self) -> None: ...

    with pytest.raises(TypeError, match=r"Slow\.shutdown_timeout would have no effect"):

        class Slow(Glove):
            shutdown_timeout = 100.0


async def test_refusals_name_the_service_behind() -> None:
    """What a service refuses, its proxy refuses as well."""
    async with Glove() as proxy:
        with pytest.raises(LifecycleError, match="Hands can't be started"):
            await proxy.start()
