"""A pytest plugin that collects the tests once, and then runs parts of them again and again, each in a forked child.

So a mutant costs no import and no collection. The child replaces the code of the mutated function, which all that holds
the function then calls, and stops at the first test that fails. What is made while a module is imported can't be changed
afterwards: for a mutation of that, the child is forked before structmode is imported (`serve_cold`).

Orders come and answers go as lines of JSON, over the file descriptors that STRUCTMODE_MUTATION names.
"""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import coverage
import pytest

# Slow for the time that passes, not for what is done in it; and some lines are run by nothing else.
SLOW_BUT_WANTED = "tests/threads/test_stuck.py"

Order = dict[str, Any]
Answer = dict[str, Any]


def orders() -> tuple[Iterator[Order], Callable[[Answer], None]]:
    """Return what comes in, and what sends out."""
    incoming, outgoing = map(int, os.environ["STRUCTMODE_MUTATION"].split(","))
    source: IO[str] = os.fdopen(incoming)
    sink: IO[str] = os.fdopen(outgoing, "w", buffering=1)

    def answer(one: Answer) -> None:
        sink.write(json.dumps(one) + "\n")

    return map(json.loads, source), answer


# --- Children -------------------------------------------------------------------------------------


def in_child(
    work: Callable[[Callable[[Answer], None]], None],
    limit: float,
    limit_of: Callable[[str], float] = lambda test: math.inf,
) -> Answer:
    """Do `work` in a forked child, and return what it told; `timeout` if it told nothing in time.

    The child may tell before which test is `running`; each has a limit of its own then.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(reading)
        _be_silent()

        running = ""

        def tell(answer: Answer) -> None:
            nonlocal running
            os.write(writing, (json.dumps(answer) + "\n").encode())
            if "running" not in answer:
                os._exit(0)
            running = answer["running"]

        try:
            work(tell)
        except BaseException as exc:  # pytest-timeout may strike between a test and its report
            text = f"{type(exc).__name__}: {exc}"[:200]
            tell(
                {
                    "status": "killed" if running else "broken",
                    "by": running,
                    "how": text,
                    "slow": True,
                }
            )
        os._exit(0)
    os.close(writing)
    try:
        return _what_was_told(reading, limit, limit_of)
    finally:
        os.close(reading)
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except OSError:
                pass
        os.waitpid(pid, 0)


def _what_was_told(reading: int, limit: float, limit_of: Callable[[str], float]) -> Answer:
    end_of_all = end = time.monotonic() + limit
    told, running = b"", ""
    while True:
        *lines, told = told.split(b"\n")
        for line in lines:
            answer: Answer = json.loads(line)
            if "running" not in answer:
                return answer
            running = answer["running"]
            end = min(end_of_all, time.monotonic() + limit_of(running))
        if not select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            return {"status": "timeout", "by": running, "how": "the time limit"}
        part = os.read(reading, 65536)
        if not part:  # pytest-timeout ends the whole process
            return {"status": "timeout", "by": running, "how": "the process ended"}
        told += part


def _be_silent() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


# --- Mutating what is imported ----------------------------------------------------------------------


def mutated_source(path: Path, order: Order) -> str:
    """Return a module's text with the mutation in it."""
    lines = path.read_text().splitlines()
    lines[order["start"] : order["end"]] = order["lines"]
    return "\n".join(lines) + "\n"


def outer_functions(code: types.CodeType) -> Iterator[types.CodeType]:
    """Find the functions of a module and of its classes, as code."""
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            # Only of a function is the code optimized: not of a class.
            if one.co_flags & 0x1:
                yield one
            else:
                yield from outer_functions(one)


def mutate(path: Path, order: Order, functions: list[types.FunctionType]) -> None:
    """Put a mutation into the functions that hold the code of it."""
    text = mutated_source(path, order)
    code = compile(text, str(path), "exec", dont_inherit=True)
    line, name = order["first_line"], order["function"].rpartition(".")[2]
    (new,) = (
        one for one in outer_functions(code) if (one.co_firstlineno, one.co_name) == (line, name)
    )
    for function in functions:
        if order["default"]:
            _set_default(function, text, line, order["default"])
        else:
            function.__code__ = new


def _set_default(function: types.FunctionType, text: str, line: int, parameter: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if min([node.lineno, *(one.lineno for one in node.decorator_list)]) != line:
            continue
        plain = [*node.args.posonlyargs, *node.args.args]
        given = dict(
            zip([one.arg for one in reversed(plain)], reversed(node.args.defaults), strict=False)
        )
        given |= {
            a.arg: d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d
        }
        default = compile(ast.Expression(given[parameter]), "default", "eval")
        value = eval(default, function.__globals__)  # noqa: S307 - our own text
        if function.__kwdefaults__ and parameter in function.__kwdefaults__:
            function.__kwdefaults__[parameter] = value
        else:
            names = [one.arg for one in plain][-len(function.__defaults__ or ()) :]
            old = dict(zip(names, function.__defaults__ or (), strict=True))
            function.__defaults__ = tuple((old | {parameter: value}).values())


# --- Warm: everything is imported and collected -----------------------------------------------------


class Verdict:
    """Tells which test is running in a child, and of the first failure, and ends it."""

    def __init__(self) -> None:
        self.tell: Callable[[Answer], None] | None = None
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}
        #: From how many seconds on each test is slow.
        self.slow: dict[str, float] = {}

    def pytest_configure(self) -> None:
        """Have every example the same each time, and none kept: a mutant must not leave anything to the next."""
        # Not earlier: pytest has to import it first.
        import hypothesis

        settings = hypothesis.settings
        settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is slow."""
        items[:] = [
            item
            for item in items
            if item.get_closest_marker("slow") is None or SLOW_BUT_WANTED in item.nodeid
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which test is run now: if it never ends, it is that one."""
        if self.tell is not None:
            self.tell({"running": nodeid})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test took; tell that one failed."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)
            if self.tell is not None:
                slow = self.seconds[report.nodeid] >= self.slow.get(report.nodeid, 1.0)
                self.tell({"status": "killed", "by": report.nodeid, "slow": slow})

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that can't be imported is a failure too."""
        if report.failed and self.tell is not None:
            self.tell({"status": "killed", "by": f"import of {report.nodeid}", "slow": False})


class Warm:
    """Serves from inside pytest's own loop over the tests."""

    def __init__(self, verdict: Verdict, root: Path) -> None:
        self.verdict = verdict
        self.root = root
        known = os.environ.get("STRUCTMODE_MUTATION_SECONDS")
        self.seconds: dict[str, float] = json.loads(Path(known).read_text()) if known else {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give a test that is known to be short little time: a mutant that hangs costs that much."""
        self._limit(items, 1.0)

    def _limit_of(self, test: str, patience: float) -> float:
        return patience * (1.0 + 6.0 * self.seconds[test]) if test in self.seconds else math.inf

    def _enough_of(self, test: str, patience: float) -> float:
        """After how many seconds a child that runs a test is too busy to come to end it itself."""
        return 2.0 + 1.5 * self._limit_of(test, patience)

    def _limit(self, items: list[pytest.Item], patience: float) -> None:
        for item in items:
            if item.nodeid in self.seconds:
                limit = self._limit_of(item.nodeid, patience)
                item.add_marker(pytest.mark.timeout(limit), append=False)
                # conftest cancels what has used up most of its time.
                self.verdict.slow[item.nodeid] = 0.5 * limit

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve, instead of running the tests."""
        items = {item.nodeid: item for item in session.items}
        functions: dict[tuple[str, int], list[types.FunctionType]] = {}
        for one in gc.get_objects():
            if isinstance(one, types.FunctionType):
                key = (one.__code__.co_filename, one.__code__.co_firstlineno)
                functions.setdefault(key, []).append(one)
        gc.collect()
        gc.freeze()
        incoming, answer = orders()
        answer({"items": list(items)})
        for order in incoming:
            wanted = [items[one] for one in order["tests"] if one in items]
            if "measure" in order:
                answer(in_child(self._measuring(wanted, order), order["limit"]))
                continue
            held = functions.get((str(self.root / order["file"]), order["first_line"]), [])
            trying = self._trying(wanted, order, held)
            enough = partial(self._enough_of, patience=order["patience"])
            found = in_child(trying, order["limit"], enough)
            answer({"id": order["id"], **found})
        return True

    def _trying(
        self, items: list[pytest.Item], order: Order, held: list[types.FunctionType]
    ) -> Callable[[Callable[[Answer], None]], None]:
        def work(tell: Callable[[Answer], None]) -> None:
            if not held:
                tell({"status": "cold"})
            try:
                mutate(self.root / order["file"], order, held)
            except Exception:  # a closure that is another one now, for instance
                tell({"status": "cold"})
            self._limit(items, order["patience"])
            self.verdict.tell = tell
            self._run(items)
            tell({"status": "survived"})

        return work

    @staticmethod
    def _run(items: list[pytest.Item]) -> None:
        # Tests of one module together, so that its fixtures are set up once.
        for index, item in enumerate(items):
            following = items[index + 1] if index + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def _measuring(
        self, items: list[pytest.Item], order: Order
    ) -> Callable[[Callable[[Answer], None]], None]:
        def work(tell: Callable[[Answer], None]) -> None:
            lines: dict[str, dict[str, list[int]]] = {}
            if not order["trace"]:
                self._run(items)
            else:
                files = [str(self.root / one) for one in order["files"]]
                meter = coverage.Coverage(data_file=None, include=files, config_file=False)
                # Not every test of this order need run a line of these files.
                meter.set_option("run:disable_warnings", ["no-data-collected"])
                meter.start()
                for index, item in enumerate(items):
                    following = items[index + 1] if index + 1 < len(items) else None
                    meter.switch_context(item.nodeid)
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                meter.stop()
                data = meter.get_data()
                for path, name in zip(files, order["files"], strict=True):
                    for line, tests in data.contexts_by_lineno(path).items():
                        for test in tests:
                            if test:
                                lines.setdefault(test, {}).setdefault(name, []).append(line)
            done = {"seconds": self.verdict.seconds, "failed": self.verdict.failed, "lines": lines}
            Path(order["measure"]).write_text(json.dumps(done))
            tell({"status": "measured"})

        return work


# --- Cold: nothing of structmode is imported yet ----------------------------------------------------


class MutatedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module with a mutation in it."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_data(self, path: str) -> bytes:
        """Return the mutated text."""
        return self.text.encode()

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Have no compiled code of another mutant used, or kept."""
        raise OSError


class Mutated(importlib.abc.MetaPathFinder):
    """Finds one module with a mutation in it."""

    def __init__(self, root: Path, order: Order) -> None:
        self.name = order["file"].removesuffix(".py").replace("/", ".")
        path = root / order["file"]
        self.loader = MutatedLoader(self.name, str(path), mutated_source(path, order))

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the mutated module only."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self.loader.path, loader=self.loader
        )


def serve_cold(root: Path, arguments: list[str]) -> None:
    """Serve, each time with a pytest of its own: collection included."""
    for name in ("anyio.pytest_plugin", "hypothesis", "trio.testing"):
        importlib.import_module(name)  # so that no child has to
    # pytest's own import hook, for its asserts, comes first, and takes structmode for a plugin.
    arguments = [*arguments, "--assert=plain"]

    incoming, answer = orders()
    answer({"items": []})
    for order in incoming:

        def work(tell: Callable[[Answer], None], order: Order = order) -> None:
            sys.meta_path.insert(0, Mutated(root, order))
            verdict = Verdict()
            verdict.tell = tell
            code = pytest.main([*arguments, *order["options"], *order["tests"]], plugins=[verdict])
            told: Answer = {"status": "survived"}
            if code != 0:
                told = {"status": "killed", "by": f"exit {code}", "slow": False}
            tell(told)

        answer({"id": order["id"], **in_child(work, order["limit"])})


def main() -> None:
    """Serve: `server.py warm|cold ROOT PYTEST-ARGUMENT...`."""
    temperature, root, *arguments = sys.argv[1:]
    sys.path.insert(0, root)
    os.chdir(root)
    if temperature == "cold":
        serve_cold(Path(root), arguments)
        return
    verdict = Verdict()
    code = pytest.main(arguments, plugins=[verdict, Warm(verdict, Path(root))])
    raise SystemExit(code)


if __name__ == "__main__":
    main()
