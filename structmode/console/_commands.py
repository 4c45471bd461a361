"""What can be said to a console, and what it answers. This list is all there is: nothing is evaluated."""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from structmode.console._answers import Answer
from structmode.console._history import History
from structmode.console._levels import Levels
from structmode.console._places import Place, Places, Unknown
from structmode.health import Status
from structmode.services import Service
from structmode.timers import Timer
from structmode.utils._told import told
from structmode.utils.cron import CronTicks
from structmode.utils.graphs import as_text
from structmode.utils.times import humanize_seconds

__all__ = ("Commands",)

_FRAME = re.compile(r"^  File (.*)$", re.MULTILINE)
_WAITING = re.compile(r"[/\\](anyio|trio|asyncio|structmode)[/\\]")


@dataclass(eq=False)
class _Row:
    """A place as it is drawn."""

    label: str
    children: list[_Row] = field(default_factory=list["_Row"])


class Commands:
    """The commands.

    Args:
        places: What they may be about.
        history: What has happened.
        levels: The log levels.
    """

    def __init__(self, places: Places, history: History, levels: Levels) -> None:
        self._places = places
        self._history = history
        self._levels = levels
        self._known: dict[str, tuple[Callable[[str, Answer], Awaitable[None]], str, str]] = {
            "help": (self._help, "", "this list"),
            "tree": (self._tree, "[SERVICE]", "the services, their states, and since when they are up"),
            "health": (self._health, "[SERVICE]", "whether a tree can be given work, and what in it is not well"),
            "tasks": (self._tasks, "[SERVICE]", "the tasks of a service and of those below, and where each stands"),
            "stacks": (self._stacks, "SERVICE", "the whole stack of each task of one service"),
            "timers": (self._timers, "[SERVICE]", "timers and crontabs, and how late they are"),
            "failures": (self._failures, "[SERVICE]", "what went wrong; with a service, its tracebacks"),
            "level": (self._level, "[[LOGGER] LEVEL]", "the log levels; or set that of the root logger, or of another"),
            "stop": (self._stop, "SERVICE", "stop one service, and those below it"),
            "restart": (self._restart, "SERVICE", "stop one service and start it again; one that is stopped is started"),
        }  # fmt: skip

    async def obey(self, line: str, answer: Answer) -> None:
        """Do what a line says, and answer; what goes wrong in that is the answer, too."""
        word, _, argument = line.partition(" ")
        if not word:
            return
        if word.lower() not in self._known:
            await answer.lines([f"there is no command {word}; `help` lists those that there are"])
            return
        command, usage, _ = self._known[word.lower()]
        if usage[:1].isalpha() and not argument:
            await answer.lines([f"write: {word.lower()} {usage}"])
            return
        try:
            await command(argument, answer)
        except (Unknown, ValueError) as exc:
            await answer.lines([str(exc)])

    # -- To look

    async def _help(self, argument: str, answer: Answer) -> None:
        commands = {f"{word} {usage}": does for word, (_, usage, does) in self._known.items()}
        commands["quit"] = "close this connection"
        width = max(map(len, commands))
        await answer.lines(f"{usage:{width}}  {does}" for usage, does in commands.items())
        await answer.lines(["A SERVICE is named as in the tree, or by its path: Worker/App/Web."])

    async def _tree(self, argument: str, answer: Answer) -> None:
        top = self._place(argument)
        # One more than is shown, so that it is said that there is more.
        shown = list(islice(top.all(), answer.left + 1))
        rows = {id(place): _Row(self._row(place)) for place in shown}
        for place in shown:
            rows[id(place)].children = [rows[id(one)] for one in place.below if id(one) in rows]
        await answer.lines(as_text(rows[id(top)]).splitlines())

    def _row(self, place: Place) -> str:
        service = place.thing
        if not isinstance(service, Service):
            return place.name
        said = [service.state]
        uptime = self._history.uptime(service)
        if uptime is not None:
            said.append(f"up {humanize_seconds(int(uptime), now='just now')}")
        if service.restart_count:
            said.append(f"restarts: {service.restart_count}")
        if service.crash_reason is not None:
            said.append(told(service.crash_reason))
        elif service.health.status is Status.DEGRADED:
            said.append(f"degraded: {'; '.join(service.health.reasons)}")
        return f"{place.name} ({', '.join(said)})"

    async def _health(self, argument: str, answer: Answer) -> None:
        top = self._place(argument)
        if not isinstance(top.thing, Service):
            await answer.lines([f"{top.path} is no service"])
            return
        report = top.thing.health.report()
        can = "can" if report.ready else "can't"
        await answer.lines([f"{top.path} is {report.status.value}: it {can} be given work"])
        await answer.lines(map(str, report.unwell))

    async def _tasks(self, argument: str, answer: Answer) -> None:
        await answer.lines(_lines_per_service(self._place(argument), _tasks_of))

    async def _stacks(self, argument: str, answer: Answer) -> None:
        _, service = self._places.service(argument)
        await answer.lines(service.human_tracebacks().splitlines())

    async def _timers(self, argument: str, answer: Answer) -> None:
        await answer.lines(_lines_per_service(self._place(argument), _timers_of))

    async def _failures(self, argument: str, answer: Answer) -> None:
        if not argument:
            await answer.lines(list(self._history.failures) or ["nothing has gone wrong"])
            return
        place, service = self._places.service(argument)
        await answer.lines(_failures_of(place, service))

    def _place(self, name: str) -> Place:
        return self._places.find(name) if name else self._places.root()

    # -- To change something

    async def _level(self, argument: str, answer: Answer) -> None:
        if not argument:
            await answer.lines(self._levels.shown())
            return
        name, _, level = argument.rpartition(" ")
        await answer.lines([self._levels.set(name or "root", level)])

    async def _stop(self, argument: str, answer: Answer) -> None:
        place, service = self._places.service(argument)
        await _change(place, "stop", service.stop, answer)

    async def _restart(self, argument: str, answer: Answer) -> None:
        place, service = self._places.service(argument)
        await _change(place, "restart", service.restart, answer)


async def _change(
    place: Place, what: str, change: Callable[[], Awaitable[None]], answer: Answer
) -> None:
    # Said first: to stop what the console is a part of ends this conversation.
    await answer.line(f"{what} {place.path}...")
    try:
        await change()
    except Exception as exc:  # noqa: BLE001 - it is said to who asked for this
        await answer.lines([f"{place.path} could not {what}: {told(exc)}"])
    await answer.lines([f"{place.path} is {place.thing.state}"])


def _lines_per_service(top: Place, lines_of: Callable[[Service], Iterable[str]]) -> Iterator[str]:
    nothing = True
    for place, service in top.services():
        lines = list(lines_of(service))
        if lines:
            nothing = False
            yield place.path
        yield from (f"  {line}" for line in lines)
    if nothing:
        yield "none"


def _tasks_of(service: Service) -> Iterator[str]:
    for name, stack in service.tracebacks().items():
        yield f"{name}: {_where(stack)}"


def _where(stack: str) -> str:
    """Return the line of a stack that says most: the innermost that is not a library's for waiting, or else the first."""
    frames: list[str] = _FRAME.findall(stack)
    theirs = [frame for frame in frames if not _WAITING.search(frame)]
    return (theirs or frames or ["not begun"])[-1 if theirs else 0]


def _timers_of(service: Service) -> Iterator[str]:
    schedules: list[Timer | CronTicks] = service._schedules_in_use()
    for schedule in sorted(schedules, key=lambda one: one.name):
        late = f"last late by {schedule.late:.3f} s"
        match schedule:
            case Timer():
                yield (
                    f"{schedule.name}: every {schedule.interval_s:g} s, ticks: {schedule.iteration}, {late}, "
                    f"skipped: {schedule.skipped}, overlaps: {schedule.overlaps}"
                )
            case CronTicks():  # pragma: no branch - there is no other
                yield (
                    f"{schedule.name}: {schedule.schedule.line}, next {schedule.target}, runs: {schedule.iteration}, "
                    f"{late}, missed: {schedule.missed}"
                )


def _failures_of(place: Place, service: Service) -> Iterator[str]:
    failures = list(service.failures)
    reason = service.crash_reason
    if reason is not None and all(reason is not failure for failure in failures):
        failures.insert(0, reason)
    if not failures:
        yield f"{place.path}: nothing has gone wrong in its last run"
    for number, failure in enumerate(failures, 1):
        yield f"{place.path}, {number} of {len(failures)}: {told(failure)}"
        for part in traceback.format_exception(failure):
            yield from part.splitlines()
