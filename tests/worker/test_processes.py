"""A worker in a process of its own: what signals do to it, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
pytestmark = pytest.mark.process


class Program:
    """A worker in a process of its own, and what it says: stdout and stderr in one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Read on until a line has `text` in it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if text in line:
                return
        pytest.fail(f"it ended without saying {text!r}, but:\n{self.text}")

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def type_in(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def hang_up(self) -> None:
        """Let it read the end of its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> int:
        """Read what is left; return the exit code."""
        assert self._process.stdout is not None
        self.lines.extend(self._process.stdout)
        return self._process.wait()

    def messages(self) -> list[str]:
        """Return what was logged, without time, process and level."""
        return [line.split("] ", 3)[3].rstrip() for line in self.lines if line.startswith("[")]


@contextmanager
def running(program: str, *args: str, **env: str) -> Generator[Program]:
    """Run one of the programs beside this file."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / f"{program}.py"), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **env},
    )
    with process:
        try:
            yield Program(process)
        finally:
            process.kill()


LIFE_OF_TREE = """\
[^Worker]: Starting...
[^-AppService]: Starting...
[^--Websockets]: Starting...
[^--Websockets]: Started.
[^--UserCache]: Starting...
[^--UserCache]: Started.
[^--Webserver]: Starting...
[^--Webserver]: Started.
[^-AppService]: Started.
[^Worker]: Started.
[^Worker]: Stopping on signal received...
[^Worker]: Stopping...
[^-AppService]: Stopping...
[^--Webserver]: Stopping...
[^--Webserver]: -Stopped!
[^--Webserver]: -Shutdown complete!
[^--UserCache]: Stopping...
[^--UserCache]: -Stopped!
[^--UserCache]: -Shutdown complete!
[^--Websockets]: Stopping...
[^--Websockets]: -Stopped!
[^--Websockets]: -Shutdown complete!
[^-AppService]: -Stopped!
[^-AppService]: -Shutdown complete!
[^Worker]: -Stopped!
[^Worker]: -Shutdown complete!"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_in_order(backend: str, number: int) -> None:
    """The first SIGINT or SIGTERM stops all services from the top down, and the exit code is 0."""
    with running("tree", backend) as program:
        program.wait_for("[^Worker]: Started.")
        program.send(number)
        assert program.end() == 0
    assert "\n".join(program.messages()) == LIFE_OF_TREE


def test_signal_that_another_thread_gets(backend: str) -> None:
    """A signal that the system hands to another thread wakes the event loop all the same."""
    with running("signal_in_thread", backend) as program:
        assert program.end() == 0
    assert "[^Worker]: Stopping on signal received..." in program.messages()


def test_signal_during_start_up(backend: str) -> None:
    """A signal that comes while services are starting undoes the start in order, and that is a clean end."""
    with running("slow_start", backend) as program:
        program.wait_for("starting for ever")
        program.send(signal.SIGTERM)
        assert program.end() == 0
    assert "start given up" in program.text
    assert program.text.index("start given up") < program.text.index("first is down")
    assert "Traceback" not in program.text


def test_signal_before_the_event_loop_runs(backend: str) -> None:
    """A signal that comes before the event loop runs is not lost: nothing is started, and the exit code is 0."""
    with running("early_signal", backend, "SIGINT") as program:
        assert program.end() == 0
    assert program.messages() == [
        "[^Early]: all raised",
        "[^Early]: Stopping on signal received...",
    ]


def test_two_signals_before_the_event_loop_runs(backend: str) -> None:
    """A second signal that comes before the event loop runs tells in the exit code."""
    with running("early_signal", backend, "SIGINT", "SIGTERM") as program:
        assert program.end() == 128 + signal.SIGTERM
    assert "should never start" not in program.text


def test_third_signal_before_the_event_loop_runs() -> None:
    """The third signal ends the process even before the event loop runs."""
    with running("early_signal", "asyncio", "SIGINT", "SIGTERM", "SIGINT") as program:
        assert program.end() == 128 + signal.SIGINT
    assert "all raised" not in program.text


@pytest.mark.fault("E1")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_e1_second_signal_cancels_hard(backend: str, number: int) -> None:
    """E1: a second signal ends a stop that hangs, by cancelling it, and the exit code tells the signal."""
    with running("hung", backend, "on_stop", "60") as program:
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGTERM)
        program.wait_for("hangs in on_stop")
        program.send(number)
        assert program.end() == 128 + number
    assert f"Second signal ({signal.Signals(number).name})" in program.text
    assert program.messages()[-1] == "[^Worker]: -Shutdown complete!"


@pytest.mark.fault("E1")
def test_second_signal_leaves_what_ignores_it(backend: str) -> None:
    """What ignores even the hard cancel of a second signal is named, and the process left."""
    with running("hung", backend, "deaf", "60") as program:
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGINT)
        program.wait_for("Stopping...")
        program.send(signal.SIGTERM)
        assert program.end() == 128 + signal.SIGTERM
    last_words = program.text.partition("Not ended after 1 s")[2]
    assert "Hung: Hung.work" in last_words
    assert "ignore_cancellation" in last_words


def test_two_signals_at_once(backend: str) -> None:
    """Two signals that come at the same time are two: the stop is forced, and soon."""
    with running("hung", backend, "deaf_at_once", "60") as program:
        assert program.end() == 128 + signal.SIGTERM
    assert "Not ended after 1 s" in program.text


@pytest.mark.fault("E1")
@pytest.mark.parametrize("way", ["busy", "asleep"])
def test_e1_third_signal_ends_a_blocked_process(backend: str, way: str) -> None:
    """E1: the third signal ends the process at once, also while the event loop is blocked."""
    with running("hung", backend, way, "60") as program:
        program.wait_for("blocks the loop")
        for _ in range(2):
            program.send(signal.SIGINT)
            # Two of a kind that wait to be handled count as one, so wait for what a signal of a higher number prints.
            program.send(signal.SIGUSR1)
            program.wait_for("MainThread")
        program.send(signal.SIGINT)
        assert program.end() == 128 + signal.SIGINT


@pytest.mark.fault("E1")
@pytest.mark.parametrize("way", ["deaf", "blocked_stop", "blocked_at_once"])
def test_stop_that_nothing_ends(backend: str, way: str) -> None:
    """A stop that ignores its deadline, or blocks the loop, is named and left with exit code 70."""
    with running("hung", backend, way, "0.05") as program:
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGTERM)
        assert program.end() == 70
    last_words = program.text.partition("Not ended after 1.05 s")[2]
    culprits = {
        "deaf": "Hung: Hung.work",
        "blocked_stop": "Hung: on_stop",
        "blocked_at_once": "in block_at_once",
    }
    assert culprits[way] in last_words
    assert "MainThread" in last_words


def test_start_that_nothing_ends(backend: str) -> None:
    """A start that ignores being called off by a signal is left too."""
    with running("hung", backend, "on_start", "0.05") as program:
        program.wait_for("hangs in on_start")
        program.send(signal.SIGTERM)
        assert program.end() == 70
    assert "ignore_cancellation" in program.text.partition("Not ended after 1.05 s")[2]


@pytest.mark.parametrize("hook", ["on_execute", "on_start", "on_started"])
def test_start_of_the_worker_itself_that_nothing_ends(backend: str, hook: str) -> None:
    """So is one that does so in a hook of the worker's own, with the hook's name."""
    with running("hung", backend, f"own {hook}", "0.05") as program:
        program.wait_for(f"hangs in own {hook}")
        program.send(signal.SIGTERM)
        assert program.end() == 70
    last_words = program.text.partition("Not ended after 1.05 s")[2]
    assert f"Worker: {'on_first_start' if hook == 'on_execute' else hook}" in last_words
    assert "ignore_cancellation" in last_words


@pytest.mark.parametrize("way", ["busy", "asleep"])
def test_a_loop_that_is_blocked_when_the_signal_comes(backend: str, way: str) -> None:
    """The time of the stop begins with the signal, and not when the loop comes to look at it."""
    with running("hung", backend, way, "0.05") as program:
        program.wait_for("blocks the loop")
        program.send(signal.SIGTERM)
        assert program.end() == 70
    last_words = program.text.partition("Not ended after 1.05 s")[2]
    assert ("keep_busy" if way == "busy" else "in work") in last_words


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["abandoned", "plain"])
def test_a_thread_that_never_ends(backend: str, kind: str) -> None:
    """It does not keep the process longer than the stop may take; it is named, and the exit code is that of the program."""
    with running("left_thread", backend, kind) as program:
        assert program.end() == 3
    # In a thread of trio's, which is a daemon, an abandoned function keeps nobody.
    is_waited_for = (backend, kind) != ("trio", "abandoned")
    assert ("threads that are no daemons have not ended" in program.text) is is_waited_for
    assert ("in wait_for_ever" in program.text) is is_waited_for


@pytest.mark.slow
def test_a_thread_that_ends_a_while_after_the_services(backend: str) -> None:
    """It is waited for while the stop has time left."""
    with running("left_thread", backend, "slow") as program:
        assert program.end() == 3
    assert program.text.endswith("has taken a while\n")


def test_a_thread_of_an_idle_pool(backend: str) -> None:
    """It ends with the process, so nothing is said of it."""
    with running("left_thread", backend, "pool") as program:
        assert program.end() == 3
    assert "threads that are no daemons" not in program.text


@pytest.mark.slow
def test_a_thread_that_was_begun_after_the_worker(backend: str) -> None:
    """The end of the process waits for what the worker's caller has begun, as it would without a worker."""
    with running("left_thread", backend, "caller") as program:
        assert program.end() == 3
    assert program.text.endswith("has taken a while\n")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", -signal.SIGTERM), ("SIGINT", 1)])
def test_a_forked_child_is_ended_by_a_signal(backend: str, name: str, code: int) -> None:
    """As if there were no worker in the process that it was forked from; that goes on."""
    with running("forking", backend, name) as program:
        program.wait_for(f"the child ended with {code}")
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGTERM)
        assert program.end() == 0


def test_a_program_ends_with_its_forked_children(backend: str) -> None:
    """Those that multiprocessing ends when the program does, and waits for, do not keep it."""
    with running("forking", backend, "none") as program:
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGTERM)
        assert program.end() == 0


def test_a_child_that_is_forked_during_the_stop(backend: str) -> None:
    """It can end in order, too, without the thread that bounds the stop, which it has not."""
    with running("forking", backend, "stop") as program:
        program.wait_for("[^Worker]: Started.")
        program.send(signal.SIGTERM)
        program.wait_for("the child ended with 3")
        assert program.end() == 0


def test_a_worker_in_a_forked_child(backend: str) -> None:
    """A process that was forked inside an event loop can't run another one; the error says how to start one that can."""
    with running("forked", backend, backend) as program:
        assert program.end() == 0
    [line] = program.lines
    assert "in a process that was forked inside one" in line
    assert 'multiprocessing.get_context("spawn")' in line


@pytest.mark.parametrize("state", ["idle", "blocked"])
def test_sigusr1_prints_tasks_and_threads(backend: str, state: str) -> None:
    """SIGUSR1 prints each task of each service and each thread, also while the event loop is blocked."""
    with running("look_inside", backend, "plain", state) as program:
        program.wait_for("look inside now")
        program.send(signal.SIGUSR1)
        for expected in ("[^--Deep] ", "Deep.dig", "in dig", "in deeper", "bystander", "in wait"):
            program.wait_for(expected)
    assert re.search(r"^\[\^Started\] running\n-+\n\(no tasks\)$", program.text, re.MULTILINE)
    assert re.search(r"^\[\^-Busy\] running\n-+\nBusy.block\n", program.text, re.MULTILINE)
    assert "in block\n" in program.text


@pytest.mark.fault("E5")
def test_e5_sigusr2_opens_no_debugger_by_default(backend: str) -> None:
    """E5: without debug, SIGUSR2 is answered with one line in the log, and the program goes on."""
    with running(
        "look_inside", backend, "plain", "idle", PYTHONBREAKPOINT="debugger_hook.opened"
    ) as program:
        program.wait_for("look inside now")
        program.send(signal.SIGUSR2)
        program.wait_for("[^Started]: SIGUSR2 opens a debugger only in a worker with debug=True")
        program.send(signal.SIGTERM)
        assert program.end() == 0
    assert "debugger opened" not in program.text


@pytest.mark.parametrize("state", ["idle", "blocked"])
def test_sigusr2_calls_the_breakpoint_hook(backend: str, state: str) -> None:
    """With debug, SIGUSR2 calls the hook of `breakpoint`, whose words go to the terminal and not to the log."""
    with running(
        "look_inside", backend, "debug", state, PYTHONBREAKPOINT="debugger_hook.opened"
    ) as program:
        program.wait_for("look inside now")
        program.send(signal.SIGUSR2)
        program.wait_for("debugger opened")
    assert program.lines[-1] == "debugger opened\n"


def test_sigusr2_opens_pdb(backend: str) -> None:
    """With debug, SIGUSR2 opens pdb; when that is left, the program goes on."""
    with running("look_inside", backend, "debug", "idle") as program:
        program.wait_for("look inside now")
        program.type_in("p 'six times seven is', 6 * 7\ncontinue\n")
        program.send(signal.SIGUSR2)
        program.wait_for("('six times seven is', 42)")
        program.wait_for("A debugger was opened")
        program.send(signal.SIGTERM)
        assert program.end() == 0


@pytest.mark.parametrize("typed", ["quit\n", ""])
def test_quitting_the_debugger(backend: str, typed: str) -> None:
    """Who quits pdb, or has no terminal for it, ends neither the event loop nor the program, which stops in order later."""
    with running("look_inside", backend, "debug", "idle") as program:
        program.wait_for("look inside now")
        program.type_in(typed)
        program.hang_up()
        for _ in range(2):
            program.send(signal.SIGUSR2)
            program.wait_for("The debugger was quit, or has no terminal; the program goes on")
            program.wait_for("A debugger was opened")
        program.send(signal.SIGTERM)
        assert program.end() == 0
    assert program.messages()[-1] == "[^Started]: -Shutdown complete!"
    assert "Traceback" not in program.text


def test_in_another_thread(backend: str) -> None:
    """Outside the main thread a worker runs without signals, says so in one line, and can be stopped."""
    with running("from_thread", backend) as program:
        assert program.end() == 0
    said = [line for line in program.messages() if "ignal" in line]
    assert said == [
        "[^Worker]: Signals are not handled: that takes the main thread; stop() stops the worker"
    ]
    assert "exit code [0]" in program.text
    assert "Traceback" not in program.text


@pytest.mark.fault("E5")
def test_platform_without_a_signal(backend: str) -> None:
    """Where a signal does not exist, the log says so in one line, and the worker runs."""
    with running("two_signals_less", backend) as program:
        assert program.end() == 0
    assert program.messages()[0] == (
        "[^Worker]: This platform has no SIGUSR1, SIGUSR2; the other signals are handled"
    )
