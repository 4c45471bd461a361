"""`lifespan`: services that live as long as an application."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from structmode import OneForOneSupervisor, Service, ShutdownTimeout
from structmode.contrib.asgi import lifespan
from structmode.facet import ServiceMixin
from structmode.testing import VirtualClock, virtual_backend

from .things import Broken, Noting, until


class App:
    """Whatever a framework calls an application."""

    def __init__(self) -> None:
        self.feed: Noting | None = None


# --- In order ------------------------------------------------------------------------------------


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    """The services start in the order given before the body, and stop in reverse after it."""
    notes: list[str] = []
    alive = lifespan(Noting("a", notes), Noting("b", notes))
    async with alive(App()) as state:
        assert notes == ["a starts", "b starts"]
        assert state is None
    assert notes == ["a starts", "b starts", "b stops", "a stops"]


async def test_an_application_may_live_again() -> None:
    """The same services run in each life of the application, one after the other."""
    notes: list[str] = []
    alive = lifespan(Noting("a", notes))
    for _ in range(2):
        async with alive(App()):
            pass
    assert notes == ["a starts", "a stops"] * 2


async def test_services_are_made_for_each_life() -> None:
    """A function is called with the application in each life, and may return one service or several."""
    notes: list[str] = []

    def feed(app: App) -> Service:
        app.feed = Noting("feed", notes)
        return app.feed

    def others(app: App) -> Iterator[Service]:
        yield Noting("b", notes)
        yield Noting("c", notes)

    app, seen = App(), []
    alive = lifespan(Noting("a", notes), feed, others)
    for _ in range(2):
        async with alive(app):
            seen.append(app.feed)
    up = ["a starts", "feed starts", "b starts", "c starts"]
    down = ["c stops", "b stops", "feed stops", "a stops"]
    assert notes == [*up, *down] * 2
    assert seen[0] is not seen[1]


async def test_services_of_the_other_face() -> None:
    """What is made with `ServiceMixin` lives as long as the application, too."""

    class Mixed(ServiceMixin):
        pass

    mixed = Mixed()
    async with lifespan(mixed)(App()):
        assert mixed.running
    assert not mixed.running


async def test_state_for_requests() -> None:
    """What `state` returns of the application, when the services have started, is what the framework gets."""
    notes: list[str] = []
    app = App()

    def state(app: App) -> dict[str, Any]:
        return {"app": app, "notes": list(notes)}

    async with lifespan(Noting("a", notes), state=state)(app) as found:
        assert found == {"app": app, "notes": ["a starts"]}


async def test_a_failed_start_is_undone() -> None:
    """If a service can't start, those before it are stopped, and the error leaves as it was raised."""
    notes: list[str] = []
    alive = lifespan(Noting("a", notes), Noting("b", notes, refuses=True), Noting("c", notes))
    with pytest.raises(Broken, match=r"^b$"):
        async with alive(App()):
            raise AssertionError
    assert notes == ["a starts", "a stops"]


async def test_an_error_of_the_body_leaves() -> None:
    """What the framework raises inside leaves as it is, after the services have stopped."""
    notes: list[str] = []
    with pytest.raises(KeyError):
        async with lifespan(Noting("a", notes))(App()):
            raise KeyError("k")
    assert notes == ["a starts", "a stops"]


async def test_cancellation_stops_the_services() -> None:
    """If the server cancels the lifespan, the services have stopped before it ends."""
    notes: list[str] = []
    with anyio.CancelScope() as scope:
        async with lifespan(Noting("a", notes))(App()):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert notes == ["a starts", "a stops"]


async def test_cancellation_of_the_start() -> None:
    """If the server cancels the lifespan while it starts, what has started is stopped."""
    notes: list[str] = []

    class Slow(Service):
        async def on_start(self) -> None:
            notes.append("slow")
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:

        async def live() -> None:
            async with lifespan(Noting("a", notes), Slow())(App()):
                raise AssertionError

        group.start_soon(live)
        await until(lambda: "slow" in notes)
        group.cancel_scope.cancel()
    assert notes == ["a starts", "slow", "a stops"]


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_stop_has_a_limit(name: Literal["asyncio", "trio"]) -> None:
    """`shutdown_timeout` bounds the stop of all services; what is stuck is named."""

    class Stuck(Service):
        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    async def live() -> float:
        with VirtualClock():
            before = anyio.current_time()
            with pytest.raises(ShutdownTimeout, match="Stuck"):
                async with lifespan(Stuck(), shutdown_timeout=5)(App()):
                    pass
            return anyio.current_time() - before

    assert anyio.run(live, **virtual_backend(name)) >= 5


# --- Crashes -------------------------------------------------------------------------------------


async def test_a_crash_asks_the_server_to_stop(sigterms: list[int]) -> None:
    """At a crash the server gets its SIGTERM; the lifespan goes on until it says so, and then raises what it was."""
    notes: list[str] = []
    a, b = Noting("a", notes), Noting("b", notes)
    with pytest.raises(Broken, match=r"^a$") as caught:
        async with lifespan(a, b)(App()):
            a.break_down()
            await until(lambda: sigterms)
            await until(lambda: "a stops" in notes)
            await anyio.sleep(0)  # not cancelled
            notes.append("server has stopped")
    assert caught.value is a.crash_reason
    assert sigterms == [signal.SIGTERM]
    assert notes[-1] == "server has stopped"


async def test_a_crash_is_logged_at_once(
    sigterms: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is in the log with its traceback before the server has come to its end."""
    a = Noting("a", [])
    with pytest.raises(Broken):
        async with lifespan(a)(App()):
            a.break_down()
            await until(lambda: sigterms)
            [record] = [one for one in caplog.records if "The server is to stop" in one.message]
            assert record.levelno == logging.ERROR
            assert record.exc_info is not None
            assert record.exc_info[1] is a.crash_reason


async def test_a_supervised_crash_is_none(sigterms: list[int]) -> None:
    """A service that its supervisor restarts does not take the server down."""
    notes: list[str] = []
    feed = Noting("feed", notes)
    async with lifespan(OneForOneSupervisor(feed))(App()):
        feed.break_down()
        await until(lambda: notes.count("feed starts") == 2)
    assert sigterms == []


async def test_without_a_server_the_lifespan_ends_at_once() -> None:
    """Where SIGTERM has no handler, as in tests, no signal is raised: the body is cancelled, and the failure leaves."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    a = Noting("a", [])
    with pytest.raises(Broken):
        async with lifespan(a)(App()):
            a.break_down()
            await anyio.sleep_forever()


async def test_raising_touches_no_signals(sigterms: list[int]) -> None:
    """on_crash="raise" ends the lifespan at once, whoever handles signals."""
    a = Noting("a", [])
    with pytest.raises(Broken):
        async with lifespan(a, on_crash="raise")(App()):
            a.break_down()
            await anyio.sleep_forever()
    assert sigterms == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_is_told(sigterms: list[int], is_async: bool) -> None:
    """A function, async or not, is called with what the service crashed with, and nothing else is done."""
    told: list[BaseException] = []

    async def tell(reason: BaseException) -> None:
        await anyio.sleep(0)
        told.append(reason)

    a = Noting("a", [])
    with pytest.raises(Broken) as caught:
        async with lifespan(a, on_crash=tell if is_async else told.append)(App()):
            a.break_down()
            await until(lambda: told)
    assert told == [caught.value]
    assert sigterms == []


async def test_a_function_that_fails() -> None:
    """If the function that is told fails, the lifespan ends at once: nothing may be served without its services."""

    def tell(reason: BaseException) -> None:
        raise LookupError("server")

    a = Noting("a", [])
    with pytest.raises(Broken) as caught:
        async with lifespan(a, on_crash=tell)(App()):
            a.break_down()
            await anyio.sleep_forever()
    assert any("server" in note for note in caught.value.__notes__)


async def test_a_crash_while_the_rest_starts() -> None:
    """A service that crashes while another part of the lifespan starts calls that off, and is the reason."""
    notes: list[str] = []
    a = Noting("a", notes)

    @asynccontextmanager
    async def both(app: App) -> AsyncIterator[None]:
        async with lifespan(a)(app):
            a.break_down()
            await anyio.sleep_forever()
            raise AssertionError
            yield

    with pytest.raises(Broken):
        async with both(App()):
            raise AssertionError


def test_in_a_thread_no_signal_is_raised(sigterms: list[int], anyio_backend_name: str) -> None:
    """In another thread than the main one, where no server handles signals, the lifespan ends at once."""
    a = Noting("a", [])

    async def live() -> None:
        async with lifespan(a)(App()):
            a.break_down()
            await anyio.sleep_forever()

    caught: list[BaseException] = []

    def run() -> None:
        try:
            anyio.run(live, backend=anyio_backend_name)
        except Broken as exc:
            caught.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [a.crash_reason]
    assert sigterms == []


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_worker_process_without_handlers_is_left(
    handler: signal.Handlers, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a worker process that handles no signals, asyncio's loop is left by SystemExit; on trio the lifespan ends."""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    notes: list[str] = []
    a = Noting("a", notes)

    async def live() -> None:
        async with lifespan(a)(App()):
            a.break_down()
            await anyio.sleep_forever()

    before = signal.signal(signal.SIGTERM, handler)
    try:
        expected = Broken if anyio_backend_name == "trio" else SystemExit
        with pytest.raises(expected) as caught:
            anyio.run(live, backend=anyio_backend_name)
    finally:
        signal.signal(signal.SIGTERM, before)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 1
    assert notes == ["a starts", "a stops"]


# --- Mistakes ------------------------------------------------------------------------------------


wrong: Any = lifespan


def a_number(app: App) -> Any:
    return 7


def numbers(app: App) -> Any:
    return [7]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wrong(Noting), TypeError, r"not the class: write Noting\(\)"),
        (lambda: wrong("feed"), TypeError, "not 'feed'"),
        (lambda: wrong(on_crash="die"), ValueError, "'signal', 'raise', or a function"),
        (lambda: wrong(on_crash=None), ValueError, "not None"),
        (lambda: lifespan(shutdown_timeout="soon"), ValueError, "soon"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], error: type[Exception], text: str) -> None:
    """A wrong argument is refused where it is given, with what would be right."""
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("maker", [a_number, numbers])
async def test_a_function_that_makes_no_services(maker: Any) -> None:
    """A function that returns something else than services fails the start, by its name."""
    with pytest.raises(TypeError, match=rf"{maker.__name__} has to return a service or several"):
        async with lifespan(maker)(App()):
            raise AssertionError


async def test_no_services() -> None:
    """An application may have none."""
    async with lifespan()(App()):
        pass
