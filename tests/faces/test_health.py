"""How well services are: what the engine knows of them, what they say of themselves, and what a tree comes to."""

from __future__ import annotations

import contextvars
import json
import threading
from functools import cached_property
from typing import Any

import anyio
import pytest

from structmode import Service
from structmode.events import Degraded, LifecycleEvent, Recovered, subscribe
from structmode.facet import ServiceMixin
from structmode.health import Health, Member, Report, Status, health_of
from structmode.proxy import ServiceProxy
from structmode.supervisors import Backoff, OneForOneSupervisor, Supervised
from structmode.threads import QueueServiceThread, ServiceThread


def how(service: Service) -> Status:
    """Return how a service itself is."""
    return service.health.status


def why(service: Service) -> tuple[str, ...]:
    """Return why it is so."""
    return service.health.reasons


class Part(Service):
    """Notes its health in each hook, and what that of its tree was then."""

    def __init__(self, name: str = "part", *parts: Any) -> None:
        self.name = name
        self.parts = parts
        self.seen: list[tuple[str, Status, bool]] = []
        self.fails_in = ""
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    def on_init_dependencies(self) -> Any:
        return self.parts

    def look(self, where: str) -> None:
        """Note the health; fail if this is the place to."""
        self.seen.append((where, how(self), self.health.ready))
        if where == self.fails_in:
            raise OSError("boom")

    async def on_start(self) -> None:
        self.look("on_start")

    async def on_started(self) -> None:
        self.look("on_started")

    async def on_stop(self) -> None:
        self.look("on_stop")

    async def on_shutdown(self) -> None:
        self.look("on_shutdown")


async def test_the_life_of_a_service() -> None:
    """It is starting in its start, ready after it, stopping in its stop, and stopped before and after."""
    part = Part()
    assert how(part) is Status.STOPPED
    async with part:
        assert how(part) is Status.READY
        assert part.health.ready
    assert how(part) is Status.STOPPED
    assert not part.health.ready
    assert part.seen == [
        ("on_start", Status.STARTING, False),
        ("on_started", Status.STARTING, False),
        ("on_stop", Status.STOPPING, False),
        ("on_shutdown", Status.STOPPING, False),
    ]


async def test_not_ready_first() -> None:
    """A tree is not ready from the moment of the call that stops it, when nothing has been taken down yet."""
    below = Part("below")
    top = Part("top", below)
    async with top:
        assert top.health.ready
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(top.stop)
            while not top.should_stop:
                await anyio.lowlevel.checkpoint()
            assert not top.health.ready
            assert top.health.report().status is Status.STOPPING
    assert below.seen[2][0] == "on_stop"


@pytest.mark.parametrize("hook", ["on_start", "on_started"])
async def test_a_start_that_failed(hook: str) -> None:
    """It has failed, with the reason, until it is started again or reset."""
    part = Part()
    part.fails_in = hook
    with pytest.raises(OSError, match="boom"):
        await part.start()
    assert (how(part), why(part)) == (Status.FAILED, ("OSError('boom')",))
    part.service_reset()
    assert (how(part), why(part)) == (Status.STOPPED, ())


async def test_a_start_that_was_called_off() -> None:
    """It has not failed."""

    class Slow(Part):
        async def on_start(self) -> None:
            await anyio.sleep_forever()

    slow = Slow()
    with anyio.move_on_after(0.01):
        await slow.start()
    assert how(slow) is Status.STOPPED


async def test_a_crash() -> None:
    """A crash without a supervisor makes all the tree fail, and says of what."""
    below = Part("below")
    top = Part("top", below)
    with pytest.raises(OSError, match="lost"):
        async with top:
            await below.crash(OSError("lost"))
            assert how(top) is how(below) is Status.FAILED
            assert not top.health.ready
            await anyio.sleep_forever()
    report = top.health.report()
    assert report.status is Status.FAILED
    assert [member.reasons for member in report.members] == [("OSError('lost')",)] * 2


@pytest.mark.parametrize("reason", [OSError("no broker"), None, 5])
async def test_a_reason_is_a_text(reason: Any) -> None:
    """What is no text is refused where it is given, and not where the health is read; nothing is said by it."""
    async with Part() as part:
        with pytest.raises(TypeError, match=r"is a text for people.*str\(exc\)"):
            part.health.degrade(reason)
        with pytest.raises(TypeError, match="is a text"), part.health.degraded(reason):
            raise AssertionError
        assert how(part) is Status.READY
        assert json.dumps(part.health.report().as_dict())


async def test_degraded() -> None:
    """It is degraded as long as there is a reason; the tree too, and still ready."""
    below = Part("below")
    top = Part("top", below)
    async with top:
        below.health.degrade("slow disk")
        below.health.degrade("half of the peers")
        assert how(below) is Status.DEGRADED
        assert why(below) == ("slow disk", "half of the peers")
        assert (how(top), why(top)) == (Status.READY, ())
        report = top.health.report()
        assert (report.status, report.ready) == (Status.DEGRADED, True)
        assert report.unwell == (
            Member("below", 1, Status.DEGRADED, ("slow disk", "half of the peers")),
        )
        below.health.recover("slow disk")
        assert how(below) is Status.DEGRADED
        below.health.recover("half of the peers")
        below.health.recover("never said")
        assert top.health.report().status is Status.READY


async def test_unable() -> None:
    """One that says it is unable makes the tree not ready, until it takes that back."""
    below = Part("below")
    top = Part("top", below)
    async with top:
        with below.health.degraded("no broker", able=False):
            assert not top.health.ready
            assert top.health.report().status is Status.DEGRADED
            assert how(top) is Status.READY
        assert top.health.ready


async def test_said_more_than_once() -> None:
    """A reason that was given twice has to be taken back twice; or all of them at once."""
    async with Part() as part:
        with part.health.degraded("busy"):
            with part.health.degraded("busy"):
                pass
            assert why(part) == ("busy",)
        assert why(part) == ()
        part.health.degrade("busy")
        part.health.degrade("busy")
        part.health.degrade("tired", able=False)
        part.health.recover()
        assert how(part) is Status.READY
        part.health.recover()
        assert part.health.ready


async def test_a_block_that_fails() -> None:
    """The reason is taken back, and the failure passes."""
    async with Part() as part:
        with pytest.raises(OSError, match="inside"), part.health.degraded("busy"):
            raise OSError("inside")
        assert part.health.ready


async def test_a_new_run_has_a_clean_slate() -> None:
    """What was said in one run is gone in the next; and what is left of the former one says nothing."""
    contexts: list[contextvars.Context] = []

    class Talks(Part):
        async def on_start(self) -> None:
            contexts.append(contextvars.copy_context())
            if not self.restart_count:
                self.health.degrade("first run")

    def talk() -> None:
        """Say all that can be said."""
        part.health.degrade("from the grave")
        part.health.recover()
        with part.health.degraded("from the grave"):
            said.append(why(part))

    said: list[tuple[str, ...]] = []
    async with Talks() as part:
        assert why(part) == ("first run",)
        await part.restart()
        assert how(part) is Status.READY
        part.health.degrade("second run")
        contexts[0].run(talk)
        assert said == [why(part)] == [("second run",)]
        contexts[1].run(talk)
        assert said[1:] == [("from the grave",)]
        assert why(part) == ()


async def test_before_a_start() -> None:
    """What is said before a start is said of the run to come; a service that does not run shows no reasons."""
    part = Part()
    part.health.degrade("cold cache")
    assert (how(part), why(part)) == (Status.STOPPED, ())
    async with part:
        assert why(part) == ("cold cache",)
    assert why(part) == ()


async def test_supervised() -> None:
    """A supervised service that failed makes the tree degraded, and not failed, until it is up again."""
    part = Part()
    supervisor = OneForOneSupervisor(part, backoff=Backoff(initial=0.01, jitter=0.0))
    top = Part("top", supervisor)
    seen: list[tuple[Status, bool, Status]] = []

    def note(event: LifecycleEvent) -> None:
        if event.subject is part:
            report = top.health.report()
            seen.append((report.status, report.ready, report.members[-1].status))

    async with top:
        unsubscribe = subscribe(note)
        try:
            await part.crash(OSError("boom"))
            while len(seen) < 6:
                await anyio.sleep(0.001)
        finally:
            unsubscribe()
        while part.state != "running":
            await anyio.sleep(0.001)  # pragma: no cover - it runs at once, most often
        assert top.health.report().status is Status.READY
    assert (Status.DEGRADED, True, Status.FAILED) in seen
    assert (Status.DEGRADED, True, Status.STARTING) in seen
    assert {(status, ready) for status, ready, _ in seen[:-1]} == {(Status.DEGRADED, True)}


async def test_one_that_is_at_rest() -> None:
    """A child that was stopped by hand, or is never restarted, is no reason to worry."""
    done, part = Part("done"), Part()
    top = Part("top", part, OneForOneSupervisor(Supervised(done, restart="transient")))
    async with top:
        await done.stop()
        await part.stop()
        report = top.health.report()
        assert (report.status, report.unwell) == (Status.READY, ())
        assert [member.status for member in report.members].count(Status.STOPPED) == 2


async def test_a_tree_for_people_and_for_machines() -> None:
    """A report reads as a tree, and can be told as JSON, of which the size is bounded."""
    top = Part("top", Part("a", Part("b")), Part("c"))
    async with top:
        top.parts[0].health.degrade("slow")
        top.parts[0].health.degrade("cold")
        report = top.health.report()
    assert str(report) == "top: ready\n  a: degraded (slow; cold)\n    b: ready\n  c: ready"
    assert json.loads(json.dumps(report.as_dict(limit=2))) == {
        "status": "degraded",
        "ready": True,
        "services": [
            {"label": "top", "depth": 0, "status": "ready", "reasons": []},
            {"label": "a", "depth": 1, "status": "degraded", "reasons": ["slow", "cold"]},
        ],
        "more": 2,
    }
    assert report.as_dict()["more"] == 0


async def test_the_tree_before_and_after() -> None:
    """A report names what the service is made of, as far as that is known, also while it does not run."""
    top = Part("top")
    top.add_dependency(Part("a"))
    assert str(top.health.report()) == "top: stopped\n  a: stopped"
    async with top:
        pass
    assert str(top.health.report()) == "top: stopped\n  a: stopped"


async def test_in_a_thread() -> None:
    """A service in a thread is degraded by what it says there, and what is below it there belongs to the tree."""

    class Apart(QueueServiceThread):
        def __post_init__(self) -> None:
            self.below = self.add_dependency(Part("below"))

        async def on_start(self) -> None:
            self.health.degrade("far away")

        async def better(self) -> None:
            """Take it back, in the thread."""
            self.health.recover("far away")

    apart = Apart()
    top = Part("top", apart)
    async with top:
        text = "top: ready\n  Apart: degraded (far away)\n    below: ready\n    MethodQueue: ready"
        assert str(top.health.report()) == text
        await apart.call_thread(apart.better)
        assert top.health.report().status is Status.READY
        apart.health.degrade("said from outside")
        assert why(apart) == ("said from outside",)
    assert str(apart.health.report()).startswith("Apart: stopped\n  below: stopped")


async def test_a_thread_that_nobody_waits_for() -> None:
    """It is starting until what is inside has started, and failed when that has."""
    begun, go_on = threading.Event(), threading.Event()

    class Apart(ServiceThread):
        wait_for_thread = False

        async def on_start(self) -> None:
            begun.set()
            await anyio.to_thread.run_sync(go_on.wait)

    top = Part("top")
    apart = Apart()
    top.add_dependency(apart)
    try:
        async with top:
            assert how(apart) is Status.STARTING
            await anyio.to_thread.run_sync(begun.wait)
            assert how(apart) is Status.STARTING
            assert top.health.report().status is Status.DEGRADED
            go_on.set()
            while not apart.health.ready:
                await anyio.sleep(0.001)
    finally:
        go_on.set()


async def test_the_other_face() -> None:
    """A mixin has a health too; what several need is in the report once."""

    class Pool(ServiceMixin):
        async def start(self) -> None:
            health_of(self).degrade("few connections")

    class User(ServiceMixin):
        def __init__(self, pool: Pool) -> None:
            self.pool = pool

        @property
        def dependencies(self) -> list[Pool]:
            return [self.pool]

    pool = Pool()
    one, other = User(pool), User(pool)
    top = Part("top", one, other)
    assert health_of(one).status is Status.STOPPED
    async with top:
        text = "top: ready\n  User: ready\n    Pool: degraded (few connections)\n  User: ready"
        assert str(top.health.report()) == text
        health_of(pool).recover()
        assert top.health.report().status is Status.READY
    assert health_of(pool).status is Status.STOPPED


async def test_a_proxy() -> None:
    """The health of a proxy is that of the service behind."""
    part = Part()

    class Stand(ServiceProxy):
        @cached_property
        def _service(self) -> Service:
            return part

    async with part:
        Stand().health.degrade("seen through")
        assert why(part) == ("seen through",)
        assert health_of(Stand()).reasons == ("seen through",)


async def test_events_and_log(caplog: pytest.LogCaptureFixture) -> None:
    """What changes is told and logged; what was said already is not told again."""
    events: list[LifecycleEvent] = []
    part = Part()
    async with part:
        unsubscribe = subscribe(events.append)
        try:
            with caplog.at_level("INFO"):
                part.health.degrade("slow")
                part.health.degrade("slow")
                part.health.recover("slow")
                part.health.recover("slow")
        finally:
            unsubscribe()
    assert events == [Degraded(part, "slow"), Recovered(part, "slow")]
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines[:2] == [
        ("WARNING", "[^part]: Degraded: slow"),
        ("INFO", "[^part]: Recovered from: slow"),
    ]


async def test_a_deep_tree() -> None:
    """A report does not recurse along the tree."""
    part = Part("0")
    for n in range(1, 1500):
        parent = Part(str(n))
        parent.add_dependency(part)
        part = parent
    assert len(part.health.report().members) == 1500


async def test_from_many_threads() -> None:
    """Threads may say and take back reasons, and read, at the same time: in the end all is as it should be."""
    async with Part() as part:
        failures: list[BaseException] = []

        def talk(number: int) -> None:
            try:
                for _ in range(200):
                    with part.health.degraded(f"reason {number % 2}", able=False):
                        assert not part.health.report().ready
            except BaseException as exc:  # pragma: no cover - what the test is about
                failures.append(exc)

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join)
        assert failures == []
        assert part.health.ready


async def test_what_can_not_say_what_it_is() -> None:
    """A failure whose text can't be had is told by its class, and a long one is cut."""

    class Mute(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    part = Part()
    for failure, said in ((Mute(), "Mute, which can't be shown"), (OSError("x" * 600), "OSError")):
        with pytest.raises(type(failure)):
            async with part:
                await part.crash(failure)
                await anyio.sleep_forever()
        (reason,) = why(part)
        assert reason.startswith(said)
        assert len(reason) < 510


def test_what_is_no_service() -> None:
    """It is refused, with what it is."""
    wrong: Any = health_of
    with pytest.raises(TypeError, match="7 is no service"):
        wrong(7)
    with pytest.raises(TypeError, match="is no service"):
        wrong(Part)


def test_how_it_looks() -> None:
    """Its representation says whose it is, and how that is."""
    assert repr(Part("x").health) == "<Health of x: stopped>"
    assert isinstance(Part().health, Health)
    assert Report((Member("x", 0, Status.FAILED),)).status is Status.FAILED
