"""facet's face: services as mixins, with ``start``, ``stop``, ``dependencies`` and ``add_task``, and nothing else.

*A mixin costs nothing.* It has no ``__init__`` and no attributes, so a subclass need not call ``super().__init__()``, may have
``__slots__``, be a frozen dataclass, be hashable or not, or be a model of some library that counts attributes. What the engine
holds for an object is found by the object's identity, comes into being when it is first asked for, and goes when nobody uses
it any more; as long as it is there, it keeps the object alive, so that no other can have the same identity.

*The same engine.* An object's ``dependencies`` are its needs: they are up before its own ``start``, and stop after its own
``stop``; the engine hosts and counts what is shared (``_engine/_needs.py`` has the theory). ``start`` and ``stop`` are steps
that the engine calls. So the owner is whoever enters the object with ``async with``, or depends on it, or has been given it by
a `Service`; and all that the laws say of services holds here.

*No words of its own.* It neither sets up logging nor writes about starting and stopping. What nobody else would learn of, a
failure after the first or one that nobody receives, it does log.

`BlockingServiceMixin` is the same for code without an event loop. It has no tasks, so nothing runs between the start and the
stop, and the engine has no part in it: who enters is counted, and the last one to leave stops it.
"""

from __future__ import annotations

import inspect
import logging
import math
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar, cast

import anyio.lowlevel

from structmode import _engine as engine
from structmode._claims import claim, name_of
from structmode._engine import Task, WaitArg
from structmode._hooks import check_hooks
from structmode._mixing import HasLife, life_of
from structmode.exceptions import LifecycleError
from structmode.types.services import ServiceT
from structmode.utils.times import want_seconds

__all__ = ("AsyncioServiceMixin", "BlockingServiceMixin", "HasLife", "ServiceMixin")

T = TypeVar("T")
_logger = logging.getLogger(__name__)

# What is held for objects, by their identity. A life holds its object, and is held by whoever uses it.
_lives: weakref.WeakValueDictionary[int, engine.Life] = weakref.WeakValueDictionary()
# The blocks that objects are in; they hold the lives, also when nothing runs in them any more.
_blocks: dict[int, engine.OwnedBlock] = {}
_lock = threading.Lock()


# --- What both kinds have in common ---------------------------------------------------------------


def _grouped(service: Any, kind: str) -> Iterator[list[object]]:
    """Yield what `service.dependencies` names, group by group.

    Raises:
        TypeError: If that is not what it should be.
    """
    declared = service.dependencies
    name = f"{type(service).__qualname__}.dependencies"
    if callable(declared):
        raise TypeError(f"{name} is a method: put @property before it")
    if not _is_group(declared):
        raise TypeError(
            f"{name} must be a list of {kind}, or of lists of them that start at the same time; it is {declared!r}"
        )
    for item in cast("Iterable[object]", declared):
        yield list(cast("Iterable[object]", item)) if _is_group(item) else [item]


def _is_group(thing: object) -> bool:
    if isinstance(thing, str | bytes | Mapping | type) or _is_service(thing):
        return False
    return isinstance(thing, Iterable)


def _is_service(thing: object) -> bool:
    return isinstance(thing, BlockingServiceMixin) or hasattr(type(thing), "_structmode_life")


def _refuse(service: object, candidate: object, kind: str) -> TypeError:
    name = f"{type(service).__qualname__}.dependencies"
    if isinstance(candidate, type):
        return TypeError(
            f"{name} names the class {candidate.__qualname__}: it must name an instance, made before, such as self.part"
        )
    if isinstance(candidate, BlockingServiceMixin):
        return TypeError(
            f"{name} names {candidate!r}, which is a blocking service: this one is async"
        )
    if _is_group(candidate):
        return TypeError(
            f"{name} is nested too deep: the first level is in sequence, the second in parallel, and there is no third"
        )
    return TypeError(f"{name} names {candidate!r}, which is no {kind}")


# --- The async face -------------------------------------------------------------------------------


class _FacetUnit:
    """A service of this face as the engine sees it."""

    step_names: Mapping[str, str] = MappingProxyType({"set_up": "start", "tear_down": "stop"})
    start_timeout = math.inf
    drain_timeout = 0.0

    def __init__(self, service: ServiceMixin) -> None:
        #: For others than the engine: whose unit this is.
        self.service: Any = service
        self._service = service

    @property
    def label(self) -> str:
        return type(self._service).__name__

    @property
    def subject(self) -> object:
        return self._service

    @property
    def stop_timeout(self) -> float:
        try:
            return want_seconds(self._service.graceful_shutdown_timeout)
        except (TypeError, ValueError) as exc:
            name = f"{type(self._service).__qualname__}.graceful_shutdown_timeout"
            raise type(exc)(f"{name}: {exc}") from None

    def renew(self) -> None:
        pass

    def first_set_up(self) -> None:
        pass

    def needs(self) -> list[list[engine.Life]]:
        groups = _grouped(self._service, "services")
        return [[self._want_life(candidate) for candidate in group] for group in groups]

    def _want_life(self, candidate: object) -> engine.Life:
        life = life_of(candidate)
        if life is None:
            raise _refuse(self._service, candidate, "service")
        return life

    async def set_up(self) -> None:
        await self._call("start")

    def work(self) -> Sequence[Task[Any]]:
        return ()

    async def ready(self) -> None:
        # So that what depends on it finds its tasks begun, on loops too that run what is new in random order.
        life = _lives.get(id(self._service))
        if life is not None:  # pragma: no branch - it runs, so there is one
            await life.current.tasks_begun()

    async def tear_down(self) -> None:
        await self._call("stop")

    def hold(self) -> None:
        pass

    def farewell(self) -> None:
        pass

    async def _call(self, name: str) -> None:
        awaitable = getattr(self._service, name)()
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"{type(self._service).__qualname__}.{name} must be async; it returned {awaitable!r}"
            )
        await awaitable

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        what = {"later": "One more failure", "unreceived": "A failure that nobody receives"}.get(
            fate
        )
        if what is not None:  # the first leaves the block, and needs no log
            _logger.error("%s, in %s of %s: %r", what, origin, self.label, exc, exc_info=exc)

    def on_child_failed(  # pragma: no cover - it has no children
        self, child: engine.Unit, exc: BaseException
    ) -> bool:
        return False

    def on_child_ended(self, child: engine.Unit) -> None:
        """It has no children."""

    def on_child_released(self, child: engine.Unit) -> None:
        """It has no children."""


def _life(service: ServiceMixin) -> engine.Life:
    """Return what the engine holds for a service; made now, if there is nothing yet."""
    with _lock:
        life = _lives.get(id(service))
        if life is None:
            life = _lives[id(service)] = engine.Life(_FacetUnit(service))
        return life


def _run_of(service: ServiceMixin) -> engine.Run | None:
    """Return the run of a service, while there is one."""
    life = _lives.get(id(service))
    return life.run if life is not None and life.alive else None


class ServiceMixin:
    """Makes a service of a class: it is started, after what it depends on, and stopped, before that.

        class Bot(ServiceMixin):
            def __init__(self, storage: Storage) -> None:
                self.storage = storage

            @property
            def dependencies(self) -> list[Storage]:
                return [self.storage]

            async def start(self) -> None:
                self.add_task(self.answer())

        async with Bot(Storage()) as bot:
            await bot.wait()

    No ``super()`` call is needed, of ``__init__`` or of anything else. `start` and `stop` say what is done; they are called by
    ``async with``, by `run`, by those that depend on the service, or by a `Service` that it was added to.

    On asyncio, uvloop and trio. Unlike in facet, a task that fails cancels the body of ``async with``, and its exception leaves
    the block as it was raised; and a service that runs has one owner, so it can't be entered twice.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if issubclass(cls, ServiceT):
            raise TypeError(
                f"{cls.__qualname__} has both Service and ServiceMixin as bases, and can be started as one of them only: leave one out; "
                "either may be a part of the other, as one of its `dependencies` or by add_dependency()"
            )
        check_hooks(cls, ("start", "stop"), ())

    def _structmode_life(self) -> engine.Life:
        """Return the life by which others hold it; other faces ask for it."""
        return _life(self)

    # -- To be overridden

    async def start(self) -> None:
        """What is done to start it, when all its dependencies are up; to be overridden, not to be called."""

    async def stop(self) -> None:
        """What is done to stop it, while its tasks and dependencies are still there; to be overridden, not to be called.

        Called if `start` has returned, whatever has happened since.
        """

    @property
    def dependencies(self) -> Iterable[HasLife | Iterable[HasLife]]:
        """The services that must be up before it starts, and until it has stopped; asked once, before each start.

        They start one after the other; those in a list of their own at the same time. They stop in reverse. One that several
        services depend on is started once, and stopped when the last of them has. They may be of this face, or a `Service`.
        """
        return []

    #: How long its stop may take in all, in seconds, a timedelta or a string, with dependencies that stop with it. Past it
    #: the rest is cancelled. It may be overridden by an attribute or by a property; type checkers allow both only for a
    #: type that says nothing.
    graceful_shutdown_timeout: Any = 10.0

    # -- To be used

    @property
    def running(self) -> bool:
        """Whether `start` has returned, and it has not been told to stop."""
        run = _run_of(self)
        return run is not None and run.state is engine.State.RUNNING and not run.stop_requested

    def add_task(self, coro: WaitArg[T], *, name: str | None = None) -> Task[T]:
        """Run something in the background, as a task of this service.

        An exception that leaves it crashes the service, and all that depend on it. It is cancelled and waited for when the
        service stops, after `stop` and before the dependencies. On a service that is stopping it is not run at all: its
        handle counts as cancelled.

        Args:
            coro: A coroutine, another awaitable, or an async callable.
            name: How the task is called in reports.

        Returns:
            A handle: await it for the result; ``cancel()``, ``done()``, ``result()`` and so on work as on a future.

        Raises:
            LifecycleError: If the service does not run: call it in `start`, or later.
            TypeError: If it can't be run.
            ValueError: If it is a coroutine that runs already, or was passed before.
        """
        try:
            run = self.__run("add_task()")
        except LifecycleError:
            engine.close_all([coro])
            raise
        work = engine.as_work(coro)
        claim(coro)
        handle: Task[T] = Task(work, name or name_of(coro))
        if run is None:  # what is left of a former run calls
            handle.discard_with_run()
            return handle
        return run.spawn(handle)

    async def wait(self) -> None:
        """Wait until it has stopped; if it crashes, this raises what it crashed of. A checkpoint in any case.

        In the service itself it returns when that has been told to stop. In the body of its block it ends with the body:
        the service stops when that is left.

        Raises:
            LifecycleError: If it does not run.
            BaseException: What it crashed of.
        """
        await anyio.lowlevel.checkpoint()
        run = self.__run("wait()")
        if run is None:
            return
        if run.contains_caller() or run.called_from_hook():
            await run.signal.wait()
            return
        await run.finished.wait()
        if run.crash_reason is not None:
            raise run.crash_reason

    async def run(self) -> None:
        """Start it, and wait until it stops; if it crashes, this raises what it crashed of.

        If the caller is cancelled, it is stopped in order, and then the cancellation goes on.

        Raises:
            BaseException: What made the start fail, what it crashed of, or what went wrong in its stop, as it was raised.
        """
        async with self:
            await self.wait()

    async def __aenter__(self) -> Self:
        if id(self) in _blocks or _run_of(self) is not None:
            raise LifecycleError(
                f"{type(self).__name__} can't be entered with `async with`: it runs already, and has one owner",
                "Enter it once, around all that uses it; or leave its start to those who depend on it",
            )
        block = _life(self).block()
        await block.__aenter__()
        _blocks[id(self)] = block
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block = _blocks.pop(id(self), None)
        if block is None:
            raise LifecycleError(
                f"{type(self).__name__} is not in an `async with` block",
                "Write: async with service: ...",
            )
        await block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the wait shields itself

    def __run(self, call: str) -> engine.Run | None:
        """Return the run that a call is meant for; None if it comes from what is left of a former one."""
        if _run_of(self) is None:
            raise LifecycleError(
                f"{call} of {type(self).__name__} was called while it does not run",
                "Call it in its start(), or later: async with service: ...",
            )
        run = _life(self).addressed()
        if run is not None:
            run.check_loop(call)
        return run


#: The same, by the longer name that facet has for it.
AsyncioServiceMixin = ServiceMixin


# --- The blocking face ----------------------------------------------------------------------------


class _Holding:
    """What is known of a blocking service, while anybody holds it, or is about to."""

    def __init__(self, service: BlockingServiceMixin) -> None:
        self.service = service
        self.lock = threading.RLock()
        self.holders = 0
        #: What it has acquired, in order.
        self.acquired: list[_Holding] = []
        self.busy = False
        self.running = False

    @property
    def label(self) -> str:
        return type(self.service).__name__

    def acquire(self) -> None:
        """Have it run, for one more."""
        with self.lock:
            if self.busy:
                raise LifecycleError(
                    f"{self.label} can't be started: it is being started or stopped, by a call that is further out",
                    "What it depends on can't depend on it in turn",
                )
            if not self.running:
                self._start()
            self.holders += 1
            _holdings_in_use[id(self.service)] = self

    def _start(self) -> None:
        self.busy = True
        try:
            for dependency in self._dependencies():
                dependency.acquire()
                self.acquired.append(dependency)
            self.service.start()
            self.running = True
        except BaseException as exc:
            for failure in self._let_go():
                engine.note(exc, f"later, while the start of {self.label} was undone", failure)
            raise
        finally:
            self.busy = False

    def _dependencies(self) -> list[_Holding]:
        found: dict[int, _Holding] = {}
        for group in _grouped(self.service, "blocking services"):
            for candidate in group:
                if not isinstance(candidate, BlockingServiceMixin):
                    raise _refuse(self.service, candidate, "blocking service")
                found.setdefault(id(candidate), _holding(candidate))
        return list(found.values())

    def release(self) -> list[BaseException]:
        """Hold it no more, for one; returns what went wrong, if that was the last."""
        with self.lock:
            self.holders -= 1
            if self.holders:
                return []
            _holdings_in_use.pop(id(self.service), None)
            self.running, self.busy = False, True
            failures: list[BaseException] = []
            try:
                self.service.stop()
            except BaseException as exc:  # noqa: ASYNC103, BLE001 - kept, and raised when the rest is done
                failures.append(exc)
            failures += self._let_go()
            self.busy = False
            return failures

    def _let_go(self) -> list[BaseException]:
        failures: list[BaseException] = []
        while self.acquired:
            failures += self.acquired.pop().release()
        return failures


_holdings: weakref.WeakValueDictionary[int, _Holding] = weakref.WeakValueDictionary()
_holdings_in_use: dict[int, _Holding] = {}


def _holding(service: BlockingServiceMixin) -> _Holding:
    with _lock:
        holding = _holdings.get(id(service))
        if holding is None:
            holding = _holdings[id(service)] = _Holding(service)
        return holding


class BlockingServiceMixin:
    """As `ServiceMixin`, for code without an event loop: ``with`` in place of ``async with``, and no tasks.

    It may be entered any number of times, also by several threads: it is started for the first, and stopped when the last has
    left. Dependencies are started one after the other, whatever lists they are in. A start that fails is undone. The first
    failure leaves; what goes wrong after it is noted on it.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hooks(cls, (), ("start", "stop"))

    def start(self) -> None:
        """What is done to start it, when all its dependencies are up; to be overridden, not to be called."""

    def stop(self) -> None:
        """What is done to stop it, while its dependencies are still up; to be overridden, not to be called."""

    @property
    def dependencies(self) -> Iterable[BlockingServiceMixin | Iterable[BlockingServiceMixin]]:
        """The services that must be up before it starts, and until it has stopped; asked once, before each start."""
        return []

    @property
    def running(self) -> bool:
        """Whether `start` has returned, and `stop` has not been called since."""
        holding = _holdings.get(id(self))
        return holding is not None and holding.running

    def __enter__(self) -> Self:
        _holding(self).acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        holding = _holdings_in_use.get(id(self))
        if holding is None:
            raise LifecycleError(
                f"{type(self).__name__} is not in a `with` block", "Write: with service: ..."
            )
        failures = holding.release()
        first = exc if exc is not None else next(iter(failures), None)
        if first is None:
            return
        for failure in failures:
            if failure is not first:
                engine.note(first, f"later, in the stop of {type(self).__name__}", failure)
        if first is not exc:
            raise first
