"""Rounds: the services of the program in this process, with one thing after the other done to them under load.

A round restarts one service, or stops and starts it, or crashes it and starts the program again, or starves all of
them; who it meets, and what, is random, but that each of these comes once before any comes again. When the warm-up is over, and when all rounds are, the clients are sent away, and
what the program holds then is measured; it must be the same. Whenever the program has stopped, the accounts are checked.
"""

from __future__ import annotations

import functools
import logging
import random
import sys
import time
import tracemalloc
import warnings
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from examples.pageviews.app import PageViews
from examples.pageviews.web import Settings
from structmode import Service

from .crowd import Crowd
from .ends import Failed
from .ledger import Ledger, read_copy
from .measuring import Growth, Measure, descriptors, look_when_quiet, measure

RUN: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
#: How long a round may take on a machine that has other things to do, in seconds.
ROUND = 10.0
#: What it takes for all clients to have been there, and all to have been done once or so, as a part of all rounds.
WARM_UP = 10
#: How many worker threads there may be: few, since idle ones are kept for a while, and take memory.
THREADS = 4
#: What makes Hypercorn quicker, in seconds: for how long it keeps an idle connection, also one that the client has closed;
#: and how long it waits, when it stops, for requests in flight, also those it has forgotten to go on with (on trio).
HASTE = {"keep_alive_timeout": 0.5, "graceful_timeout": 1.0}


class Knock(Exception):
    """What services are crashed with."""


class Rounds:
    """The rounds on one backend.

    Args:
        room: The directory for the database and the log.
        backend: The event loop.
        rounds: How many.
        rng: Whatever is random.
    """

    def __init__(self, room: Path, backend: str, rounds: int, rng: random.Random) -> None:
        self._database = room / f"inside-{backend}.db"
        self._log = room / f"inside-{backend}.log"
        self._backend = backend
        self._rounds = rounds
        self._milestones = (max(1, rounds // WARM_UP), rounds)
        self._rng = rng
        self._untried = [*self._things()]
        rng.shuffle(self._untried)
        self._idle: Measure | None = None
        self._measures: list[Measure] = []
        self._app = PageViews(str(self._database), "127.0.0.1", 0)
        self._knock: Knock | None = None
        self.ledger = Ledger()
        self._crowd = Crowd(self._port, self.ledger, rng)
        self.done = 0
        self.doing = "nothing"

    def run(self, growth: Growth) -> None:
        """Run all rounds; what there is more afterwards is added to `growth`.

        Raises:
            Failed: If anything is not as it should be.
        """
        faults: list[str] = []
        for setting, seconds in HASTE.items():
            setattr(Settings, setting, seconds)
        # What a first event loop opens once and for all is open then.
        anyio.run(anyio.lowlevel.checkpoint, **RUN[self._backend])
        open_before = descriptors()
        with logging_to(self._log), complaints_in(faults), traced():
            try:
                anyio.run(self._run, **RUN[self._backend])
            except Exception as error:
                logging.getLogger(__name__).exception("The soak has failed")
                faults.append(f"in round {self.done}, {self.doing}: {innermost(error)!r}")
            else:
                faults += growth.add(*self._before_and_after())
        faults += dropped(self._log)
        left = descriptors() - open_before
        if left:
            faults.append(f"left open when all was over: {dict(left)}")
        if faults:
            raise Failed(f"rounds on {self._backend}: " + "\n  ".join(faults))

    async def _run(self) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        with anyio.fail_after(self._rounds * ROUND):
            async with anyio.create_task_group() as clients:
                self._crowd.gather(clients)
                while len(self._measures) < len(self._milestones):
                    await self._live()
                    await self._check()
                clients.cancel_scope.cancel()

    def _before_and_after(self) -> tuple[Measure, Measure]:
        """Return what there was before anything was done, but the memory only after the warm-up; and what there is now."""
        warm, after = self._measures
        return replace(self._idle or warm, memory=warm.memory), after

    def _port(self) -> int | None:
        web = self._app.web
        return web.port if web.state == "running" else None

    async def _live(self) -> None:
        """One life: until it crashes, or all is measured."""
        if self._rng.random() < 0.5:
            self._app = PageViews(str(self._database), "127.0.0.1", 0)
        try:
            async with self._app:
                self._idle = self._idle or await look_when_quiet()
                while len(self._measures) < len(self._milestones):
                    if self.done >= self._milestones[len(self._measures)]:
                        await self._measure(self._idle)
                    else:
                        await self._round()
        except Knock as knock:
            if (
                knock is not self._knock
            ):  # pragma: no cover - only if structmode fails: one of another life
                raise
        self._knock = None

    async def _check(self) -> None:
        """Hold the clients' accounts against the database, while the program is not there."""
        await self._crowd.dismiss()
        stored = await anyio.to_thread.run_sync(read_copy, self._database)
        faults = self.ledger.check(stored, counted=True)
        if faults:
            raise Failed("\n  ".join(faults))

    async def _measure(self, idle: Measure) -> None:
        await self._crowd.dismiss()
        self._measures.append(await measure(idle))

    # -- What is done

    async def _round(self) -> None:
        self._crowd.admit()
        await anyio.sleep(self._rng.uniform(0.02, 0.1))
        self.done += 1
        what = self._untried.pop() if self._untried else self._any_thing()
        service = self._rng.choice([self._app, *self._services()])
        self.doing = f"{getattr(what, '__name__', what)} of {service.label}"
        await what(service)

    def _any_thing(self) -> Callable[[Service], Awaitable[None]]:
        things = self._things()
        return self._rng.choices(list(things), list(things.values()))[0]

    def _services(self) -> list[Service]:
        app = self._app
        return [app.store, app.counter, app.visitors, app.history, app.live, app.web]

    def _things(self) -> dict[Callable[[Service], Awaitable[None]], int]:
        """Return what may be done to a service, and how often, compared to the others."""
        return {
            self._restart: 4,
            self._restart_impatiently: 2,
            self._stop_and_start: 3,
            self._crash: 2,
            self._block: 1,
            self._take_all_threads: 1,
            self._keep_from_database: 1,
        }

    async def _restart(self, service: Service) -> None:
        await service.restart()

    async def _restart_impatiently(self, service: Service) -> None:
        """Be cancelled while waiting for a restart; it goes on."""
        with anyio.move_on_after(self._rng.uniform(0, 0.02)):
            await service.restart()
        while service.state != "running":
            await anyio.sleep(0.001)

    async def _stop_and_start(self, service: Service) -> None:
        """Stop it, though others use it, and start it again: it keeps its place among those it stops with."""
        await service.stop()
        await anyio.sleep(self._rng.uniform(0, 0.05))
        await service.start()

    async def _crash(self, service: Service) -> None:
        """Crash it, and with it the program, which will be started again."""
        self._knock = Knock(f"no. {self.done}")
        await service.crash(self._knock)
        await anyio.sleep_forever()

    async def _block(self, service: Service) -> None:
        """Let nobody else have the event loop."""
        time.sleep(self._rng.uniform(0.05, 0.2))  # noqa: ASYNC251 - that is what is wanted

    async def _take_all_threads(self, service: Service) -> None:
        """Let nobody else have a worker thread."""
        nap = functools.partial(time.sleep, self._rng.uniform(0.05, 0.2))
        async with anyio.create_task_group() as sleepers:
            for _ in range(THREADS):
                sleepers.start_soon(anyio.to_thread.run_sync, nap)

    async def _keep_from_database(self, service: Service) -> None:
        """Let nobody else have the thread of the store."""
        await self._app.store.call_thread(time.sleep, self._rng.uniform(0.05, 0.2))


def innermost(error: Exception) -> Exception:
    """Return what is inside of groups of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextmanager
def logging_to(file: Path) -> Generator[None]:
    """Have all that is logged in a file."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()


@contextmanager
def complaints_in(faults: list[str]) -> Generator[None]:
    """Have what Python complains of, and can't raise, among the faults."""

    def note(complaint: Any) -> None:
        if not is_known(complaint):
            faults.append(f"{complaint.err_msg or 'ignored'}: {complaint.exc_value!r}")

    before, sys.unraisablehook = sys.unraisablehook, note
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        sys.unraisablehook = before


def is_known(complaint: Any) -> bool:
    """Tell whether a complaint is about what asyncio does when its server is closed as it accepts a connection.

    It drops that connection without closing it: https://github.com/python/cpython/issues/109564. The client is told by the
    reset, and the descriptor does not stay.
    """
    what, where = str(complaint.exc_value), getattr(complaint.object, "__qualname__", "")
    return (
        what.startswith("unclosed transport <_SelectorSocketTransport")
        or (what.startswith("unclosed <socket.socket") and "raddr=" in what)
        or where == "_SelectorTransport.__del__"
    )


@contextmanager
def traced() -> Generator[None]:
    """Have Python keep count of its memory."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def dropped(log: Path) -> list[str]:
    """Return the lines of a log about what nobody waited for, and what was lost."""
    words = ("never retrieved", "was destroyed", "never awaited", "Lost views")
    return [line for line in log.read_text().splitlines() if any(word in line for word in words)]
