"""The laws of a service's life, as a simulation: given a plan, what must happen, and when.

This is what the laws of `docs/explanation/laws.md` come to when they are written as plainly as possible. It knows neither
structmode nor an event loop: hooks, tasks and calls are processes of `simulation`, and a service's life is one of them. It
has no shields, task groups or exit stacks, so it can't be wrong in the way an implementation would be.

What it says of a plan is a `Story`: every line of the log with its time, and how each service was left. Lines in one
instant have an order only where a law gives them one: each line knows which lines come before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

from .plan import (
    FOREVER,
    MOST_CALLS,
    PATIENCE,
    Call,
    Context,
    Hook,
    HookName,
    Plan,
    Script,
    Work,
)
from .simulation import Cut, Doing, Gate, Process, Simulation, Tie, Wait
from .story import Aborted, Fault, Line, Log, Misuse, Overdue, Story, standing

#: How long a stop waits, after its time was up and everything was cancelled, for what ignores even that.
GRACE = 1_000_000
#: When a caller of stop() looks for the first time at what is left, after the time is up.
FIRST_LOOK = GRACE // 4
#: How long it waits, after that, for a service below, which has waited as long as `GRACE` for its own things.
PATIENCE_WITH_CHILDREN = 1_500_000
#: What may be asked of a service in a thread both there and where its owner is.
ABOUT_THE_WHOLE = {"start", "stop", "restart", "crash", "allow"}
#: How long a service must have been at one thing to be given up then.
STUCK_AFTER = 1_250_000


class Caller:
    """Who makes a call: nobody in particular, or a hook or a task of a run."""

    def __init__(self, track: str, run: Run | None = None, hook: HookName | None = None) -> None:
        self.track = track
        self.run = run
        self.hook = hook

    def is_hook_within(self, run: Run) -> bool:
        """Whether it is a hook of a run or of one below: it can't wait for the end of that run."""
        return self.hook is not None and self.is_within(run)

    def is_hook_of(self, run: Run) -> bool:
        """Whether it is a hook of this very run."""
        return self.hook is not None and self.run is run

    @property
    def loop(self) -> Unit | None:
        """The service in whose thread it is."""
        return self.run.unit.loop if self.run is not None else None

    def is_within(self, run: Run) -> bool:
        """Whether a run, or one below it, has it."""
        return self.run is not None and run in self.run.lineage()


# --- Owners ---------------------------------------------------------------------------------------


class Owner:
    """Nobody: the owner of a service that was started bare. Whoever owns a run hears of its crash."""

    above: Run | None = None
    #: Whether the run above has what it owns among its children.
    is_parent: bool = True

    def takes_runs(self) -> bool:
        """Whether a run may begin in it."""
        return True

    def crashed(self, unit: Unit, fault: Fault) -> None:
        """Hear of a crash; here it can only be logged."""


class ParentRun(Owner):
    """The run of the service above."""

    def __init__(self, run: Run) -> None:
        self.above: Run | None = run
        self._run = run

    def takes_runs(self) -> bool:
        """As long as nobody in it has been told to stop."""
        return self._run.takes_work()

    def crashed(self, unit: Unit, fault: Fault) -> None:
        """Suffer what the child did, if it does not deal with it."""
        if not self._run.unit.child_failed(unit, fault):
            self._run.fail(fault)


class Block(Owner):
    """An ``async with`` block."""

    def __init__(self) -> None:
        self.is_open = True
        self.fault: Fault | None = None
        self.body: Process | None = None

    def takes_runs(self) -> bool:
        """Until it is being left."""
        return self.is_open

    def crashed(self, unit: Unit, fault: Fault) -> None:
        """Cancel the body; the first fault leaves."""
        if self.fault is None:  # pragma: no branch - no plan is known with a second one
            self.fault = fault
        if self.body is not None:
            self.body.cancel()


# --- One run --------------------------------------------------------------------------------------


class Run:
    """One start-to-stop cycle of a service. It is never reset."""

    def __init__(self, unit: Unit, owner: Owner, *, restarting: bool) -> None:
        self.unit = unit
        self.owner = owner
        self.restarting = restarting
        self.state = "starting"
        #: Given to the whole tree at once by a failure: nobody goes on working.
        self.told = Gate()
        #: Given from the top down: it is your turn to stop.
        self.turn = Gate()
        self.started = Gate()
        #: It is known how the start ends; one that failed may have to be undone yet.
        self.decided = Gate()
        self.stopped = Gate()
        #: Its steps are over; all that may be left is what ignores even a kill.
        self.unwound = Gate()
        #: Given by whoever allows the stop to be completed, if it asks for that.
        self.permission = Gate()
        self.deadline: int | None = None
        self.killed = False
        #: The first failure of this run, or of one above it.
        self.alarm: Fault | None = None
        self.crash_reason: Fault | None = None
        #: What `start` raises.
        self.start_fault: Fault | None = None
        #: What `stop` raises.
        self.stop_fault: Fault | None = None
        #: How many wait for the stop, and so get its fault.
        self.receivers = 0
        self.was_up = False
        self.up_since: int | None = None
        #: Whether the unit above has dealt with its failure, which then goes no further.
        self.dealt_with = False
        self.successor: Run | None = None
        #: Its own failures, and the records of the children that it has stopped.
        self.record: list[Fault | Run] = []
        #: Which children to start, in order.
        self.wanted: list[Unit] = list(unit.children)
        self.reached = 0
        #: The runs of children that there are, in the order of their starts.
        self.below: list[Run] = []
        self.tasks: list[TaskLife | Labour] = []
        self.contexts: list[tuple[int, Context]] = []
        #: How many async contexts are just being left.
        self.leaving = 0
        #: Its last lines in the log.
        self.last_lines: set[int] = set()
        self._set_up = False
        self._born = unit.world.simulation.now
        self._began_at = 0
        self._awaits_child = False
        self._said_overdue = False
        self._killed_at = 0
        # The children whose stop has been waited for; those that are still there ignore their kill.
        self._waited_for: list[Run] = []
        self._in_step = False
        self._was_cut = False
        self._limit: int | None = None
        self._log = unit.world.log
        self._simulation = unit.world.simulation
        self.process: Process | None = None
        self.changed = Gate()

    @property
    def label(self) -> str:
        return self.unit.script.label

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state != "stopped"

    # -- Where it is

    def lineage(self) -> list[Run]:
        """Return this run, and all that own it."""
        found: list[Run] = [self]
        while (above := found[-1].owner.above) is not None:
            found.append(above)
        return found

    def tree(self) -> list[Run]:
        """Return this run and all below it."""
        found: list[Run] = [self]
        for run in found:  # grows while it is walked
            found.extend(run.below)
            found.extend(run.ending())
        return found

    def ending(self) -> list[Run]:
        """Return the runs of what it needs that it has told to stop, and that have not ended."""
        return []

    def holds(self) -> int:
        """Return how much there is of it: itself, its tasks, and the async contexts that have not been left."""
        held = sum(context.is_async for _, context in self.contexts)
        return 1 + len(self.tasks) + held + self.leaving

    def takes_work(self) -> bool:
        """Whether tasks and children may begin in it."""
        return self.state in {"starting", "running"} and not self.told.is_open

    def left(self) -> str:
        """Return how it stands."""
        reason = self.crash_reason.name if self.crash_reason else None
        return standing(self.word(), reason, [fault.name for fault in self.faults()])

    def word(self) -> str:
        """Return its state, as a service shows it."""
        if self.crash_reason is not None:
            return "crashed"
        if self.state == "stopped":
            return "shutdown" if self.was_up else "init"
        return "stopping" if self.turn.is_open else self.state

    def faults(self) -> list[Fault]:
        """Return its failures and those of the children that it has stopped, each once."""
        found: list[Fault] = []
        for one in self.record:
            found += [one] if isinstance(one, Fault) else one.faults()
        return list(dict.fromkeys(found))

    # -- Messages

    def request_stop(self, caller: Caller | None = None) -> None:
        """Tell it that its turn has come. The time of the stop counts from now. A start is cut short at once.

        A hook of its own start that asks is not cut short, but must end within that time.
        """
        if not self.alive:
            return
        if not self.turn.is_open:
            self.deadline = self._simulation.now + self.unit.script.shutdown_timeout
            self.turn.open()
            self.told.open()
        if self.state != "starting":
            return
        if caller is not None and caller.is_hook_of(self):
            self._bound()
        else:
            self._interrupt()

    def kill(self) -> None:
        """Cancel it and all below it: everything that it has yet to do will be cut short, but done."""
        for run in reversed(self.tree()):
            run.request_stop()
            run._killed_at = run._killed_at if run.killed else self._simulation.now
            run.killed = True
            run._interrupt()
            for task in run.tasks:
                task.cancel(killed=True)

    def _interrupt(self) -> None:
        if self.state == "starting" and self._simulation.now == self._born:
            raise Tie  # how far a start comes in the instant in which it is called off, no law says
        if self._in_step and self.process is not None:
            self._was_cut = True
            self.process.cancel()

    # -- Failures

    def fail(self, fault: Fault) -> None:
        """Meet a failure of a task, a child, or one that was reported.

        Starting: that is why the start fails. Running: it crashes, with all below and all above. Stopping: it is kept.
        """
        if not self.alive:
            return
        if self.state == "running" and not self.turn.is_open:
            for run in self.tree():
                run.mark_crashed(fault)
        sufferer: Run | None = self
        while sufferer is not None:
            sufferer = sufferer.suffer(fault)

    def suffer(self, fault: Fault) -> Run | None:
        """Take a failure; return who must suffer it next."""
        was_told = self.alarm is not None
        self.keep(fault)
        if self.state == "starting":
            self._interrupt()
            return None
        if self.state == "stopping" or self.turn.is_open:
            return None
        self.mark_crashed(fault)
        above = self.owner.above
        if above is None:
            if not was_told:  # pragma: no branch - no plan is known in which it was
                self.owner.crashed(self.unit, fault)
            self.request_stop()
            return None
        if not was_told and above.unit.child_failed(self.unit, fault):
            self.dealt_with = True
            self.request_stop()
            return None
        if above.state == "stopping" or (was_told and above.crash_reason is not None):
            return None  # its turn will come, from above
        return above

    def mark_crashed(self, fault: Fault) -> None:
        """Crash of the first fault that says so."""
        if self.crash_reason is None:
            self.crash_reason = fault

    def keep(self, fault: Fault) -> None:
        """Keep a failure; the first one is what leaves, and sounds the alarm."""
        if fault in self.record:
            return
        first = not self.record
        self.record.append(fault)
        if first:
            self._sound_alarm(fault)

    def _take_up(self, child: Run) -> None:
        """Keep what went wrong in a child that has been stopped."""
        if child.record and child not in self.record and not self._has_dealt_with(child):
            first = not self.record
            self.record.append(child)
            if first:
                self._sound_alarm(child.first())

    def _has_dealt_with(self, child: Run) -> bool:
        """Whether a failure of a child ended with it, or does so now, if that is a start which failed."""
        if child.was_up:
            return child.dealt_with
        return self.unit.child_failed(child.unit, child.first())

    def first(self) -> Fault:
        """Return the first failure."""
        one = self.record[0]
        return one if isinstance(one, Fault) else one.first()

    def _sound_alarm(self, fault: Fault) -> None:
        """Tell all below that nobody is to go on working."""
        if self.turn.is_open:
            self.stop_fault = fault
        for run in [*self.tree(), *self.unit.world.hosted(self)]:
            if run.alarm is None:
                run.alarm = fault
                run.told.open()

    # -- The whole life

    def live(self) -> Doing[None]:
        """The life of a run: start, wait for its turn, stop."""
        ending = "cut short"
        if not self.turn.is_open and not self.record:  # pragma: no branch - else there is a tie
            ending = yield from self._step(self._start())
        if ending == "overdue":
            self._run_over()
        if ending == "done":
            self.state = "running"
            self.was_up = True
            self.up_since = self._simulation.now
            if self._was_cut and self.unit.has_thread:
                self.unit.world.meets.add(
                    "a start in a thread is called off, and completed all the same"
                )
            self.decided.open()
            self.started.open()
            yield Wait(self.turn)
        else:
            self.start_fault = self.first() if self.record else Aborted(self.label)
            self.decided.open()
        self.state = "stopping"
        yield from self._stop()
        if self.unit.has_thread and isinstance(self.start_fault, Aborted) and self.record:
            self.unit.world.meets.add("a start in a thread is called off, and fails to be undone")
        self.last_lines = self._log.last(self.label)
        self.unwound.open()
        while self.tasks or self.below or self.unit.world.hosted(self):
            self.changed = Gate()
            yield Wait(self.changed)
        self.state = "stopped"
        self.told.open()
        self.started.open()
        self.stopped.open()

    def _step(self, doing: Doing[None], until: int | None = None) -> Doing[str]:
        """Do one step. What it raises is kept; it is cut short by a message, a kill, or when its time is up."""
        process = self.process
        assert process is not None
        self._limit = self.deadline if until is None else until
        process.cancelled = self.killed
        self._in_step = True
        self._began_at = self._simulation.now
        own_timer = self._timer(self._limit, process)
        ending = "done"
        try:
            yield from doing
        except Cut:
            in_time = self._limit is None or self._simulation.now < self._limit
            ending = "cut short" if self.killed or in_time else "overdue"
        except Fault as fault:
            ending = "failed"
            self._step_failed(fault)
        own_timer()
        self._in_step = False
        process.cancelled = False
        return ending

    def _timer(self, limit: int | None, process: Process) -> Callable[[], None]:
        if limit is None:
            return lambda: None
        if limit <= self._simulation.now:
            process.cancelled = True
        timer = self._simulation.at(limit, process.cancel, self._cause(limit))
        return timer.drop

    def _cause(self, limit: int) -> object:
        return ("deadline", id(self)) if limit == self.deadline else "grace"

    def _bound(self) -> None:
        if (  # pragma: no branch - a hook asks once, and in its step
            self._in_step and self.process is not None and self._limit is None
        ):
            self._limit = self.deadline
            process, limit = self.process, self._due()
            step_of_start = self.state

            def end() -> None:
                if self.state == step_of_start:
                    process.cancel()

            _ = self._simulation.at(limit, end, self._cause(limit))

    def _step_failed(self, fault: Fault) -> None:
        if isinstance(fault, Aborted) and self.state == "starting" and self.turn.is_open:
            return
        self.keep(fault)

    def _run_over(self) -> None:
        """The time of the stop is up."""
        self._said_overdue = True
        self.keep(Overdue(self.label))
        self.kill()

    # -- Start

    def _start(self) -> Doing[None]:
        if self.restarting:
            yield from self._hook("on_restart")
            self._check_wanted()
        if not self.unit.started_once:
            yield from self._hook("on_first_start")
            self._check_wanted()
        self.unit.begins()
        yield from self._hook("on_start")
        self._set_up = True
        self._check_wanted()
        for number, work in enumerate(self.unit.script.work):
            if (
                not self.takes_work()
            ):  # it is to stop, when its turn comes: nobody begins to work now
                break
            task = TaskLife(self, number, work)
            self.tasks.append(task)
            yield Wait(task.begun)
        while self.reached < len(self.wanted):
            self._check_wanted()
            self.reached += 1
            yield from self._start_child(self.wanted[self.reached - 1])
        self._check_wanted()
        self.unit.is_set_up(self)
        yield from self._hook("on_started")
        self._check_well()

    def _check_wanted(self) -> None:
        self._check_well()
        if self.turn.is_open:
            raise Aborted(self.label)

    def _check_well(self) -> None:
        if self.record:
            raise self.first()

    def _start_child(self, child: Unit) -> Doing[None]:
        run = child.run
        if run is None or not run.alive:
            self._log.follow(child.script.label, self.label)
            yield from child.start_in(ParentRun(self), undo=False)
        elif run.owner.above is not self:
            raise Misuse
        elif run.state == "starting":
            run = yield from until_started(run)
            if run.start_fault is not None:
                raise run.start_fault
        self._log.follow(self.label, child.script.label)

    # -- Stop

    def _stop(self) -> Doing[None]:
        self.told.open()
        if self.deadline is None:
            self.deadline = self._simulation.now + self.unit.script.shutdown_timeout
        self.turn.open()
        self.below.sort(key=self._place_of)
        yield from self._stop_children(only_half_started=True)
        if self._set_up:
            self.unit.has_its_turn()
            yield from self._last_hook("on_stop")
        yield from self._stop_children()
        yield from self._stop_tasks()
        yield from self._leave_contexts()
        if self._set_up:
            yield from self._last_hook("on_shutdown")

    def _place_of(self, child: Run) -> int:
        """Children stop in the reverse of the order in which they were added, whenever each was started."""
        return self.wanted.index(child.unit) if child.unit in self.wanted else len(self.wanted)

    def _last_hook(self, name: HookName) -> Doing[None]:
        ending = yield from self._step(self._hook(name))
        late = not self.killed and self._simulation.now >= self._due()
        if ending == "overdue" or late:  # it may have ignored that it was cut short
            self._run_over()

    def _stop_children(self, *, only_half_started: bool = False) -> Doing[None]:
        """Stop children, the youngest first, each wholly before the next."""
        while True:
            those = [run for run in self.below if run not in self._waited_for]
            those = [run for run in those if not (only_half_started and run.was_up)]
            if not those:
                return
            child = those[-1]
            self._waited_for.append(child)
            yield from self._stop_child(child)

    def _stop_child(self, child: Run) -> Doing[None]:
        child.receivers += 1
        if not child.turn.is_open:
            self._log.follow(child.label, self.label)
        child.request_stop()
        self._awaits_child = True
        yield from self._await_child(child)
        self._awaits_child = False
        self._began_at = self._simulation.now  # from here on it is at something else
        if child.unwound.is_open:
            self._log.come_after(self.label, child.last_lines)
        if not child.stopped.is_open and not child._said_overdue:  # it is left behind
            child._run_over()
        self._take_up(child)

    def _await_child(self, child: Run) -> Doing[None]:
        """Wait until a child has done its steps; one that hangs past its own time keeps nobody else from stopping."""
        limit = child._due() + PATIENCE_WITH_CHILDREN
        while not child.unwound.is_open:
            if self.killed:
                until = self._simulation.now + PATIENCE_WITH_CHILDREN
                yield Wait(child.unwound, until, cause="grace", shielded=True)
                self._note_grace()
            else:
                until = min(limit, self._due())
                if (yield from self._step(self._wait_for(child.unwound), until)) != "overdue":
                    continue
                if self._simulation.now >= self._due():
                    self._run_over()
                    continue
                limit = self._simulation.now + PATIENCE_WITH_CHILDREN
            if child._is_stuck():
                self.note_ignored_kill()
                return

    def _is_stuck(self) -> bool:
        """Whether waiting longer for it is of no use: it has been at one thing, of its own, for long."""
        long = self._simulation.now - self._began_at >= STUCK_AFTER
        return long and not self._awaits_child and not self.unwound.is_open

    def _due(self) -> int:
        """When its stop, which has been asked for, must be over."""
        assert self.deadline is not None
        return self.deadline

    def _await_end(self, gate: Gate) -> Doing[None]:
        """Wait for what must come; when the time of the stop is up, kill what is left, and wait a little more."""
        while not gate.is_open:
            if self.killed:
                self._began_at = self._simulation.now
                yield Wait(gate, self._began_at + GRACE, cause="grace", shielded=True)
                self._note_grace()
                return
            if (yield from self._step(self._wait_for(gate))) == "overdue":
                self._run_over()

    def _note_grace(self) -> None:
        """Note that something has ignored its kill for a while: how long that is waited for across threads is no law."""
        if self._simulation.now > self._killed_at:
            self.note_ignored_kill()

    def note_ignored_kill(self) -> None:
        if self.unit.world.has_threads:
            self.unit.world.meets.add("what ignores its kill in a program with threads")

    def _wait_for(self, gate: Gate) -> Doing[None]:
        yield Wait(gate)

    def _stop_tasks(self) -> Doing[None]:
        """Let tasks end by themselves for a while, then cancel them, the youngest first.

        Before that, every wait that being told ends has returned.
        """
        yield from self._let_others_go_on()
        drain = self.unit.script.drain_timeout
        if drain and self.tasks and not self.killed:
            limit = self._simulation.now + drain
            yield from self._step(self._tasks_end(), min(limit, self._due()))
        for task in reversed(tuple(self.tasks)):
            task.cancel(killed=self.killed)
            yield from self._let_others_go_on()
        if self.unit.script.asks and self._set_up:
            ending = yield from self._step(self._wait_for(self.permission))
            if ending == "overdue":
                self._run_over()
        if self.tasks:
            everybody = Gate()
            self._simulation.spawn(self._open_when_tasks_end(everybody))
            yield from self._await_end(everybody)

    def _let_others_go_on(self) -> Doing[None]:
        """Let those go on that have been woken in this instant, and then those that these have woken."""
        for _ in range(2):
            yield Wait(self.told, shielded=True)

    def _tasks_end(self) -> Doing[None]:
        while self.tasks:
            yield Wait(self.tasks[0].process.over)

    def _open_when_tasks_end(self, gate: Gate) -> Doing[None]:
        yield from self._tasks_end()
        gate.open()

    def _leave_contexts(self) -> Doing[None]:
        """Leave them, last in first out; one that fails or is cut short does not keep the others from being left."""
        while self.contexts:
            number, context = self.contexts.pop()
            name = f"{self.label}.context {number}"
            self._log.add(f"{name} leaving", self.label)
            if not context.is_async:
                continue
            self.leaving += 1
            ending = yield from self._step(self._leave(name, context))
            self.leaving -= 1
            if ending == "overdue":
                self._run_over()

    def _leave(self, name: str, context: Context) -> Doing[None]:
        try:
            yield from self.pause(context.leaving)
        except Cut:
            self._log.add(f"{name} cut", self.label)
            raise
        self._log.end(name, context.then, self.label)

    # -- What is scripted

    def _hook(self, name: HookName) -> Doing[None]:
        hook = self.unit.script.hooks.get(name)
        if hook is None:
            return
        where = f"{self.label}.{name}"
        self._log.steps += 1
        self._log.add(f"{where} begins", self.label)
        try:
            if name == "on_start":
                yield from self._enter_contexts()
            yield from self._hook_body(name, hook)
        except Cut:
            self._log.add(f"{where} cut", self.label)
            raise
        self._log.end(where, hook.then, self.label)

    def _hook_body(self, name: HookName, hook: Hook) -> Doing[None]:
        yield from self.pause(hook.takes, shielded=hook.deaf)
        if hook.call is not None:
            caller = Caller(self.label, self, name)
            yield from self.unit.world.perform(hook.call, caller)
            yield from self.pause(hook.rest)

    def pause(self, time: int, *, shielded: bool = False) -> Doing[None]:
        """Let some time pass; none is no wait at all."""
        if time:
            yield Wait(until=self._simulation.now + time, shielded=shielded)

    def _enter_contexts(self) -> Doing[None]:
        for number, context in enumerate(self.unit.script.contexts):
            self._log.steps += 1
            name = f"{self.label}.context {number}"
            try:
                yield from self.pause(context.entering)
            except Cut:
                self._log.add(f"{name} not entered", self.label)
                raise
            if self._log.ends(f"{name} entering", context.entered_then):
                self._log.add(f"{name} fails", self.label)
                raise self._log.fault(name)
            self._log.add(f"{name} entered", self.label)
            self.contexts.append((number, context))


class Labour:
    """A task of a run that is not scripted: what it does has no lines in the log."""

    def __init__(self, run: Run, doing: Doing[None]) -> None:
        self._run = run
        run.tasks.append(self)
        self.process = run.unit.world.simulation.spawn(self._live(doing))

    def cancel(self, *, killed: bool = False) -> None:
        """Cancel it."""
        self.process.cancel()

    def _live(self, doing: Doing[None]) -> Doing[None]:
        with suppress(Cut):
            yield from doing
        self._run.tasks.remove(self)
        self._run.changed.open()


class TaskLife:
    """A task of a run."""

    def __init__(self, run: Run, number: int, work: Work) -> None:
        self._run = run
        self._work = work
        self._where = f"{run.label}.task {number}"
        self._track = self._where
        self._log = run.unit.world.log
        self._simulation = run.unit.world.simulation
        self._log.steps += 1
        self._log.add(f"{self._where} begins", run.label)
        self._log.follow(self._track, run.label)
        self._is_cancelled = False
        self._in_call = False
        #: Opens when it has made its first step.
        self.begun = Gate()
        self.process = self._simulation.spawn(self._live())

    def cancel(self, *, killed: bool) -> None:
        """Cancel it. In an orderly stop, it goes on in its turn; when all are killed, in no order."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._killed = killed
            self.process.cancel()

    def _live(self) -> Doing[None]:
        try:
            yield from self._until_cancelled()
        except Fault as fault:
            self._gone()
            self._run.fail(fault)
        else:
            self._gone()

    def _gone(self) -> None:
        self._run.tasks.remove(self)
        self._run.changed.open()

    def _until_cancelled(self) -> Doing[None]:
        work = self._work
        self.begun.open()
        try:
            gate = self._run.told if work.listens else None
            told = yield Wait(gate, self._simulation.now + work.takes, gives_way=True)
            if told:
                self._log.add(f"{self._where} is told", self._track)
                yield from self._run.pause(work.winds_up)
            elif work.call is not None:
                self._in_call = True
                yield from self._run.unit.world.perform(work.call, Caller(self._track, self._run))
                self._in_call = False
                yield from self._run.pause(work.rest)
        except Cut:
            yield from self._clean_up()
            return
        self._log.end(self._where, work.told_then if told else work.then, self._track)

    def _clean_up(self) -> Doing[None]:
        # One that must undo a start first, say, is cancelled in its turn, too, but may be the last to be seen.
        in_turn = not self._killed and not self._in_call
        if in_turn:
            self._log.follow(self._track, self._run.label)
        self._log.add(f"{self._where} is cancelled", self._track)
        if in_turn:
            self._log.follow(self._run.label, self._track)
        yield from self._run.pause(self._work.cleans_up, shielded=True)
        self._log.end(self._where, self._work.cancelled_then, self._track)


def until_started(run: Run) -> Doing[Run]:
    """Wait for a start to be over; if a restart has taken its place, for that."""
    yield Wait(run.started)
    while isinstance(run.start_fault, Aborted) and run.successor is not None:
        run = run.successor
        yield Wait(run.started)
    return run


def until_stopped(run: Run, simulation: Simulation) -> Doing[None]:
    """Wait for a stop to be over, but, when its time is up, only as long as something of it ends within each grace."""
    until, left = (run.deadline or 0) + FIRST_LOOK, -1
    cause: object = ("first look", id(run))
    while not run.stopped.is_open:  # pragma: no branch - it can't open between two waits
        if (yield Wait(run.stopped, until, cause)):
            return
        before, left = left, sum(one.holds() for one in run.tree())
        if before != -1 and left >= before:
            run.note_ignored_kill()
            raise Overdue(run.label)
        until, cause = simulation.now + GRACE, "grace"


# --- One service ----------------------------------------------------------------------------------


class Succession:
    """A restart that has been asked for, until the old run is over."""

    def __init__(self) -> None:
        self.decided = Gate()
        self.run: Run | None = None
        self.fault: Fault | None = None
        self.receivers = 0


class Unit:
    """A service: a place in the tree, and one run after the other.

    A kind of services that lives by other laws is a subclass; see `kinds`.
    """

    #: Whether it runs in a thread of its own.
    has_thread: ClassVar[bool] = False
    #: By what its runs live.
    run_type: ClassVar[type[Run]] = Run

    def __init__(self, script: Script, world: World, parent: Unit | None = None) -> None:
        self.script = script
        self.world = world
        self.parent = parent
        self.children: list[Unit] = [world.make(child, parent=self) for child in script.children]
        #: What comes in its place when it is replaced; it does so once.
        self.substitute = world.make(script.substitute) if script.substitute is not None else None
        self.run: Run | None = None
        self.block: Block | None = None
        self.started_once = False
        self._succession: Succession | None = None
        self._removed = False
        self._first_permission = Gate()
        # What `on_first_start` has added stays, if the start succeeds: that hook does not come again.
        self._lasting: list[Unit] = []

    @property
    def alive(self) -> bool:
        """Whether it has a run that has not ended."""
        return self.run is not None and self.run.alive

    @property
    def outer_loop(self) -> Unit | None:
        """In whose thread its owner holds it: that of a service, or nobody's, which is where the plan is played."""
        return self.parent.loop if self.parent is not None else None

    @property
    def loop(self) -> Unit | None:
        """In whose thread it lives."""
        return self if self.has_thread else self.outer_loop

    def word(self) -> str:
        """Return its state, as a service shows it, and whether it says that it should stop."""
        run = self.run
        if run is None:
            return "init"
        again = run.restarting and run.state == "starting"
        state = "restarting" if self._succession is not None or again else run.word()
        return f"{state}, and should stop" if run.told.is_open else state

    def left(self) -> str:
        """Return how it stands."""
        if self.run is None:
            return standing("init", None, [])
        return self.run.left()

    # -- Start

    def start(self, *, restarting: bool = False) -> Doing[None]:
        """Start it: in its block, or in its parent, if that runs; else it belongs to nobody."""
        if self.alive:
            raise Misuse
        owner = self.block or Owner()
        parent = self.parent.run if self.parent is not None else None
        if self.block is None and parent is not None and parent.alive:
            owner = ParentRun(parent)
        yield from self.start_in(owner, restarting=restarting)

    def start_in(
        self, owner: Owner, *, restarting: bool = False, undo: bool = True
    ) -> Doing[None]:
        """Start it. A start that fails, or whose caller is cancelled, is undone before that leaves."""
        if not owner.takes_runs():
            raise Misuse
        run = self._settle(owner, restarting=restarting)
        run.process = self.world.simulation.spawn(self._live(run))
        try:
            run = yield from until_started(run)
        except Cut:
            while run.successor is not None:
                run = run.successor
            if undo:
                run.request_stop()
                yield Wait(run.stopped, shielded=True)
            raise
        if run.start_fault is not None:
            yield Wait(run.stopped, shielded=True)
            raise run.start_fault

    def _settle(self, owner: Owner, *, restarting: bool) -> Run:
        """Begin a new run; in a restart it takes the old one's place among its siblings."""
        self._drop_adopted()
        old, run = self.run, self.run_type(self, owner, restarting=restarting)
        if old is None:
            run.permission = self._first_permission
        above = owner.above
        if above is not None and owner.is_parent:
            if old is not None and old in above.below:
                above.below[above.below.index(old)] = run
            else:
                above.below.append(run)
        self.run = run
        return run

    def _drop_adopted(self) -> None:
        """Let go of what the last run's own code has added."""
        for child in self.run.wanted if self.run is not None else []:
            if child not in self.children and child.parent is self:
                child.parent = None

    def _live(self, run: Run) -> Doing[None]:
        """The life of a service in one owner: a run, and each that a restart puts in its place."""
        succession: Succession | None = None
        while True:
            yield from run.live()
            if run.was_up and not self.started_once:
                self.started_once = True
                self.children += self._lasting
            self._lasting = []
            self._hand_over(run, succession)
            succession = self._succession
            if succession is None or not run.owner.takes_runs():
                self.call_off_restart()
                self._leave_place(run)
                return
            self._succession = None
            following = self._settle(run.owner, restarting=True)
            following.process = run.process
            run.successor = succession.run = following
            succession.decided.open()
            run = following

    def _hand_over(self, run: Run, succession: Succession | None) -> None:
        """Give the owner what went wrong in a stop, or in the start after a restart, if nobody waits for it."""
        fault, receivers = run.stop_fault, run.receivers
        if self._succession is not None and fault is not None:
            receivers += self._succession.receivers
            self.call_off_restart(fault)
        if succession is not None and run.start_fault is not None:
            fault, receivers = run.start_fault, succession.receivers
        if fault is not None:
            self._tell_owner(run, fault, receivers)

    def _tell_owner(self, run: Run, fault: Fault, receivers: int) -> None:
        if not receivers and not isinstance(fault, Aborted):
            run.owner.crashed(self, fault)

    def _leave_place(self, run: Run) -> None:
        above = run.owner.above
        if above is not None and run in above.below:
            above.below.remove(run)
            if (
                above.killed
            ):  # which may have ended it before its turn, but has stopped it all the same
                above._take_up(run)
            above.unit.child_ended(self)
            above.changed.open()
        run.lineage()[-1].changed.open()
        if self._removed and self.parent is not None:
            self.parent.drop(self)

    # -- Stop and restart

    def stop(self, caller: Caller) -> Doing[None]:
        """Stop it, and wait for the end; a hook of its own, or of one below, does not wait."""
        run = self.run
        if run is None or not run.alive:
            return
        self.call_off_restart()
        run.request_stop(caller)
        if caller.is_hook_within(run):
            return
        run.receivers += 1
        try:
            yield from until_stopped(run, self.world.simulation)
        except Cut:
            run.receivers -= 1
            raise
        self.world.log.come_after(caller.track, run.last_lines)
        if run.stop_fault is not None:
            raise run.stop_fault

    def restart(self, caller: Caller) -> Doing[None]:
        """Stop it and start it again in the same owner; start it, if it does not run."""
        run = self.run
        if run is None or not run.alive:
            yield from self.start(restarting=True)
            return
        self._succession = succession = self._succession or Succession()
        run.request_stop(caller)
        if caller.is_hook_within(run):
            return
        if caller.is_within(run):
            yield Wait(run.stopped)
        succession.receivers += 1
        try:
            yield Wait(succession.decided)
            if succession.run is not None:
                succession.run = yield from until_started(succession.run)
        except Cut:
            succession.receivers -= 1
            raise
        fault = succession.run.start_fault if succession.run is not None else succession.fault
        if succession.run is not None and fault is not None:
            yield Wait(succession.run.stopped, shielded=True)
        if fault is not None:
            raise fault

    def call_off_restart(self, fault: Fault | None = None) -> None:
        """Whoever waits for a restart gets this instead."""
        succession, self._succession = self._succession, None
        if succession is not None:
            succession.fault = fault or Aborted(self.script.label)
            succession.decided.open()

    def allow(self) -> None:
        """Let its stop be completed; before the first start, that of the first run."""
        (self.run.permission if self.run is not None else self._first_permission).open()

    def crash(self, fault: Fault) -> None:
        """Crash it, if it runs."""
        if self.run is not None:
            self.run.fail(fault)

    # -- Children

    def add(self, child: Unit, caller: Caller) -> Doing[None]:
        """Make another service start and stop with this one, from now on."""
        self._check_adoptable(child)
        if child.parent is not self:
            if child.parent is not None:
                child.parent.drop(child)
            child.parent = self
            own_code = self.run is not None and self.run.alive and caller.is_within(self.run)
            if (
                self.run is not None
                and caller.is_hook_of(self.run)
                and caller.hook == "on_first_start"
            ):
                self._lasting.append(child)
            elif not own_code:
                self.children.append(child)
            if self.run is not None and self.run.alive:
                self.run.wanted.append(child)
        if self.run is None or not self.run.alive:
            return
        try:
            yield from self._start_added(child, self.run, caller)
        except (Fault, Cut):
            if not child.alive:
                self.drop(child)
            raise

    def _start_added(self, child: Unit, run: Run, caller: Caller) -> Doing[None]:
        """Start it, or wait for its start; what belongs to it does not wait for that, which might wait for it."""
        if not child.alive:
            yield from child.start_in(ParentRun(run))
            return
        assert child.run is not None
        if child.run.state == "starting" and not caller.is_within(child.run):
            begun = yield from until_started(child.run)
            if begun.start_fault is not None:
                raise begun.start_fault

    def _check_adoptable(self, child: Unit) -> None:
        above: Unit | None = self
        while above is not None:
            if above is child:
                raise Misuse
            above = above.parent
        former = child.parent
        if former is not None and former is not self and former.alive:
            raise Misuse
        run = child.run
        if run is not None and run.alive and (not self.alive or run.owner.above is not self.run):
            raise Misuse

    def remove(self, child: Unit, caller: Caller) -> Doing[None]:
        """Stop a child and forget it."""
        if child.parent is not self:
            raise Misuse
        child._removed = True
        try:
            yield from child.stop(caller)
        finally:
            if not child.alive and child.parent is self:
                self.drop(child)

    def leave(self, caller: Caller | None = None) -> None:
        """Stop, and leave the parent then; nobody waits for that."""
        self._removed = True
        self.call_off_restart()
        if self.run is not None:
            self.run.request_stop(caller)
        if not self.alive and self.parent is not None:
            self.parent.drop(self)

    def drop(self, child: Unit) -> None:
        """Forget a child."""
        child._removed = False
        child.parent = None
        if child in self.children:
            self.children.remove(child)
        run = self.run
        if run is not None and child in run.wanted:
            if run.wanted.index(child) < run.reached:
                run.reached -= 1
            run.wanted.remove(child)

    # -- What other kinds do otherwise

    def begins(self) -> None:
        """A start of it begins to set it up."""

    def is_set_up(self, run: Run) -> None:
        """All that belongs to a run has been started."""

    def has_its_turn(self) -> None:
        """It is its turn to stop."""

    def child_failed(self, child: Unit, fault: Fault) -> bool:
        """Hear that a child has failed; returns whether the failure ends here."""
        return False

    def child_ended(self, child: Unit) -> None:
        """Hear that the run of a child is over, and that no other has taken its place."""

    def supervise(self, child: Unit, place: int | None = None) -> None:
        """Look after one more service: the last one, or in a certain place."""
        raise Misuse  # pragma: no cover - no plan does

    def discard(self, child: Unit, caller: Caller) -> None:
        """Look after a service no more."""
        raise Misuse  # pragma: no cover - no plan does

    def dismiss(self, child: Unit, caller: Caller) -> Doing[None]:
        """Stop one for good, but look after it."""
        raise Misuse  # pragma: no cover - no plan does


class Thread(Unit):
    """A service in a thread of its own: it lives as any other does, since messages between threads take no time.

    Only what may be asked of it, and from where, is another matter: see `World._check_loop`.
    """

    has_thread = True


# --- The plan -------------------------------------------------------------------------------------


class World:
    """A plan, being played by the laws."""

    def __init__(self, plan: Plan, kinds: Mapping[str, type[Unit]] | None = None) -> None:
        self.plan = plan
        self.simulation = Simulation()
        self.log = Log(self.simulation)
        self._kinds = kinds or {"service": Unit}
        self.has_threads = any(self._kinds[script.kind].has_thread for script in plan.scripts())
        self.units: dict[str, Unit] = {}
        self.root = self.make(plan.root)
        for spare in plan.spares:
            _ = self.make(spare)
        self._calls: dict[str, Process] = {}
        self._owner: Process | None = None
        self._made: Counter[int] = Counter()
        self.meets: set[str] = set()
        self.mendings = 0
        self.revived = 0

    def make(self, script: Script, parent: Unit | None = None) -> Unit:
        """Make the unit of a script."""
        unit = self._kinds[script.kind](script, self, parent)
        self.units[script.label] = unit
        return unit

    def hosted(self, root: Run) -> list[Run]:
        """Return the runs of what is needed in the tree of a root, with all below them."""
        runs = [unit.run for unit in self.units.values() if unit.run is not None]
        needs = [run for run in runs if run.alive and not run.owner.is_parent]
        return [
            one
            for run in needs
            if root.owner.above is None and root in run.lineage()
            for one in run.tree()
        ]

    def play(self, until: int | None = None) -> Story:
        """Play the plan to its end, or up to a time."""
        if self.plan.owner == "block":
            self._owner = self.simulation.spawn(self._own())
        for op in self.plan.ops:
            self._calls[str(op.call.number)] = self.simulation.spawn(self._call(op.at, op.call))
        self.simulation.spawn(self._end())
        self.simulation.run(until)
        left = {label: unit.left() for label, unit in self.units.items()}
        return Story(
            self.log.lines,
            left,
            self.log.steps,
            self.root.started_once,
            self.mendings,
            self.revived,
            self.meets,
        )

    def _call(self, at: int, call: Call) -> Doing[None]:
        yield Wait(until=at, cause=("op", call.number))
        try:
            yield from self.perform(call, Caller(f"call {call.number}"))
        except Cut:
            return

    def perform(self, call: Call, caller: Caller) -> Doing[None]:
        """Make a call, unless it has been made often enough, and log how it ends."""
        self._made[call.number] += 1
        if self._made[call.number] > MOST_CALLS:
            return
        name, track = f"call {call.number}", caller.track
        self.log.steps += 1
        self.log.add(f"{call}{self._standing_of(call)}", track)
        try:
            yield from self._do(call, caller)
        except Cut:
            self.log.add(f"{name} cancelled", track)
            raise
        except Fault as fault:
            self.log.add(f"{name} raised {fault.name}", track)
        else:
            self.log.add(f"{name} returned", track)

    def _standing_of(self, call: Call) -> str:
        unit = self.units.get(call.target)
        return f" which is {unit.word()}" if unit is not None else ""

    def _check_loop(self, call: Call, caller: Caller) -> None:
        """Refuse calls from the event loop of another thread, where they can't be made.

        Raises:
            Misuse: If they are refused for sure.
            Tie: If the target does not run; then it depends on what is known of it in which thread.
        """
        target = self.units.get(call.target)
        if target is None:
            return
        about_the_whole = {target.outer_loop, target.loop}
        allowed = about_the_whole if call.verb in ABOUT_THE_WHOLE else {target.loop}
        if caller.loop in allowed:
            return
        if target.alive and call.verb in ABOUT_THE_WHOLE - {"start"}:
            raise Misuse
        raise Tie

    def _do(self, call: Call, caller: Caller) -> Doing[None]:
        self._check_loop(call, caller)
        match call.verb:
            case "start":
                yield from self.units[call.target].start()
            case "stop":
                yield from self.units[call.target].stop(caller)
            case "restart":
                yield from self.units[call.target].restart(caller)
            case "crash":
                self.units[call.target].crash(Fault(f"call {call.number}"))
            case "add":
                yield from self.units[call.target].add(self.units[call.other], caller)
            case "remove":
                yield from self.units[call.target].remove(self.units[call.other], caller)
            case "supervise":
                self.units[call.target].supervise(self.units[call.other])
            case "insert":
                self.units[call.target].supervise(self.units[call.other], call.place)
            case "discard":
                self.units[call.target].discard(self.units[call.other], caller)
            case "dismiss":
                yield from self.units[call.target].dismiss(self.units[call.other], caller)
            case "allow":
                self.units[call.target].allow()
            case "cancel call":
                self._calls[call.target].cancel()
            case "cancel owner":  # pragma: no branch - there is no other
                if self._owner is not None:
                    self._owner.cancel()

    def _own(self) -> Doing[None]:
        """The ``async with`` block around the root."""
        root, block = self.root, Block()
        root.block = block
        fault: Fault | None = None
        cancelled = False
        try:
            yield from root.start_in(block)
            self.log.follow("block", root.script.label)
            self.log.add("block entered", "block")
            block.body = self.simulation.spawn(self._body())
            try:
                yield Wait(block.body.over)
            except Cut:
                cancelled = True
                block.body.cancel()
                yield Wait(block.body.over, shielded=True)
        except Fault as exc:
            fault = exc
        except Cut:
            cancelled = True
        block.is_open = False
        root.call_off_restart()
        run = root.run
        if run is not None and run.alive:
            run.receivers += 1
            run.request_stop()
            yield Wait(run.stopped, shielded=True)
            fault = block.fault or fault or run.stop_fault
        fault = block.fault or fault
        root.block = None
        how = f"raised {fault.name}" if fault else "cancelled" if cancelled else "returned"
        if run is not None:  # pragma: no branch - who is cancelled is so after the first step
            self.log.come_after("block", run.last_lines)
        self.log.add(f"block {how}", "block")

    def _body(self) -> Doing[None]:
        try:
            yield Wait(until=self.plan.body, cause="body")
        except Cut:
            self.log.add("body cancelled", "block")
        else:
            self.log.add("body ends", "block")

    def _end(self) -> Doing[None]:
        """Stop what still runs; and again, if one of its own hooks has restarted it meanwhile."""
        yield Wait(until=self.plan.end, cause="end")
        running = True
        while running:
            for label, unit in sorted(self.units.items()):
                if not unit.alive:
                    continue
                self.log.add(f"end: stop {label}", "end")
                try:
                    yield from unit.stop(Caller("end"))
                except Fault as fault:
                    self.log.add(f"end: {label} raised {fault.name}", "end")
                else:
                    self.log.add(f"end: {label} stopped", "end")
            yield Wait(until=self.simulation.now + PATIENCE, cause="end")
            running = any(unit.alive for unit in self.units.values())


def play(plan: Plan, kinds: Mapping[str, type[Unit]] | None = None) -> Story:
    """Say what the laws make of a plan.

    Raises:
        Tie: If two things fall in the same instant by chance.
    """
    return World(plan, kinds).play()


__all__ = ("FOREVER", "GRACE", "Line", "Story", "Unit", "World", "play")
