"""`AsgiServer`: an application as a service, on a real server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from h2.connection import H2Connection
from hypercorn.config import Config
from starlette.applications import Starlette

from structmode import LifecycleError, OneForOneSupervisor, ServiceT, ShutdownTimeout
from structmode._engine import on_trio
from structmode.contrib.asgi import AsgiServer, LifespanFailed, WithServices, lifespan

from .things import Broken, Noting, get, greet, until

UNIX_SOCKETS = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets on this platform"
)


async def status(server: AsgiServer) -> int:
    """Send a request; return the status of the answer."""
    return (await get(server)).status


class Held:
    """An application whose requests are held until they are let go."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cancelled = 0
        self.go = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer when it is let go."""
        if scope["type"] == "lifespan":
            return
        self.waiting += 1
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        await greet(scope, receive, send)


# --- Serving -------------------------------------------------------------------------------------


async def test_it_serves_when_it_has_started() -> None:
    """As soon as the start returns, requests are answered, on loopback, at a port that is free; after the stop none is."""
    server = AsgiServer(greet)
    assert server.addresses == ("127.0.0.1:0",)
    async with server:
        assert server.port
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.addresses == (f"127.0.0.1:{server.port}",)
        assert server.addresses[0] in repr(server)
        assert await status(server) == 200
    with pytest.raises(OSError, match=r"connect|refused"):
        await anyio.connect_tcp("127.0.0.1", server.port)


async def test_it_starts_again_at_the_same_port() -> None:
    """A restart keeps the port, so that clients find it again."""
    async with AsgiServer(greet) as server:
        port = server.port
        await server.restart()
        assert server.port == port
        assert await status(server) == 200


async def test_several_addresses() -> None:
    """It may listen in several places."""
    async with AsgiServer(greet, ["127.0.0.1:0", "localhost:0"]) as server:
        for address in server.addresses:
            host, _, port = address.partition(":")
            async with await anyio.connect_tcp(host, int(port)):
                pass
        assert server.url == f"http://{server.addresses[0]}"


async def test_where_it_serves_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The log says where it serves, and nothing of Hypercorn's words about Ctrl-C, nor are handlers added to it."""
    caplog.set_level("INFO")
    async with AsgiServer(greet) as server:
        [message] = [one.message for one in caplog.records if "Serving" in one.message]
        assert message == f"[^AsgiServer]: Serving on {server.url}"
    assert "CTRL" not in caplog.text


async def test_hypercorn_may_be_configured() -> None:
    """Everything that is Hypercorn's may be set, but where to listen."""

    class OfOurs(Config):
        include_server_header = False

    config = OfOurs()
    config.bind = ["127.0.0.1:1"]
    config.errorlog = None
    async with AsgiServer(greet, config=config) as server:
        assert "server: " not in (await get(server)).head
    async with AsgiServer(greet) as server:
        assert "server: hypercorn" in (await get(server)).head


async def test_it_serves_by_tls() -> None:
    """With a certificate in the configuration, it serves by TLS."""
    pem = Path(__file__).parent / "programs" / "here.pem"
    config = Config()
    config.certfile = config.keyfile = str(pem)
    context = ssl.create_default_context(cafile=str(pem))
    async with AsgiServer(greet, config=config) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        async with await anyio.connect_tcp(
            "127.0.0.1", server.port, ssl_context=context, tls_standard_compatible=False
        ) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
        assert answer.startswith(b"HTTP/1.1 200")


async def test_requests_find_the_state() -> None:
    """What the lifespan puts into its state, each request finds in a copy of its own."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = 7
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(dict(scope["state"]))
        scope["state"]["mine"] = True
        await greet(scope, receive, send)

    async with AsgiServer(app) as server:
        assert [await status(server), await status(server)] == [200, 200]
    assert seen == [{"pool": 7}] * 2


async def test_a_broken_request_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    """A request that fails is answered with 500, logged, and no matter for the service."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise Broken("request")

    async with AsgiServer(app) as server:
        assert await status(server) == 500
        assert not server.crashed
    assert "Broken: request" in caplog.text


async def send_bytes(server: AsgiServer, data: bytes) -> bytes:
    """Send bytes over a connection of its own; return what comes back until it is closed."""
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        await stream.send(data)
        with suppress(anyio.BrokenResourceError), anyio.move_on_after(5):
            async for chunk in stream:
                received += chunk
    return received


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    "data",
    [
        HANDSHAKE + b"sec-websocket-protocol: \xff\r\n\r\n",
        HANDSHAKE + b"\r\nGET / HTTP/1.1\r\nhost: here\r\n\r\n",
        HANDSHAKE + b"\r\n" + b"\0" * 20,
    ],
    ids=["no text", "two requests", "noise"],
)
@pytest.mark.parametrize("detailed", [False, True])
async def test_a_client_that_breaks_its_connection(
    data: bytes, detailed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client sends ends its own connection at the most; others are served, and go on being served."""
    caplog.set_level("DEBUG" if detailed else "INFO", logger="structmode.contrib.asgi")
    app = Held()
    async with AsgiServer(app) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as other:
            await other.send(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            await until(lambda: app.waiting)
            app.go, go = anyio.Event(), app.go
            app.go.set()
            _ = await send_bytes(server, data)
            assert await status(server) == 200
            go.set()
            assert (await other.receive()).startswith(b"HTTP/1.1 200")
    told = [one for one in caplog.records if one.message.startswith("A connection has failed")]
    assert len(told) == 1 or "sec-websocket-protocol" not in str(
        data
    )  # others may be closed without a word
    for record in told:
        assert "ExceptionGroup" not in record.message
        assert bool(record.exc_info) == detailed


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel drops no client")
async def test_a_client_that_stops_reading(caplog: pytest.LogCaptureFixture) -> None:
    """A client that does not read is dropped; that is no failure of the application, and no error in the log."""
    sent = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            part = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
            await send(part)
        sent.set()

    async with AsgiServer(app, stall_timeout=0.1) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            await sent.wait()
            await until(lambda: not server._connections)
    ours = [one for one in caplog.records if "Executing" not in one.getMessage()]  # a slow machine
    assert [one.getMessage() for one in ours if one.levelname != "INFO"] == []


@pytest.mark.parametrize("listens", [False, True])
async def test_a_long_body_that_nobody_has_read(listens: bool) -> None:
    """An application that answers late, and without having read it, can end its answer, and is told that it has."""
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await anyio.sleep(0.1)  # until the server holds as much of it as it will
        await greet(scope, receive, send)
        if listens and scope["method"] == "POST":
            while told[-2:] != ["http.disconnect"] * 2:
                told.append((await receive())["type"])

    async with AsgiServer(app) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            head = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 9999999\r\n\r\n"
            async with anyio.create_task_group() as group:
                group.start_soon(pour, stream, head)
                with anyio.fail_after(20.0):
                    assert (await stream.receive()).startswith(b"HTTP/1.1 200")
                    await until(lambda: not server._requests)
                group.cancel_scope.cancel()
        assert await status(server) == 200
    assert told.count("http.disconnect") == (2 if listens else 0)


async def pour(stream: anyio.abc.ByteSendStream, head: bytes) -> None:
    """Send a long body, as far as it is taken."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await stream.send(head)
        for _ in range(1000):
            await stream.send(bytes(9000))


async def test_a_request_with_a_limit_of_its_own() -> None:
    """An application that is cut short in mid-answer gets no half of it on the way: the client is told that it failed."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        with anyio.CancelScope() as limit:
            limit.cancel()
            await greet(scope, receive, send)

    async with AsgiServer(app) as server:
        assert [await status(server), await status(server)] == [500, 500]


async def test_an_application_that_exits() -> None:
    """What an application means to end the program with leaves the server as it was raised."""
    if not on_trio():
        return  # asyncio leaves its loop at once

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise SystemExit(7)

    with pytest.raises(SystemExit, match="7"):
        async with AsgiServer(app) as server:
            await get(server)
            await anyio.sleep_forever()


async def test_small_answers_are_not_held_back() -> None:
    """Answers go out at once, however small, and whatever the event loop does by itself."""
    async with AsgiServer(greet) as server:
        assert server._listeners[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- Unix sockets --------------------------------------------------------------------------------


async def ask_unix(path: Path) -> bytes:
    """Send a request to a unix socket; return the first line of the answer."""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        return (await stream.receive()).splitlines()[0]


@UNIX_SOCKETS
async def test_a_unix_socket_is_private(tmp_path: Path) -> None:
    """Nobody but the user may connect to a unix socket, and its file goes with the server."""
    path = tmp_path / "web"
    async with AsgiServer(greet, f"unix:{path}") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.addresses == (f"unix:{path}",)
        assert (await ask_unix(path)).startswith(b"HTTP/1.1 200")
        with pytest.raises(LifecycleError, match="has no TCP port"):
            _ = server.url
    assert not path.exists()


@UNIX_SOCKETS
async def test_a_unix_socket_that_was_left_behind(tmp_path: Path) -> None:
    """The file that a killed server has left is taken over."""
    path = tmp_path / "web"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with AsgiServer(greet, f"unix:{path}"):
        assert (await ask_unix(path)).startswith(b"HTTP/1.1 200")


@UNIX_SOCKETS
async def test_a_unix_socket_in_use(tmp_path: Path) -> None:
    """A unix socket that somebody listens on is not taken away from them."""
    path = tmp_path / "web"
    async with AsgiServer(greet, f"unix:{path}"):
        with pytest.raises(OSError, match="somebody listens there already"):
            await AsgiServer(greet, f"unix:{path}").start()
        assert (await ask_unix(path)).startswith(b"HTTP/1.1 200")


@UNIX_SOCKETS
async def test_a_unix_socket_whose_path_is_too_long(tmp_path: Path) -> None:
    """A path that is too long for a socket is refused in words, and by no number that there is not."""
    path = tmp_path / ("x" * 120)
    with pytest.raises(OSError, match=r"^can't serve on unix:.*too long"):
        await AsgiServer(greet, f"unix:{path}").start()


@UNIX_SOCKETS
async def test_a_unix_socket_with_a_full_queue(tmp_path: Path) -> None:
    """A unix socket whose owner does not get round to accepting is not taken away either, and nobody waits for it."""
    path = tmp_path / "web"
    with ExitStack() as open_sockets:
        busy = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        with suppress(BlockingIOError):
            while True:
                one = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(path))
        with pytest.raises(OSError, match="somebody listens there already"):
            await AsgiServer(greet, f"unix:{path}").start()


def test_where_there_are_no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform without unix sockets, asking for one is refused as such."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ValueError, match="no unix sockets on this platform"):
        AsgiServer(greet, "unix:/web")


@UNIX_SOCKETS
async def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    """A file of another kind is left alone."""
    path = tmp_path / "web"
    path.write_text("mine")
    with pytest.raises(OSError, match="it is no socket"):
        await AsgiServer(greet, f"unix:{path}").start()
    assert path.read_text() == "mine"


@pytest.mark.parametrize("replaced", [False, True])
@UNIX_SOCKETS
async def test_a_file_that_is_somebody_elses_by_now(tmp_path: Path, replaced: bool) -> None:
    """The stop does not remove a file that somebody has put in the socket's place, and bears with none at all."""
    path = tmp_path / "web"
    async with AsgiServer(greet, f"unix:{path}"):
        path.unlink()
        if replaced:
            (tmp_path / "other").write_text("theirs")
            (tmp_path / "other").rename(path)
    assert path.exists() == replaced


@UNIX_SOCKETS
async def test_a_socket_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes with the server, wherever the process has gone meanwhile."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with AsgiServer(greet, "unix:web"):
        assert (tmp_path / "web").exists()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (tmp_path / "web").exists()


# --- The start -----------------------------------------------------------------------------------


async def test_a_port_in_use_fails_the_start() -> None:
    """A port in use makes the start fail, by its address, before the application is started up."""
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        app = WithServices(greet, Noting("a", notes))
        with pytest.raises(OSError, match=f"can't serve on {address}"):
            await AsgiServer(app, address).start()
    assert notes == []


async def test_the_lifespan_is_around_the_server() -> None:
    """The application is started up before it is served, and shut down after the last request."""
    notes: list[str] = []
    server = AsgiServer(WithServices(greet, Noting("a", notes)))
    async with server:
        assert notes == ["a starts"]
        assert await status(server) == 200
        notes.append("served")
    assert notes == ["a starts", "served", "a stops"]


async def test_a_failed_start_up_fails_the_start() -> None:
    """What keeps the application from starting up leaves the start as it was raised, and the port is free again."""
    server = AsgiServer(WithServices(greet, Noting("a", [], refuses=True)))
    with pytest.raises(Broken, match=r"^a$"):
        await server.start()
    assert server.state == "init"
    with pytest.raises(OSError, match=r"connect|refused"):
        await anyio.connect_tcp("127.0.0.1", server.port)


def speaks(*messages: str, then: str = "return", **more: Any) -> Any:
    """Return an application that says these things in its lifespan, one per stage, and then does something."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await greet(scope, receive, send)
            return
        for message in messages:
            await receive()
            await send({"type": f"lifespan.{message}", **more})
        if then == "raise":
            raise Broken("lifespan")
        if then == "exit":
            raise SystemExit(7)
        if then == "stay":
            await anyio.sleep_forever()
        if then == "listen":
            while True:
                await receive()

    return app


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an application that has failed tell the reason at once, or never."""
    monkeypatch.setattr("structmode.contrib.asgi._conversation.PATIENCE", 0.05)


@pytest.mark.usefixtures("little_patience")
@pytest.mark.parametrize("then", ["return", "raise", "listen", "stay"])
async def test_an_application_that_says_it_failed(then: str) -> None:
    """An application that says that its start-up failed fails the start: with what it raises, or else what it said."""
    server = AsgiServer(speaks("startup.failed", then=then, message="no database"))
    with pytest.raises(Exception, match=r"no database|lifespan") as caught:
        await server.start()
    if then == "raise":
        assert isinstance(caught.value, Broken)
    else:
        assert isinstance(caught.value, LifespanFailed)
        assert (caught.value.stage, caught.value.message) == ("startup", "no database")


async def test_an_application_that_fails_without_a_word() -> None:
    """A failure that says nothing is told as such."""
    with pytest.raises(LifespanFailed, match="did not say why"):
        await AsgiServer(speaks("startup.failed")).start()


@pytest.mark.parametrize("stages", [(), ("startup.failed",)])
async def test_an_application_that_exits_while_it_starts_up(stages: tuple[str, ...]) -> None:
    """What means to end the program is no want of a lifespan: it leaves the start."""
    with pytest.raises(SystemExit, match="7"):
        await AsgiServer(speaks(*stages, then="exit")).start()


@pytest.mark.parametrize("then", ["return", "raise"])
async def test_an_application_without_a_lifespan(then: str) -> None:
    """An application that does not know lifespans is served without one."""
    async with AsgiServer(speaks(then=then)) as server:
        assert await status(server) == 200


@pytest.mark.parametrize(
    "stages", [("startup.complete",), ("startup.complete", "shutdown.complete")]
)
async def test_an_application_that_goes_on_listening(stages: tuple[str, ...]) -> None:
    """One that ends early, or never ends, is shut down all the same."""
    then = "return" if len(stages) == 1 else "listen"
    async with AsgiServer(speaks(*stages, then=then)) as server:
        assert await status(server) == 200


async def test_nonsense_in_a_lifespan() -> None:
    """A message that there is not is refused where it is sent."""
    with pytest.raises(ValueError, match=r"'lifespan\.maybe' is no message") as caught:
        async with AsgiServer(speaks("startup.complete", "maybe")):
            pass
    assert not isinstance(caught.value, LifespanFailed)


async def test_a_cancelled_start_is_undone() -> None:
    """A start that is cancelled while the application starts up leaves nothing behind."""
    reached = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.set()
        await anyio.sleep_forever()

    server = AsgiServer(app)
    async with anyio.create_task_group() as group:
        group.start_soon(server.start)
        await reached.wait()
        group.cancel_scope.cancel()
    assert server.state == "init"


# --- The stop ------------------------------------------------------------------------------------


async def test_requests_in_flight_are_finished() -> None:
    """A stop lets requests end that are being answered, and takes no new ones."""
    app = Held()
    server = AsgiServer(app, graceful_timeout=3600)
    async with anyio.create_task_group() as group:
        async with server:
            found: list[int] = []

            async def ask() -> None:
                found.append(await status(server))

            group.start_soon(ask)
            await until(lambda: app.waiting)
            group.start_soon(server.stop)
            await until(lambda: server.should_stop)
            app.go.set()
            await until(lambda: found)
    assert found == [200]
    assert app.cancelled == 0


async def test_requests_that_take_too_long_are_cut() -> None:
    """After `graceful_timeout` requests are cancelled, and the stop ends without an error."""
    app = Held()
    server = AsgiServer(app, graceful_timeout=0.05)
    async with anyio.create_task_group() as group:
        async with server:

            async def ask() -> None:
                assert await status(server) in {0, 500}

            group.start_soon(ask)
            await until(lambda: app.waiting)
            await server.stop()
    assert app.cancelled == 1
    assert server.failures == ()


class Impatient(AsgiServer):
    """A server whose stop is forced long before its requests would be cut."""

    shutdown_timeout = 0.05


async def test_a_forced_stop() -> None:
    """When the time of the stop is over, requests are cancelled at once, nothing is left, and the error is the timeout."""
    app = Held()
    server = Impatient(app, graceful_timeout=3600)
    async with anyio.create_task_group() as group:
        await server.start()

        async def ask() -> None:
            assert await status(server) in {0, 500}

        group.start_soon(ask)
        await until(lambda: app.waiting)
        with pytest.raises(ShutdownTimeout, match="_serve") as caught:
            await server.stop()
    assert app.cancelled == 1
    assert server.failures == (caught.value,)


@pytest.fixture
def little_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have connections cut soon after their requests."""
    monkeypatch.setattr("structmode.contrib.asgi._server.MARGIN", 0.1)


class Committing:
    """An application whose requests do what must not be cut, and which notes what becomes of it.

    Args:
        notes: The notes.
        in_thread: Whether it is done in a thread, or under a shield.
    """

    def __init__(self, notes: list[str], *, in_thread: bool = False) -> None:
        self.notes = notes
        self.begun = False
        self.go = threading.Event() if in_thread else anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Commit what a request asks for, once that may go on."""
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                self.notes.append(stage)
                await send({"type": f"lifespan.{stage}.complete"})
            return
        self.begun = True
        if isinstance(self.go, threading.Event):
            await anyio.to_thread.run_sync(self.go.wait)
        else:
            with anyio.CancelScope(shield=True):
                await self.go.wait()
        self.notes.append("commit")
        await anyio.lowlevel.checkpoint()
        self.notes.append("answer")


def in_http2(*requests: tuple[str, str]) -> H2Connection:
    """Return the client's end of a connection that asks for these at once; what is posted may be sent later."""
    talk = H2Connection()
    talk.initiate_connection()
    for method, path in requests:
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "here")]
        stream = talk.get_next_available_stream_id()
        talk.send_headers(stream, head, end_stream=method == "GET")
    return talk


@pytest.mark.usefixtures("little_margin")
@pytest.mark.parametrize(
    ("in_thread", "http2"),
    [(False, False), (True, False), (False, True)],
    ids=["", "thread", "h2"],
)
async def test_a_request_that_must_not_be_cut(in_thread: bool, http2: bool) -> None:
    """A stop cancels requests by no other means than scopes do: shields and threads hold, and it waits for them."""
    notes: list[str] = []
    app = Committing(notes, in_thread=in_thread)
    async with (
        AsgiServer(app, graceful_timeout=0.05) as server,
        anyio.create_task_group() as group,
    ):
        async with await anyio.connect_tcp("127.0.0.1", server.port) as client:
            plain = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
            await client.send(in_http2(("GET", "/")).data_to_send() if http2 else plain)
            await until(lambda: app.begun)
            group.start_soon(server.stop)
            with suppress(anyio.BrokenResourceError):
                async for _ in client:  # until the connection is cut
                    pass
        await until(lambda: not server._connections)
        assert server.state == "stopping"
        assert notes == ["startup"]
        app.go.set()
    assert notes == ["startup", "commit", "shutdown"]


@pytest.mark.usefixtures("little_margin")
async def test_a_request_that_holds_the_stop_up() -> None:
    """A request that does not end in time makes the stop fail, and is what the error names."""
    app = Committing([])
    server = AsgiServer(app, graceful_timeout=0.05)
    server.shutdown_timeout = 0.3
    await server.start()
    async with await anyio.connect_tcp("127.0.0.1", server.port) as client:
        await client.send(b"GET /commit%0A HTTP/1.1\r\nhost: here\r\n\r\n")
        await until(lambda: app.begun)
        async with anyio.create_task_group() as group:

            async def let_go() -> None:
                await until(lambda: server.failures)
                app.go.set()

            group.start_soon(let_go)
            with pytest.raises(ShutdownTimeout, match=r"request for '/commit\\n'\n.*in __call__"):
                await server.stop()
    assert app.notes == ["startup", "commit", "shutdown"]


async def test_a_request_whose_connection_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Requests whose connection fails are cancelled as a scope does it, too: here over a body that nobody waits for."""
    committing = Committing([])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (greet if scope.get("path") == "/now" else committing)(scope, receive, send)

    talk = in_http2(("POST", "/now"), ("GET", "/"))
    async with AsgiServer(app) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as client:
            await client.send(talk.data_to_send())
            await until(lambda: committing.begun)
            while b"hello" not in await client.receive():
                pass
            talk.send_data(1, b"late")
            await client.send(talk.data_to_send())
            await until(lambda: "A connection has failed" in caplog.text)
        committing.go.set()
        await until(lambda: not server._requests)
    assert committing.notes == ["startup", "commit", "shutdown"]


@pytest.mark.usefixtures("little_margin")
async def test_a_connection_that_asks_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A client that speaks HTTP/2 and has not asked for anything is cut in the end; that is no error."""
    async with AsgiServer(greet, graceful_timeout=0.05) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as client:
            await client.send(in_http2().data_to_send())
            await client.receive()
            await server.stop()
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


async def test_a_request_in_the_instant_of_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes after the stop was asked for, and before connections are closed, is refused."""
    go = anyio.Event()

    async def stop_accepting(listeners: object) -> None:
        await go.wait()

    monkeypatch.setattr("structmode.contrib.asgi._hypercorn.stop_accepting", stop_accepting)
    async with AsgiServer(greet) as server, anyio.create_task_group() as group:
        group.start_soon(server.stop)
        await until(lambda: server.should_stop)
        answer = await get(server)
        go.set()
    assert answer.status == 503
    assert "Out of service" in answer.text


def hypercorn_that_fails(monkeypatch: pytest.MonkeyPatch, go: anyio.Event | None = None) -> None:
    """Have Hypercorn end with an error of asyncio's, as it does when it is cancelled while it closes its connections."""

    going = go or anyio.Event()

    async def serve(app: object, config: Any, **kwargs: Any) -> None:
        import asyncio  # it runs among the names of Hypercorn's module

        config.create_sockets()
        try:
            await going.wait()
        finally:
            asyncio.get_running_loop().create_future().exception()

    monkeypatch.setattr("hypercorn.asyncio.run.worker_serve", serve)


async def test_an_error_in_place_of_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that Hypercorn makes of its being cancelled is none of the server's."""
    if on_trio():
        return
    hypercorn_that_fails(monkeypatch)
    server = Impatient(greet)
    await server.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await server.stop()
    assert server.failures == (caught.value,)


async def test_the_same_error_without_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same error crashes the server if nobody has cancelled it."""
    if on_trio():
        return
    go = anyio.Event()
    hypercorn_that_fails(monkeypatch, go)
    with pytest.raises(asyncio.InvalidStateError):
        async with AsgiServer(greet):
            go.set()
            await anyio.sleep_forever()


async def test_idle_connections_do_not_hold_it_up() -> None:
    """A client that stays connected and asks nothing does not hold the stop up."""
    async with AsgiServer(greet, graceful_timeout=3600) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port):
            assert await status(server) == 200
            await server.stop()


async def test_connections_in_the_instant_of_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Connections that come at every step of a stop are accepted or not; none is a failure of the event loop."""
    server = AsgiServer(greet)
    with ExitStack() as clients:
        async with server, anyio.create_task_group() as tasks:
            tasks.start_soon(server.stop)
            while server.state != "shutdown":
                with suppress(OSError):
                    client = socket.create_connection(("127.0.0.1", server.port), timeout=1)
                    clients.enter_context(client)
                await anyio.lowlevel.checkpoint()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("little_patience")
@pytest.mark.parametrize("then", ["return", "raise", "listen", "stay"])
async def test_a_failed_shut_down(then: str) -> None:
    """An application that can't shut down is a failure of the stop, at once."""
    app = speaks("startup.complete", "shutdown.failed", then=then, message="stuck")
    with pytest.raises(Broken if then == "raise" else LifespanFailed):
        async with AsgiServer(app):
            pass


# --- Crashes -------------------------------------------------------------------------------------


async def test_a_crash_of_its_services_is_its_own(sigterms: list[int]) -> None:
    """What services in the application crash with, the server crashes with, as it is; signals have no part in it."""
    notes: list[str] = []
    a = Noting("a", notes)
    server = AsgiServer(WithServices(greet, a))
    with pytest.raises(Broken, match=r"^a$") as caught:
        async with server:
            a.break_down()
            await anyio.sleep_forever()
    assert server.failures == (caught.value,)
    assert notes == ["a starts", "a stops"]
    assert sigterms == []


async def test_requests_in_flight_are_finished_in_a_crash() -> None:
    """A crash of the services does not cut the requests that are being answered."""
    app = Held()
    a = Noting("a", [])
    found: list[int] = []
    async with anyio.create_task_group() as group:
        server = AsgiServer(WithServices(app, a), graceful_timeout=3600)
        await server.start()

        async def ask() -> None:
            found.append(await status(server))

        group.start_soon(ask)
        await until(lambda: app.waiting)
        a.break_down()
        await until(lambda: server.crashed)
        app.go.set()
        await until(lambda: found)
        await server.stop()
    assert found == [200]
    assert server.crash_reason is a.crash_reason


async def test_a_lifespan_that_fails_in_mid_life_is_a_crash() -> None:
    """An application whose own lifespan raises in mid-life crashes the server."""
    go = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # pragma: no branch - nothing else comes
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await go.wait()
            raise Broken("mid-life")

    with pytest.raises(Broken, match="mid-life"):
        async with AsgiServer(app):
            go.set()
            await anyio.sleep_forever()


async def test_a_supervised_server_comes_up_again() -> None:
    """Under a supervisor, a server whose services crash is started again, with new ones, at the same port."""
    feeds: list[Noting] = []

    def feed(app: object) -> Noting:
        feeds.append(Noting("feed", []))
        return feeds[-1]

    server = AsgiServer(WithServices(greet, feed))
    async with OneForOneSupervisor(server):
        port = server.port
        feeds[0].break_down()
        await until(lambda: len(feeds) == 2 and server.state == "running")
        assert server.port == port
        assert await status(server) == 200


async def test_hypercorn_that_ends_by_itself_is_a_crash() -> None:
    """If Hypercorn ends and nobody has asked it to, that is an error, which says so, and why."""
    config = Config()
    config.max_requests = 1
    with pytest.raises(RuntimeError, match=r"Hypercorn has ended by itself.* max_requests=1"):
        async with AsgiServer(greet, config=config) as server:
            while True:
                with suppress(OSError):
                    await get(server)


async def test_hypercorn_that_ends_for_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing says why it has ended, neither does the error."""

    async def serve(app: object, config: Any, *rest: object) -> None:
        config.create_sockets()
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("structmode.contrib.asgi._hypercorn.serve", serve)
    with pytest.raises(RuntimeError, match=r"ended by itself, and nobody had asked it to$"):
        async with AsgiServer(greet):
            await anyio.sleep_forever()


async def test_it_may_be_a_part_of_something() -> None:
    """It is a service like any other: a child, with a `lifespan` in the application it serves."""
    notes: list[str] = []
    app = Starlette(lifespan=lifespan(Noting("a", notes)))
    parent = Noting("parent", notes)
    parent.add_dependency(AsgiServer(app))
    async with parent:
        pass
    assert notes == ["parent starts", "a starts", "parent stops", "a stops"]


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bind",
    [
        "",
        *"8000 127.0.0.1 127.0.0.1: :8000 127.0.0.1:http 127.0.0.1:65536 ::1:80 unix: h:-1 h:٣".split(),
    ],
)
def test_what_is_no_address(bind: str) -> None:
    """What can't be read as an address is refused, with how to write one."""
    with pytest.raises(ValueError, match="is no address: write"):
        AsgiServer(greet, bind)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: AsgiServer(7), TypeError, "serves an ASGI application, not 7"),  # type: ignore[arg-type]
        (lambda: AsgiServer(greet, []), ValueError, "bind is empty"),
        (lambda: AsgiServer(greet, [8000]), TypeError, "bind is a text"),  # type: ignore[list-item]
        (lambda: AsgiServer(greet, 8000), TypeError, "bind is a text.* not 8000"),  # type: ignore[arg-type]
        (lambda: AsgiServer(greet, config={}), TypeError, r"a hypercorn\.Config, not {}"),
        (lambda: AsgiServer(greet, graceful_timeout="soon"), ValueError, "soon"),
    ],
)
def test_wrong_arguments(call: Callable[[], ServiceT], error: type[Exception], text: str) -> None:
    """A wrong argument is refused where it is given."""
    with pytest.raises(error, match=text):
        call()


def test_it_has_no_port_before_the_start() -> None:
    """A port that is to be found has no number yet."""
    with pytest.raises(LifecycleError, match="has no port yet"):
        _ = AsgiServer(greet).port
    assert AsgiServer(greet, "[::1]:8000").url == "http://[::1]:8000"


def test_without_hypercorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Hypercorn is not installed, the error says what to install."""
    import builtins

    original: Any = builtins.__import__

    def find(name: str, *args: Any) -> Any:
        if "_hypercorn" in (args[2] or ()):
            raise ModuleNotFoundError("no hypercorn", name=missing)
        return original(
            name, *args
        )  # pragma: no cover - hypercorn imports nothing in that moment, most often

    monkeypatch.setattr(builtins, "__import__", find)
    missing = "hypercorn.config"
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'structmode\[asgi\]'"):
        AsgiServer(greet)
    missing = "wsproto"
    with pytest.raises(ModuleNotFoundError, match="no hypercorn"):
        AsgiServer(greet)
