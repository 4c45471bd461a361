"""Messages that are written only if something takes too long; with an event loop, and without.

A test stays in the block until it has seen the report: no test asks how long anything took.
"""

from __future__ import annotations

import contextvars
import copy
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service
from structmode.testing import VirtualClock, virtual_backend
from structmode.threads import QueueServiceThread
from structmode.utils import _watchdog
from structmode.utils.logging import Logwrapped, flight_recorder, get_logger, on_timeout

logger = get_logger(__name__)
logger.setLevel(logging.DEBUG)

#: So short that a test can wait for it, in seconds.
SHORT = 0.02
#: Longer than any test takes, in seconds: nothing here waits for it to pass.
FOREVER = 3600.0
#: Longer than anything that a test waits for may take, in seconds.
PATIENCE = 30.0

virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(tuple(virtual_backend("asyncio").values()), id="asyncio"),
        pytest.param(tuple(virtual_backend("trio").values()), id="trio"),
    ],
)


class Logged:
    """What has been logged, as text without dates."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def records(self) -> list[logging.LogRecord]:
        """The records of this module's logger."""
        return [record for record in self._caplog.records if record.name == __name__]

    @property
    def lines(self) -> list[str]:
        """Level and message of each, the parts in parentheses left out; of a stack the first line."""
        return [
            f"{record.levelname}: {_undated(record.getMessage().splitlines()[0])}"
            for record in self.records
        ]

    def has(self, part: str) -> bool:
        """Whether a message has `part` in it."""
        return any(part in record.getMessage() for record in self.records)

    def text(self, part: str) -> str:
        """Return the one message that has `part` in it."""
        [text] = [r.getMessage() for r in self.records if part in r.getMessage()]
        return text

    async def wait_for(self, part: str) -> None:
        """Wait until such a message is there."""
        while not self.has(part):  # noqa: ASYNC110 - it comes from a thread that knows no event loop
            await anyio.sleep(0.002)

    def block_until(self, part: str) -> None:
        """Block the calling thread until such a message is there."""
        deadline = time.monotonic() + PATIENCE
        while not self.has(part):
            assert time.monotonic() < deadline, f"{part!r} never came"
            time.sleep(0.002)


def _undated(line: str) -> str:
    """Leave out what is in the first parentheses after the name of a recorder, and its number."""
    if not line.startswith("[Flight Recorder-"):
        return line
    rest = line.split("] ", 1)[1]
    return "[R] " + (rest.split(") ", 1)[1] if rest.startswith("(") else rest)


def calls_in(stack: str) -> list[str]:
    """Return the names of the functions in a stack."""
    return [line.rsplit(" in ", 1)[-1] for line in stack.splitlines() if line.startswith("  File")]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """What is logged in a test, to the last line."""
    yield Logged(caplog)
    assert _watchdog._reports.join(PATIENCE)


HEAD = [
    "WARNING: Warning: Task timed out!",
    "WARNING: Please make sure it is hanging before restarting.",
    "INFO: [R] Replaying logs...",
]
END = "INFO: [R] -End of log-"


# --- In time, and not -----------------------------------------------------------------------------


async def test_in_time_nothing_is_written(logged: Logged) -> None:
    """What was logged is forgotten, whatever its level."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.debug("a step")
        recorder.critical("another step")
        await anyio.lowlevel.checkpoint()
    await anyio.sleep(0.01)
    assert not logged.records
    assert repr(recorder) == f"<Flight Recorder-{recorder.id}: not active, 0 messages>"


async def test_a_body_that_takes_too_long_is_reported(logged: Logged) -> None:
    """The messages so far, in order and at their levels, and where the task is; then what comes, and the end."""

    async def fetch() -> None:
        await logged.wait_for("Where task")

    with flight_recorder(logger, timeout=SHORT) as recorder:
        recorder.info("+get %s", "user")
        recorder.error("-get %(what)s", {"what": "user"})
        await fetch()
        recorder.warning("it goes on")
    await logged.wait_for("Ended after")
    where = logged.lines[6]
    assert logged.lines == [
        *HEAD,
        "INFO: [R] +get user",
        "ERROR: [R] -get user",
        END,
        where,
        "WARNING: [R] it goes on",
        logged.lines[8],
    ]
    assert where.startswith("WARNING: [R] Where task ")
    assert logged.lines[8].startswith("WARNING: [R] Ended after ")
    calls = calls_in(logged.text("Where task"))
    own = calls.index("test_a_body_that_takes_too_long_is_reported")
    assert calls[own + 1 : own + 3] == ["fetch", "wait_for"]


async def test_the_messages_have_their_dates(logged: Logged) -> None:
    """Each line begins with the name of the recorder, and when it was logged; the head says when it began."""
    with flight_recorder(logger, timeout=SHORT) as recorder:
        recorder.info("a message")
        started = recorder.started_at_date
        assert started is not None
        await logged.wait_for("Where task")
    name = repr(recorder)[1:].partition(":")[0]
    assert f"[{name}] (started at {started}) Replaying logs..." in logged.text("Replaying")
    date = logged.text(") a message").removeprefix(f"[{name}] (").removesuffix(") a message")
    assert time.strptime(date)
    assert logged.text("-End of log-") == f"[{name}] -End of log-"


@pytest.mark.usefixtures("blocking_allowed")
async def test_a_blocked_loop_does_not_keep_it_from_reporting(logged: Logged) -> None:
    """The stack is then that of the code that blocks, from the recorded task on."""

    def block() -> None:
        logged.block_until("Where task")

    with flight_recorder(logger, timeout=SHORT):
        block()
    calls = calls_in(logged.text("Where task"))
    own = calls.index("test_a_blocked_loop_does_not_keep_it_from_reporting")
    assert calls[own + 1] == "block"
    assert not any("run" in call for call in calls[:own])  # what runs the task is left out


def test_no_event_loop_is_needed(logged: Logged) -> None:
    """In plain code it is the thread whose stack is written."""
    with flight_recorder(logger, timeout=SHORT) as recorder:
        recorder.info("a step")
        assert recorder.enabled_by is None
        logged.block_until("Where thread")
    logged.block_until("Ended after")
    text = logged.text("Where thread")
    assert f"Where thread {threading.current_thread().name} is:" in text
    assert "in test_no_event_loop_is_needed" in text
    assert logged.lines[:5] == [*HEAD, "INFO: [R] a step", END]


class Fetcher(Service):
    """Records what it does, in the log of the service."""

    logger = logger

    def __init__(self, logged: Logged) -> None:
        self.logged = logged
        self.done = anyio.Event()
        super().__init__()

    @Service.timer(FOREVER, exec_first=True)
    async def fetch(self) -> None:
        with flight_recorder(self.log, timeout=SHORT):
            on_timeout.info("a step of 100%%")
            await self.logged.wait_for("Where task")
        self.done.set()


async def test_in_a_service(logged: Logged) -> None:
    """The log of a service will do as a logger, and the task is that of the service."""
    async with Fetcher(logged) as service:
        await service.done.wait()
    where = logged.text("Where task")
    assert where.startswith("[^Fetcher]: [Flight Recorder-")
    assert "Where task Fetcher.fetch is:\n" in where
    # What structmode itself does to run the task is left out.
    first = where.splitlines()[1]
    assert first.startswith(f'  File "{__file__}"')
    assert first.endswith(", in fetch")
    assert logged.text("a step of").endswith("a step of 100%%")


async def test_a_failure_in_the_body_leaves_as_it_is(logged: Logged) -> None:
    """It is no business of the recorder."""
    with pytest.raises(ValueError, match="mine"):
        with flight_recorder(logger, timeout=FOREVER):
            raise ValueError("mine")
    async with anyio.create_task_group() as group:
        group.cancel_scope.cancel()
        async with flight_recorder(logger, timeout=FOREVER):
            await anyio.sleep_forever()  # pragma: no cover - it is cancelled before
    assert not logged.records


async def test_async_with_does_the_same(logged: Logged) -> None:
    """An async block is recorded as a plain one is, and both its ends are checkpoints."""
    async with flight_recorder(logger, timeout=SHORT) as recorder:
        on_timeout.info("a step")
        assert recorder.enabled_by is not None
        await logged.wait_for("End of log")
    assert recorder.enabled_by is None
    assert "INFO: [R] a step" in logged.lines
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with flight_recorder(logger, timeout=FOREVER):
            raise AssertionError
    assert scope.cancelled_caught


async def test_a_timeout_of_nothing_is_over_at_once(logged: Logged) -> None:
    """Zero and less are no mistake."""
    for timeout in (0, -1.5):
        with flight_recorder(logger, timeout=timeout):
            await logged.wait_for("End of log")


async def test_a_timeout_of_infinity_never_comes(logged: Logged) -> None:
    """Waiting for ever is no mistake either."""
    with flight_recorder(logger, timeout=float("inf")):
        await anyio.sleep(0.01)
    assert not logged.records


@pytest.mark.parametrize("timeout", ["soon", None, float("nan"), object()])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """When the recorder is made."""
    with pytest.raises((TypeError, ValueError)):
        flight_recorder(logger, timeout=timeout)


def test_it_is_made_without_an_event_loop() -> None:
    """Its constructor touches none, and takes mode's argument for one."""
    recorder = flight_recorder(logger, timeout="1.5", loop="mine")
    assert (recorder.timeout, recorder.loop, recorder.logger) == (1.5, "mine", logger)
    assert (recorder.enabled_by, recorder.started_at_date) == (None, None)


@virtual_time
async def test_what_takes_too_long_by_a_virtual_clock_is_reported_when_it_is_left(
    logged: Logged,
) -> None:
    """An hour that passes in no time is too long for a recorder of ten seconds, and certain to be reported."""
    with VirtualClock():
        with flight_recorder(logger, timeout=10.0) as recorder:
            recorder.info("a step")
            await anyio.sleep(3600.0)
            recorder.info("the last step")
            assert not logged.records
        with flight_recorder(logger, timeout=10.0) as recorder:
            recorder.info("no step of this one")
            await anyio.sleep(9.0)
    await logged.wait_for("Ended after")
    assert logged.lines == [
        *HEAD,
        "INFO: [R] a step",
        "INFO: [R] the last step",
        END,
        "WARNING: [R] Ended after 3600 s",
    ]


# --- Its life by hand -----------------------------------------------------------------------------


async def test_activate_and_cancel(logged: Logged) -> None:
    """They do what `with` does, but `on_timeout` knows nothing of it; to cancel again does nothing."""
    recorder = flight_recorder(logger, timeout=SHORT)
    recorder.cancel()
    recorder.info("dropped: it is not active yet")
    recorder.activate()
    recorder.info("a step")
    on_timeout.info("dropped: it is nobody's")
    await logged.wait_for("Where task")
    recorder.cancel()
    recorder.cancel()
    recorder.info("dropped: it is not active any more")
    await logged.wait_for("Ended after")
    assert [line for line in logged.lines if "step" in line or "dropped" in line] == [
        "INFO: [R] a step"
    ]


def test_one_recorder_records_one_block_at_a_time(logged: Logged) -> None:
    """To activate an active one is a mistake, which changes nothing; after its block it may be used again."""
    recorder = flight_recorder(logger, timeout=FOREVER)
    with recorder:
        recorder.info("a step")
        with pytest.raises(LifecycleError, match=r"active already, .* Make one for each"):
            recorder.activate()
        assert repr(recorder).endswith(": active, 1 messages>")
    recorder.timeout = SHORT
    with recorder:
        recorder.info("a new step")
        logged.block_until("Where thread")
    assert not logged.has("a step")
    assert logged.has("a new step")


def test_blush_writes_the_report_now(logged: Logged) -> None:
    """All that would be written at the timeout; what has been written is not written again."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.info("a step")
        recorder.blush()
        assert logged.lines[:5] == [*HEAD, "INFO: [R] a step", END]
        last = logged.text("Where thread").splitlines()[-2]
        assert last.endswith(", in test_blush_writes_the_report_now")
        recorder.info("one more")
        recorder.blush()
        assert logged.lines[6:11] == [*HEAD, "INFO: [R] one more", END]
    assert not logged.has("Ended")


def test_flush_logs_writes_the_messages_only(logged: Logged) -> None:
    """Under the name of the recorder, or another."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.info("a step")
        recorder.flush_logs()
        recorder.debug("one more")
        recorder.flush_logs(ident="me")
        recorder.flush_logs()
    assert [record.levelname for record in logged.records] == ["INFO", "DEBUG"]
    assert logged.lines[0] == "INFO: [R] a step"
    assert logged.text("one more").startswith("[me] (")


# --- Messages -------------------------------------------------------------------------------------


def test_a_message_says_what_was_so_when_it_was_logged(logged: Logged) -> None:
    """Its arguments are put in then, and not when it is written."""
    things = ["one"]
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.info("there are %r", things)
        things.append("two")
        recorder.flush_logs()
    assert logged.lines == ["INFO: [R] there are ['one']"]


def test_a_message_that_can_not_be_put_together_harms_nobody(logged: Logged) -> None:
    """It is written as it is, with the reason."""

    class Shy:
        def __repr__(self) -> str:
            raise ValueError("no")

    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.info("%d times", "many")
        recorder.info("%r", Shy())
        recorder.info("100%")
        recorder.flush_logs()
    lines = logged.lines
    assert lines[0].startswith("INFO: [R] %d times (its arguments can't be put in: TypeError(")
    assert lines[1] == "INFO: [R] %r (its arguments can't be put in: ValueError('no'))"
    assert lines[2] == "INFO: [R] 100%"


class Mute:
    """Something that fails whenever somebody wants to see it."""

    class Failure(Exception):
        """A failure that does the same."""

        def __repr__(self) -> str:
            raise RuntimeError("not this one, either")

    def __repr__(self) -> str:
        raise self.Failure

    def __bool__(self) -> bool:
        raise self.Failure


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        (Mute(), (), "<Mute: str() failed with Mute.Failure>"),
        (Mute(), (1,), "<Mute: str() failed with Mute.Failure> (its arguments can't be put in: "),
        ("%s", (Mute(),), "%s (its arguments can't be put in: <Mute.Failure: repr() failed"),
    ],
)
def test_what_fails_to_be_shown_harms_nobody(
    message: Any, args: tuple[Any, ...], expected: str, logged: Logged
) -> None:
    """Neither as the message nor as its argument, nor if the failure can't be shown either."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.info(message, *args)
        on_timeout.info("after it")
        recorder.flush_logs()
    first, second = logged.lines
    assert expected in first
    assert second == "INFO: [R] after it"


BAD_KEYWORDS = [
    pytest.param({"extra": {"name": "bob"}}, "KeyError(", id="reserved"),
    pytest.param({"extra": 3}, "TypeError(", id="no mapping"),
    pytest.param({"colour": "red"}, "TypeError(", id="unknown"),
]


@pytest.mark.parametrize(("keywords", "failure"), BAD_KEYWORDS)
async def test_a_message_that_can_not_be_logged_costs_no_other(
    keywords: dict[str, Any], failure: str, logged: Logged
) -> None:
    """It is a warning then, with the reason; what comes after it is there, and where the task stands."""
    with flight_recorder(logger, timeout=SHORT) as recorder:
        recorder.extra_context["topic"] = "views"
        recorder.info("a step", **keywords)
        recorder.info("another step")
        await logged.wait_for("Where task")
        recorder.info("a late step", **keywords)
    await logged.wait_for("Ended after")
    assert logged.lines[:3] == HEAD
    for line, step in ((logged.lines[3], "a step"), (logged.lines[7], "a late step")):
        assert line.startswith(f"WARNING: [R] {step} (can't be logged as it was: {failure}")
    assert logged.lines[4:6] == ["INFO: [R] another step", END]


def test_data_that_is_no_mapping_stands_beside_the_context(logged: Logged) -> None:
    """It is kept under its name."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        recorder.extra_context["topic"] = "views"
        recorder.info("a step", extra={"data": "text"})
        recorder.flush_logs()
    assert logged.lines == ["INFO: [R] a step"]
    assert vars(logged.records[0])["data"] == {"topic": "views", "data": "text"}


def test_the_keywords_of_a_log_call_are_kept(logged: Logged) -> None:
    """The exception and the stack are those of the call, though the message is written elsewhere."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        try:
            raise ValueError("the one")
        except ValueError:
            recorder.exception("it failed")
            on_timeout.exception("it failed, too")
        recorder.info("here", stack_info=True, extra={"mark": "x"}, stacklevel=3)
        recorder.info("not failed", exc_info=False)
        recorder.flush_logs()
    first, second, third, fourth = logged.records
    for record in (first, second):
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "the one"
    assert "Stack (most recent call last):\n" in third.getMessage()
    assert "in test_the_keywords_of_a_log_call_are_kept\n" in third.getMessage()
    assert "structmode/utils" not in third.getMessage()
    assert vars(third)["mark"] == "x"
    assert not fourth.exc_info


def test_of_too_many_messages_the_last_are_kept(logged: Logged) -> None:
    """A block that logs for ever does not fill the memory, and the report says that some are missing."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        for number in range(10_003):
            recorder.info("%d", number)
        recorder.flush_logs()
    assert logged.lines[:2] == [
        "WARNING: [R] (3 messages before this one are lost)",
        "INFO: [R] 3",
    ] or logged.records[0].getMessage().endswith("(3 messages before this one are lost)")
    assert len(logged.records) == 10_001
    assert logged.lines[-1] == "INFO: [R] 10002"


def test_threads_may_log_to_one_recorder(logged: Logged) -> None:
    """No message is lost, and none comes twice."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:

        def log_many(name: str) -> None:
            for number in range(500):
                recorder.info("%s %d", name, number)

        threads = [threading.Thread(target=log_many, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.flush_logs()
    texts = [line.removeprefix("INFO: [R] ") for line in logged.lines]
    assert sorted(texts) == sorted(f"{name} {number}" for name in "abcd" for number in range(500))
    assert [text for text in texts if text[0] == "a"] == [f"a {number}" for number in range(500)]


# --- The current recorder -------------------------------------------------------------------------


async def test_on_timeout_logs_to_the_innermost_block(logged: Logged) -> None:
    """Whoever is called from it, on whatever way; when it is left, the one around it is the current one again."""

    def step(name: str) -> None:
        on_timeout.info(name)

    step("dropped: there is no recorder")
    with flight_recorder(logger, timeout=FOREVER) as outer:
        step("outer")
        async with flight_recorder(logger, timeout=FOREVER) as inner:
            step("inner")
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, step, "inner, in a thread")
            inner.flush_logs("inner")
        step("outer again")
        outer.flush_logs("outer")
    step("dropped: there is none any more")
    texts = [(text.split("] ")[0], text.split(") ")[-1]) for text in map(_message, logged.records)]
    assert texts == [
        ("[inner", "inner"),
        ("[inner", "inner, in a thread"),
        ("[outer", "outer"),
        ("[outer", "outer again"),
    ]


async def test_on_timeout_is_known_where_the_context_is(logged: Logged) -> None:
    """A call into the thread of a service takes it along; what else begins a thread can be given it."""
    async with QueueServiceThread() as service:
        with flight_recorder(logger, timeout=FOREVER) as recorder:
            await service.call_thread(on_timeout.info, "called")
            thread = threading.Thread(
                target=contextvars.copy_context().run, args=(on_timeout.info, "given it")
            )
            thread.start()
            thread.join()
            recorder.flush_logs()
    assert [line for line in logged.lines if "[R]" in line] == [
        "INFO: [R] called",
        "INFO: [R] given it",
    ]


def _message(record: logging.LogRecord) -> str:
    return record.getMessage()


async def test_a_recorder_that_has_ended_is_passed_over(logged: Logged) -> None:
    """A task that outlives the block in which it was begun logs to the one around it, as long as that is active."""
    go, gone = anyio.Event(), anyio.Event()

    async def outlive() -> None:
        await go.wait()
        on_timeout.info("from a task")
        gone.set()

    async with anyio.create_task_group() as group:
        with flight_recorder(logger, timeout=FOREVER) as outer:
            with flight_recorder(logger, timeout=FOREVER):
                group.start_soon(outlive)
                await anyio.lowlevel.checkpoint()
            go.set()
            await gone.wait()
            outer.flush_logs()
    assert logged.lines == ["INFO: [R] from a task"]


async def test_tasks_side_by_side_have_recorders_of_their_own(logged: Logged) -> None:
    """What one of them begins is no business of the other."""

    async def work(name: str) -> None:
        with flight_recorder(logger, timeout=FOREVER) as recorder:
            await anyio.lowlevel.checkpoint()
            on_timeout.info("%s", name)
            await anyio.lowlevel.checkpoint()
            recorder.flush_logs(name)

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(work, name)
    texts = sorted(_message(record) for record in logged.records)
    assert [text[:3] + text[-1] for text in texts] == ["[a]a", "[b]b", "[c]c"]


def test_a_block_left_in_another_context_does_no_harm(logged: Logged) -> None:
    """A recorder that a generator holds may be left where it was not entered."""
    recorder = flight_recorder(logger, timeout=FOREVER)
    contextvars.copy_context().run(recorder.__enter__)
    with flight_recorder(logger, timeout=FOREVER) as current:
        recorder.__exit__(None, None, None)
        on_timeout.info("a step")
        current.flush_logs()
    assert logged.lines == ["INFO: [R] a step"]


def test_extra_context_goes_into_each_record_and_inward(logged: Logged) -> None:
    """Recorders inside have what the one around has, also what it gets later; their own comes first."""
    with flight_recorder(logger, timeout=FOREVER) as outer:
        outer.extra_context["topic"] = "views"
        outer.extra_context["partition"] = 1
        with flight_recorder(logger, timeout=FOREVER) as inner:
            inner.extra_context["partition"] = 2
            outer.extra_context["late"] = True
            inner.info("inner", extra={"data": {"own": 1}, "mark": "x"})
            inner.flush_logs()
        outer.info("outer")
        outer.blush()
    first, *rest = logged.records
    assert vars(first)["data"] == {"topic": "views", "partition": 2, "late": True, "own": 1}
    assert vars(first)["mark"] == "x"
    for record in rest:
        assert vars(record)["data"] == {"topic": "views", "partition": 1, "late": True}
    assert inner.extra_context == {"partition": 2}


def test_recorders_that_are_inside_of_each_other_in_turn(logged: Logged) -> None:
    """One that is used again inside of a block that was inside of its own gets an end to its context."""
    first = flight_recorder(logger, timeout=FOREVER)
    second = flight_recorder(logger, timeout=FOREVER)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    first.extra_context["a"] = 1
    with first:
        first.info("a step")
        first.flush_logs()
    second.__exit__(None, None, None)
    assert vars(logged.records[0])["data"] == {"a": 1}


# --- Wrapped objects ------------------------------------------------------------------------------


class Redis:
    """Something whose calls are worth a log."""

    port = 6379

    def __init__(self) -> None:
        self.calls: list[object] = []

    async def get(self, key: str, *, default: object = None) -> str:
        """Get it."""
        await anyio.lowlevel.checkpoint()
        self.calls.append((key, default))
        return f"value of {key}"

    def close(self) -> None:
        """Close it."""
        raise ValueError("closed")


@pytest.mark.parametrize(
    ("wrap", "level"),
    [
        ("wrap_debug", "DEBUG"),
        ("wrap_info", "INFO"),
        ("wrap_warn", "WARNING"),
        ("wrap_error", "ERROR"),
    ],
)
async def test_the_calls_of_a_wrapped_object_are_logged(
    wrap: str, level: str, logged: Logged
) -> None:
    """Before they are made, with their arguments, at the level asked for; they return and raise what they do."""
    redis = Redis()
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        for wrapped in (getattr(recorder, wrap)(redis), getattr(on_timeout, wrap)(redis)):
            assert await wrapped.get("user", default=1) == "value of user"
            with pytest.raises(ValueError, match="closed"):
                wrapped.close()
        recorder.flush_logs()
    assert (
        logged.lines
        == [
            f"{level}: [R] Redis.get('user', default=1)",
            f"{level}: [R] Redis.close()",
        ]
        * 2
    )
    assert redis.calls == [("user", 1)] * 2


def test_any_severity_and_functions_too(logged: Logged) -> None:
    """`wrap` takes the number of a level, and functions and modules as well as objects."""
    with flight_recorder(logger, timeout=FOREVER) as recorder:
        assert recorder.wrap(logging.CRITICAL, sorted)([2, 1]) == [1, 2]
        assert on_timeout.wrap(15, time).strftime("%%") == "%"
        recorder.flush_logs()
    assert logged.lines == [
        "CRITICAL: [R] sorted([2, 1])",
        "Level 15: [R] time.strftime('%%')",
    ]


def test_an_argument_that_fails_to_be_shown_does_not_keep_a_call_from_being_made(
    logged: Logged,
) -> None:
    """By position or by name."""
    calls: list[tuple[Any, ...]] = []

    def record(*args: Any, **kwargs: Any) -> None:
        calls.append((*args, *kwargs.values()))

    mute = Mute()
    Logwrapped(record, logger, "INFO", "record")(mute, 1, that=mute)
    assert calls == [(mute, 1, mute)]
    unseen = "<Mute: repr() failed with Mute.Failure>"
    assert logged.lines == [f"INFO: record({unseen}, 1, that={unseen})"]


def test_what_is_no_call_goes_to_the_object() -> None:
    """Attributes are read and set there; what is missing there is missing."""
    redis = Redis()
    wrapped: Any = on_timeout.wrap_info(redis)
    assert wrapped.port == 6379
    wrapped.port = 1
    assert redis.port == 1
    assert {"get", "port", "obj"} <= set(dir(wrapped))
    assert repr(wrapped) == f"<Logwrapped {redis!r}>"
    with pytest.raises(AttributeError, match="'Redis' object has no attribute 'nothing'"):
        _ = wrapped.nothing


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],  # noqa: S301
)
def test_a_wrapped_object_can_be_copied(duplicate: Any, logged: Logged) -> None:
    """The copy is wrapped, too, and logs where the first one does; a deep one has an object of its own."""
    redis = Redis()
    wrapped = Logwrapped(redis, logger, logging.INFO)
    other = duplicate(wrapped)
    assert type(other) is Logwrapped
    assert (other.obj is redis) == (duplicate is copy.copy)
    with pytest.raises(ValueError, match="closed"):
        other.close()
    assert logged.lines == ["INFO: Redis.close()"]


def test_a_deep_copy_of_a_wrapped_object_heeds_what_that_says_of_copies() -> None:
    """But it is no call that would be logged, nor is the copy bare; and where it logs is not copied."""

    class Once:
        def __deepcopy__(self, memo: object) -> str:
            return "a copy"

    with flight_recorder(logger, timeout=FOREVER) as recorder:
        other: Any = copy.deepcopy(recorder.wrap_info(Once()))
        assert (other.obj, other.ident) == ("a copy", "Once")
        assert other.upper() == "A COPY"
        assert len(recorder._entries) == 1


def test_a_wrapped_object_may_log_anywhere(logged: Logged) -> None:
    """`Logwrapped` takes a plain logger, and a name for the object."""
    wrapped = Logwrapped(Redis(), logger, logging.INFO, "redis")
    with pytest.raises(ValueError, match="closed"):
        wrapped.close()
    assert logged.lines == ["INFO: redis.close()"]
    assert (wrapped.ident, wrapped.severity, wrapped.logger) == ("redis", logging.INFO, logger)
    assert isinstance(wrapped.obj, Redis)


def test_a_wrapped_object_needs_no_logger(caplog: pytest.LogCaptureFixture) -> None:
    """Without a logger and a level, as in mode, its calls are warnings of structmode's; a level may be named."""
    Logwrapped(max)(1, 2)
    Logwrapped(max, severity="error", ident="best")(1, 2)
    assert caplog.record_tuples == [
        ("structmode.utils.logging", logging.WARNING, "max(1, 2)"),
        ("structmode.utils.logging", logging.ERROR, "best(1, 2)"),
    ]
    with pytest.raises(ValueError, match="no log level is named 'loud'"):
        Logwrapped(Redis(), severity="loud")


def test_on_timeout_is_known_by_its_name() -> None:
    """It says what it is."""
    assert repr(on_timeout) == "on_timeout"
