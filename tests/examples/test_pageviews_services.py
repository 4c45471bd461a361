"""The services of the page-view counter one by one, with failures put in their way; and all of them in one block."""

from __future__ import annotations

import base64
import collections
import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

import structmode
from examples.pageviews import (
    counter as counter_module,
    history as history_module,
    site as site_module,
    visitors as visitors_module,
)
from examples.pageviews.app import PageViews
from examples.pageviews.counter import Counter, NotCounted, NotSaved
from examples.pageviews.history import History
from examples.pageviews.live import Live
from examples.pageviews.site import Site
from examples.pageviews.store import Store, StoreError
from examples.pageviews.visitors import Visitors


def stored(database: Path) -> collections.Counter[str]:
    """Read the counts out of a database."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        return collections.Counter(dict(db.execute("SELECT path, views FROM counts")))


@contextlib.contextmanager
def locked(database: Path) -> Generator[None]:
    """Lock a database, as another program that writes to it would."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the counts are to be."""
    return tmp_path / "pageviews.db"


# --- Store ----------------------------------------------------------------------------------------


async def test_store_adds_to_what_is_there(database: Path) -> None:
    """What is written is added to the counts, and is still there after a new start."""
    async with Store(str(database)) as store:
        await store.add_views({"/a": 1, "/b": 2})
        await store.add_views({"/a": 3})
    async with Store(str(database)) as store:
        assert await store.counts() == {"/a": 4, "/b": 2}


async def test_store_serves_many_at_a_time(database: Path) -> None:
    """Any number of tasks may write at the same time; the connection is used by one thread at a time."""
    async with Store(str(database)) as store:
        async with anyio.create_task_group() as writers:
            for _ in range(20):
                writers.start_soon(store.add_views, {"/a": 1})
        assert await store.counts() == {"/a": 20}


async def test_store_writes_all_or_nothing(database: Path) -> None:
    """If one row is refused, no row of that write is in the database."""
    async with Store(str(database)) as store:
        with pytest.raises(StoreError, match="NOT NULL"):
            await store.add_views({"/a": 1, "/b": None})  # type: ignore[dict-item]
        assert await store.counts() == {}


async def test_store_that_has_stopped(database: Path) -> None:
    """What is asked of a store that does not run is refused, as what it can't do is."""
    store = Store(str(database))
    for _ in range(2):
        with pytest.raises(StoreError, match="takes no calls"):
            await store.counts()
        async with store:
            assert await store.counts() == {}


async def test_outcome_of_a_write_is_known(database: Path) -> None:
    """A write that has begun is done, and known to be done, even if its caller is cancelled meanwhile."""
    async with Store(str(database)) as store:
        done = 0
        for number in range(20):
            with anyio.move_on_after(0.0002 * number):
                await store.add_views({"/a": 1})
                done += 1
        assert await store.counts() == ({"/a": done} if done else {})


async def test_store_that_is_locked_does_not_start(database: Path) -> None:
    """A database that another program holds makes the start fail, with an error that says so."""
    async with Store(str(database)):
        pass
    with locked(database):
        with pytest.raises(
            StoreError, match=r"pageviews\.db .* database is locked.*another program"
        ):
            async with Store(str(database), patience=0.01):
                pytest.fail("it started")


async def test_store_that_is_no_database_does_not_start(database: Path) -> None:
    """A file that is something else makes the start fail, and is left as it was."""
    file = anyio.Path(database)
    await file.write_text("Somebody's notes, that are not to be overwritten.")
    with pytest.raises(StoreError, match="file is not a database"):
        async with Store(str(database)):
            pytest.fail("it started")
    assert await file.read_text() == "Somebody's notes, that are not to be overwritten."


# --- Counter --------------------------------------------------------------------------------------


class MoodyStore(Store):
    """A store that fails when told to, and that can be stopped in the middle of a write."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.bad_days = 0.0
        self.writing = anyio.Event()
        self.written = anyio.Event()
        self.go_on = anyio.Event()
        self.go_on.set()
        self.meanwhile: Callable[[], object] = list

    async def add_views(self, views: Mapping[str, int]) -> None:
        self.writing.set()
        await self.go_on.wait()
        self.meanwhile()
        if self.bad_days > 0:
            self.bad_days -= 1
            raise StoreError("the disk is in a mood")
        await super().add_views(views)
        self.written.set()


@pytest.fixture
async def store(database: Path) -> AsyncIterator[MoodyStore]:
    """A running store, empty and in a good mood."""
    async with MoodyStore(database) as store:
        yield store


async def test_counter_saves_by_itself(store: MoodyStore) -> None:
    """A timer saves what has been counted."""
    async with Counter(store) as counter:
        assert [counter.count("/a"), counter.count("/b"), counter.count("/a")] == [1, 1, 2]
        await store.written.wait()
        assert await store.counts() == {"/a": 2, "/b": 1}
        assert counter.total == 3


async def test_counter_saves_the_rest_when_it_stops(store: MoodyStore) -> None:
    """What was counted since the last save is saved by the stop."""
    async with Counter(store) as counter:
        counter.count("/a")
    assert await store.counts() == {"/a": 1}


async def test_counter_goes_on_from_the_stored_counts(store: MoodyStore) -> None:
    """A new counter begins where the last one ended."""
    async with Counter(store) as counter:
        counter.count("/a")
    async with Counter(store) as counter:
        assert counter.count("/a") == 2
    assert await store.counts() == {"/a": 2}


async def test_view_during_a_save_is_saved_once(store: MoodyStore) -> None:
    """A view that arrives while its path is being saved is neither lost nor written twice."""
    async with Counter(store) as counter:
        store.go_on = anyio.Event()
        counter.count("/a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(counter.save)
            await store.writing.wait()
            counter.count("/a")
            store.go_on.set()
    assert await store.counts() == {"/a": 2}


async def test_save_ends_though_views_arrive_all_the_time(store: MoodyStore) -> None:
    """One save is one write: what arrives during it waits for the next, however much that is."""
    async with Counter(store) as counter:
        store.meanwhile = lambda: counter.count("/a")
        counter.count("/a")
        await counter.save()
        store.meanwhile = list
    assert await store.counts() == counter.views


async def test_views_of_a_failed_save_are_kept(
    store: MoodyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A save that fails is tried again, with what has arrived meanwhile; nothing is written twice."""
    async with Counter(store) as counter:
        store.bad_days = 2
        store.go_on = anyio.Event()
        counter.count("/a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(counter.save)
            await store.writing.wait()
            counter.count("/a")
            store.go_on.set()
        assert await store.counts() == {"/a": 2}
    assert await store.counts() == {"/a": 2}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "the disk is in a mood; views kept: 2" in warnings[0]


async def test_views_of_a_cancelled_save_are_kept(store: MoodyStore) -> None:
    """A save that is cancelled before it is written leaves its views for the next one."""
    async with Counter(store) as counter:
        store.go_on = anyio.Event()
        counter.count("/a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(counter.save)
            await store.writing.wait()
            tasks.cancel_scope.cancel()
        store.go_on.set()
    assert await store.counts() == {"/a": 1}


async def test_who_waits_goes_on_when_it_is_stored(store: MoodyStore) -> None:
    """Waiting until a view is saved ends when the view is in the database, and not when a save has failed."""
    async with Counter(store) as counter:
        await counter.wait_until_saved()  # there is nothing
        store.bad_days = 1
        for views in (1, 2):
            counter.count("/a")
            await counter.wait_until_saved()
            assert await store.counts() == {"/a": views}
        assert store.bad_days == 0


async def test_view_that_came_during_a_save_waits_for_the_next(store: MoodyStore) -> None:
    """A save that began before a view was counted does not end the wait for that view."""
    waited: list[int] = []
    async with Counter(store) as counter:

        async def count_and_wait() -> None:
            counter.count("/a")
            await counter.wait_until_saved()
            waited.append((await store.counts())["/a"])

        store.go_on = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count_and_wait)
            await store.writing.wait()
            tasks.start_soon(count_and_wait)
            await anyio.wait_all_tasks_blocked()
            store.go_on.set()
    assert waited == [1, 2]


async def test_who_waits_is_told_that_the_counter_stops(store: MoodyStore) -> None:
    """If the counter stops before a view is saved, whoever waits for that is told so; here it is saved later."""
    counter = Counter(store)
    async with counter:
        counter.count("/a")
        store.go_on = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(counter.stop)
            with pytest.raises(NotSaved, match="the counter stops"):
                await counter.wait_until_saved()
            store.go_on.set()
    assert await store.counts() == {"/a": 1}


async def test_counter_crashes_when_its_patience_is_over(
    store: MoodyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that goes on failing crashes the counter, and each view that is lost is named in the log."""
    with pytest.raises(StoreError, match="the disk is in a mood"):
        async with Counter(store, patience=0.0) as counter:
            store.bad_days = float("inf")
            counter.count("/a")
            counter.count("/a")
            counter.count("/b")
            await anyio.sleep_forever()
    lost = [record.message for record in caplog.records if record.levelname == "CRITICAL"]
    assert [line.split("Lost views: ")[1] for line in lost] == [
        "2 of /a",
        "1 of /b",
    ]


async def test_crash_elsewhere_loses_no_view(store: MoodyStore) -> None:
    """A counter that stops because something else has crashed saves what it has."""
    counter = Counter(store)
    with pytest.raises(ZeroDivisionError):
        async with structmode.Service() as parent:
            await parent.add_runtime_dependency(counter)
            counter.count("/a")
            await parent.crash(ZeroDivisionError())
            await anyio.sleep_forever()
    assert await store.counts() == {"/a": 1}


async def test_stopped_counter_counts_nothing(store: MoodyStore) -> None:
    """A view that would come too late to be saved is refused, not acknowledged; so is one that comes too early."""
    counter = Counter(store)
    with pytest.raises(NotCounted, match="stopped"):
        counter.count("/a")
    async with counter:
        pass
    with pytest.raises(NotCounted, match="stopped"):
        counter.count("/a")


async def test_number_of_paths_is_limited(
    store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path too many is refused; those that are known go on being counted."""
    monkeypatch.setattr(counter_module, "MAX_PATHS", 2)
    async with Counter(store) as counter:
        counter.count("/a")
        counter.count("/b")
        with pytest.raises(NotCounted, match="2 different paths"):
            counter.count("/c")
        assert counter.count("/a") == 2
    assert await store.counts() == {"/a": 2, "/b": 1}


# --- Visitors, history, live ----------------------------------------------------------------------


async def test_visitors_expire() -> None:
    """Who has not been seen for long enough is forgotten by the timer; who has been seen again is not."""
    async with Visitors(memory=1000) as visitors:
        visitors.see("anna")
        visitors.see("bert")
        visitors.see("anna")
        await visitors.expire()
        assert visitors.now == 2
        visitors.memory = 0
        with anyio.fail_after(10):
            while visitors.now:  # noqa: ASYNC110 - the timer tells nobody
                await anyio.sleep(0.01)


async def test_number_of_visitors_is_limited(  # noqa: ASYNC124 - there is no time outside an event loop
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With too many visitors, the one who was not seen for longest is forgotten."""
    monkeypatch.setattr(visitors_module, "MAX_VISITORS", 2)
    visitors = Visitors()
    for name in ("anna", "bert", "anna", "carl"):
        visitors.see(name)
    assert list(visitors._seen) == ["anna", "carl"]


async def test_history_notes_minutes(store: MoodyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are noted in the minute they were in; a stop notes the rest, and a new start adds to it."""
    now = 1000
    monkeypatch.setattr(history_module, "this_minute", lambda: now)
    async with Counter(store) as counter:
        async with History(store, counter) as history:
            counter.count("/a")
            assert history.minutes[-1] == 1
            now += 1
            await history.note_minute()
            counter.count("/a")
            counter.count("/a")
            assert history.minutes[-2:] == [1, 2]
        async with History(store, counter) as history:
            assert history.minutes == [0] * 58 + [1, 2]
            counter.count("/a")
    assert await store.minutes(since=0) == {1000: 1, 1001: 3}


async def test_history_forgets_what_is_too_old(
    store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older than a week is dropped from the database."""
    now = 100_000
    monkeypatch.setattr(history_module, "this_minute", lambda: now)
    await store.add_minute(now - history_module.KEPT - 1, 5)
    await store.add_minute(now - history_module.KEPT, 6)
    async with Counter(store) as counter, History(store, counter) as history:
        await history.forget()
    assert await store.minutes(since=0) == {now - history_module.KEPT: 6}


async def test_live_renews_its_snapshot(store: MoodyStore) -> None:
    """Who waits for something new to show gets it, with the state of every service of the tree."""
    async with Counter(store) as counter, Visitors() as visitors:
        async with History(store, counter) as history, Live(counter, visitors, history) as live:
            counter.count("/a")
            await live.renewed.wait()
            snapshot = json.loads(live.snapshot)
    assert snapshot["top"] == [["/a", 1]]
    assert snapshot["total"] == snapshot["paths"] == 1
    assert snapshot["services"] == [{"name": "Live", "state": "running", "depth": 1}]


# --- Site -----------------------------------------------------------------------------------------


@pytest.fixture
async def site(store: MoodyStore) -> AsyncIterator[Site]:
    """The site, with running services behind it."""
    async with Counter(store) as counter, Visitors() as visitors:
        async with History(store, counter) as history, Live(counter, visitors, history) as live:
            yield Site(counter, visitors, live)


class Answer(NamedTuple):
    """What the site sent."""

    status: int
    headers: dict[str, str]
    text: str


async def call(site: Site, request: str, cookie: str = "") -> Answer:
    """Send a request, such as "GET /counts", to the site without a network."""
    method, url = request.split(" ", 1)
    path, _, query = url.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"cookie", cookie.encode())] if cookie else [],
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    await site(scope, anyio.sleep_forever, send)  # type: ignore[arg-type]
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(m["body"] for m in sent[1:]).decode())


async def test_view_is_counted(site: Site) -> None:
    """A view is acknowledged with the count that it makes, whatever its path is made of."""
    path = "/ä b?&<i>"
    for views in (1, 2):
        answer = await call(site, f"POST /view?path={quote(path)}")
        assert (answer.status, json.loads(answer.text)) == (200, {"path": path, "views": views})
    counts = await call(site, "GET /counts")
    assert json.loads(counts.text) == {"total": 2, "views": {path: 2}}
    assert site.counter.views == {path: 2}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /nothing", 404),
        ("GET /page.html", 404),
        ("GET //", 404),
        ("GET /view?path=/a", 405),
        ("POST /", 405),
        ("HEAD /events", 405),
        ("BREW /counts", 405),
        ("POST /view", 400),
        ("POST /view?path=", 400),
        ("POST /view?path=a", 400),
        ("POST /view?path=/%0AFAKE", 400),
        ("POST /view?path=/%FF", 400),
        ("POST /view?path=/a&until=tomorrow", 400),
        ("POST /view?path=/" + "a" * site_module.MAX_PATH, 400),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_bad_requests_are_refused(site: Site, request_: str, status: int) -> None:
    """What makes no sense gets an error that says what is wrong, and counts nothing."""
    answer = await call(site, request_)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.strip()
    assert ("allow" in answer.headers) == (status == 405)
    assert site.counter.total == 0


async def test_what_is_not_counted_is_not_acknowledged(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that is not counted is answered with 503."""
    monkeypatch.setattr(counter_module, "MAX_PATHS", 0)
    answer = await call(site, "POST /view?path=/a")
    assert answer.status == 503
    assert answer.text == "Not counted: there are 0 different paths already\n"


async def test_view_may_be_answered_when_it_is_saved(site: Site, store: MoodyStore) -> None:
    """With `until=saved`, 200 means that the view is in the database, and all that were counted before it."""
    await call(site, "POST /view?path=/a")
    answer = await call(site, "POST /view?path=/b&until=saved")
    assert (answer.status, json.loads(answer.text)) == (200, {"path": "/b", "views": 1})
    assert await store.counts() == {"/a": 1, "/b": 1}


async def test_view_that_is_not_saved_is_not_acknowledged_as_saved(
    site: Site, store: MoodyStore
) -> None:
    """With `until=saved`, a view is answered with 503 if the counter stops before it is saved."""
    store.go_on = anyio.Event()
    answers: list[Answer] = []

    async def view() -> None:
        answers.append(await call(site, "POST /view?path=/a&until=saved"))
        store.go_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(view)
        await store.writing.wait()
        await site.counter.stop()
    assert [answer.status for answer in answers] == [503]
    assert answers[0].text == "Counted, but not yet saved: the counter stops\n"


async def test_number_of_streams_is_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many may look on at a time."""
    monkeypatch.setattr(site_module, "MAX_STREAMS", 0)
    assert (await call(site, "GET /events")).status == 503


@pytest.mark.parametrize("url", ["/", "/counts", "/nothing"])
async def test_every_answer_is_locked_down(site: Site, url: str) -> None:
    """No answer may be sniffed, framed or cached, or may load anything from anywhere."""
    headers = (await call(site, f"GET {url}")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_page_may_run_its_own_script_only(site: Site) -> None:
    """The policy names the page's script and style by their hashes, and the page needs nothing else."""
    page = await call(site, "GET /")
    for tag in ("script", "style"):
        (block,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert not re.search(r"\b(src|href)=[\"']?(https?:)?/", page.text)
    assert "innerHTML" not in page.text
    assert "eval(" not in page.text


async def test_visitor_is_known_by_a_cookie(site: Site) -> None:
    """A visitor gets a cookie with the page, once, and is seen from when it comes back; a made-up one is ignored."""
    first = await call(site, "GET /")
    given = re.fullmatch(
        r"(visitor=[\w-]{22}); Path=/; HttpOnly; SameSite=Strict", first.headers["set-cookie"]
    )
    assert given is not None
    assert site.visitors.now == 0
    second = await call(site, "GET /", cookie=f"other=1; {given[1]}")
    assert "set-cookie" not in second.headers
    await call(site, "POST /view?path=/a", cookie=given[1])
    await call(site, "GET /counts", cookie="visitor=me")
    assert site.visitors.now == 1


# --- The tree -------------------------------------------------------------------------------------


async def test_program_runs_in_a_block(database: Path, blocking_allowed: None) -> None:
    """The program is a service like any other: it runs in `async with`, serves, streams, and leaves nothing behind."""
    async with PageViews(str(database), "127.0.0.1", 0) as app:
        async with await anyio.connect_tcp("127.0.0.1", app.web.port) as stream:
            assert b'"views": 1' in await ask(stream, "POST /view?path=/a", until=b"}")
            assert b'"top": [["/a", 1]]' in await ask(stream, "GET /events", until=b'"total": 1')
            await app.stop()
            assert await until_end(stream)
    assert stored(database) == {"/a": 1}


async def ask(stream: anyio.abc.ByteStream, request: str, *, until: bytes) -> bytes:
    """Send a request; return what comes up to and with some text."""
    await stream.send(f"{request} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    received = b""
    while until not in received:
        received += await stream.receive()
    return received


async def until_end(stream: anyio.abc.ByteStream) -> bool:
    """Read what comes until the server closes the connection; tell whether the chunked body was ended in order."""
    received = b""
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            received += await stream.receive()
    return received.endswith(b"0\r\n\r\n")
