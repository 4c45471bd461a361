"""The mutation run: break each line in every way mutmut knows, and see that some test notices.

    python tests/mutation/run.py [--only PART-OF-A-PATH]... [--since COMMIT] [--sample N] [--jobs N] [--state DIR]

It works in a copy of the checkout. First it finds out which test runs which line, and how long each takes. Then, for
each mutant, it runs the tests of the mutated line until one fails: on trio (and those without an event loop) the quickest
ones; on asyncio the same; at last all of them, on every backend.

A machine may be busy, and what is slow then is no kill. So a test that took long, or that depends on real time, has to
fail again, alone and with more time; a mutant on which a test then hangs again counts as killed.

With `--state` what is known is kept, and a run that was cut short goes on where it was: killed mutants stay killed as
long as their code is the same, survivors are tried again.

The last line tells the totals. Exit code 1 if less than 95 % were killed, or one survives that `argued.toml` does not
argue away, or `argued.toml` names one that no longer exists or that was killed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MUTATED = (
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "structmode" / "_engine").glob("*.py")
        if path.name != "__init__.py"  # names only
    ),
    "structmode/services.py",
    "structmode/timers.py",
    "structmode/_unit.py",
    "structmode/_declare.py",
)
TESTS = (
    "tests/engine",
    "tests/faces",
    "tests/test_timers.py",
    "tests/regressions",
    "tests/supervisors",
    "tests/threads",
    "tests/loop/test_loops.py",
    "tests/console/test_console.py",
    "tests/embedding/test_guest_mode.py",
    "tests/worker/test_batches.py",
)
# The documentation too: a test of the records reads it.
COPIED = ("structmode", "tests", "docs", "pyproject.toml", "README.md")
OPTIONS = ["-q", "-p", "no:cacheprovider", "--capture=sys", "-m", "not process"]
BACKENDS = {"trio", "asyncio", "asyncio+uvloop", "asyncio+eager"}
# What is measured, and tried first.
PLAIN = ("trio", "asyncio")
WANTED = 95.0
SEED = 2026
# What is run first on what can't be mutated without importing structmode anew.
FIRST = (
    "tests/architecture/test_exports.py",
    "tests/engine/test_public_names.py",
    "tests/faces/test_defaults.py",
    "tests/engine/test_bare.py",
    "tests/engine/test_grace.py",
    "tests/engine/test_order_under_force.py",
    "tests/engine/test_stop.py",
    "tests/engine/test_who_is_told.py",
    "tests/engine/test_who_waits_how_long.py",
    "tests/engine/test_words_of_states.py",
    "tests/faces/test_diagnosis.py",
    "tests/faces/test_edges_of_timers.py",
    "tests/faces/test_foreign_threads.py",
    "tests/faces/test_law_04_order.py",
    "tests/faces/test_life.py",
    "tests/faces/test_names_of_work.py",
    "tests/faces/test_places_in_refusals.py",
)
# The same for single files, by their names.
FIRST_OF = {
    "border": (
        "tests/threads/test_arguments.py",
        "tests/threads/test_calls.py",
        "tests/threads/test_edges.py",
    ),
    "restarting": (
        "tests/supervisors/test_budget_and_backoff.py",
        "tests/supervisors/test_restart_types.py",
    ),
    "thread": (
        "tests/threads/test_arguments.py",
        "tests/threads/test_life.py",
        "tests/threads/test_edges.py",
        "tests/threads/test_stuck.py::test_blocked_thread",
    ),
}
# How long the quickest tests of a line may take together, in seconds, before the next backend's turn.
BUDGET = 4.0

Mutant = dict[str, Any]
Key = tuple[str, str, str, str]


def key_of(entry: dict[str, Any]) -> Key:
    """Return what an argued mutant is known by."""
    return entry["file"], entry["function"], entry["was"], entry["becomes"]


def digest_of(text: str) -> str:
    """Return what a text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def backend_of(test: str) -> str:
    """Return the backend a test runs on; `trio` for one that needs none.

    With a thread there are two: then it is one that is not plain, or else the first.
    """
    parts = test.partition("[")[2].rstrip("]").split("-")
    found = [part for part in parts if part in BACKENDS]
    special = [part for part in found if part not in PLAIN]
    return [*special, *found, "trio"][0]


def is_certain(test: str) -> bool:
    """Whether a test that fails does not do so for want of time: on trio, without a thread, time is virtual."""
    return backend_of(test) == "trio" and not test.startswith("tests/threads")


# --- What runs the tests ----------------------------------------------------------------------------


class Server:
    """A process that runs tests on mutants; see server.py."""

    def __init__(self, temperature: str, root: Path, seconds: Path | None = None) -> None:
        self.temperature = temperature
        self.root = root
        self.seconds = seconds
        self._begin()

    def _begin(self) -> None:
        read_orders, write_orders = os.pipe()
        read_answers, write_answers = os.pipe()
        environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "STRUCTMODE_MUTATION": f"{read_orders},{write_answers}",
            "STRUCTMODE_MUTATION_SECONDS": str(self.seconds or ""),
            "COVERAGE_CORE": "ctrace",  # the one that knows contexts
        }
        options = [*OPTIONS, *TESTS] if self.temperature == "warm" else OPTIONS
        log = (self.root.parent / f"{self.temperature}.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), self.temperature, str(self.root), *options],
            pass_fds=(read_orders, write_answers),
            env=environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        os.close(read_orders)
        os.close(write_answers)
        self._orders: IO[str] = os.fdopen(write_orders, "w", buffering=1)
        self._answers: IO[str] = os.fdopen(read_answers)
        self.items: list[str] = self._answer()["items"]

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the {self.temperature} server ended; see {self.root.parent}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have an order done."""
        self._orders.write(json.dumps(order) + "\n")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._orders.close()
        self.process.wait()


def in_parallel(servers: list[Server], jobs: Iterable[Any], do: Any) -> None:
    """Call `do(server, job)` for every job, on whichever server is free."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    failed: list[BaseException] = []

    def work(server: Server) -> None:
        while not failed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                do(server, job)
            except BaseException as exc:
                failed.append(exc)

    threads = [threading.Thread(target=work, args=[server], daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


# --- Which test runs which line ---------------------------------------------------------------------


class Knowledge:
    """What is known of the tests: how long each takes, and the lines it runs."""

    def __init__(self, state: Path, root: Path) -> None:
        self.seconds: dict[str, float] = {}
        self.covering: dict[tuple[str, int], set[str]] = {}
        self.broken: list[str] = []
        self._state = state / "measured"
        self._state.mkdir(exist_ok=True)
        self._root = root
        self._sources = {file: digest_of((root / file).read_text()) for file in MUTATED}

    def measure(self, servers: list[Server]) -> None:
        """Run all tests once, traced; what is known from an earlier run, of files that are the same, is not run again."""
        parts: dict[tuple[str, str], list[str]] = {}
        for test in servers[0].items:
            backend = backend_of(test)
            if backend in PLAIN:
                parts.setdefault((test.partition("::")[0], backend), []).append(test)
        in_parallel(servers, sorted(parts.items()), self._measure_part)

    def _measure_part(self, server: Server, part: tuple[tuple[str, str], list[str]]) -> None:
        (file, backend), tests = part
        digest = digest_of((self._root / file).read_text() + backend + repr(tests))
        kept = self._state / f"{digest}.json"
        known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        stale = not known or bool(known["failed"])  # what fails may be mended by another file
        if stale or any(self._sources[name] != was for name, was in known["sources"].items()):
            known = self._run(server, tests)
            ran = {name for files in known["lines"].values() for name in files}
            known["sources"] = {name: self._sources[name] for name in sorted(ran)}
            kept.write_text(json.dumps(known))
        self.seconds |= known["seconds"]
        self.broken += known["failed"]
        for test, files in known["lines"].items():
            for name, lines in files.items():
                for line in lines:
                    self.covering.setdefault((name, line), set()).add(test)

    def _run(self, server: Server, tests: list[str]) -> dict[str, Any]:
        found = self._order(server, tests, trace=True)
        if found["failed"]:  # as some do when traced, for being slow
            found["failed"] = self._order(server, found["failed"], trace=False)["failed"]
        return found

    def _order(self, server: Server, tests: list[str], *, trace: bool) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            order = {"tests": tests, "measure": file.name, "trace": trace, "files": MUTATED}
            answer = server.ask(order | {"limit": 1200.0})
            if answer["status"] != "measured":
                raise RuntimeError(f"{tests[0]} and others: {answer}")
            found: dict[str, Any] = json.load(file)
            return found

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the mutated lines, quickest first."""
        first, last = mutant["span"]
        tests: set[str] = set()
        for line in range(first, last + 1):
            tests |= self.covering.get((mutant["file"], line), set())
        if mutant["default"]:  # whoever calls the function
            for line in range(mutant["first_line"], mutant["first_line"] + 40):
                tests |= self.covering.get((mutant["file"], line), set())
        found = tests - set(self.broken)
        return [*self._in_order(found), *self._in_order(self._perhaps(mutant) - found)]

    def _perhaps(self, mutant: Mutant) -> set[str]:
        """Return the tests that run a line above in the same function, and may run the mutated one unseen.

        The later lines of a constant are not traced. Nor is, on Python 3.11, what a coroutine goes on to do after an
        exception has been thrown into another that it awaits, as asyncio does to cancel.
        """
        above: set[str] = set()
        for line in range(mutant["first_line"] + 1, mutant["span"][0]):
            above |= self.covering.get((mutant["file"], line), set())
        return above - set(self.broken)

    def _in_order(self, tests: set[str]) -> list[str]:
        return self._one_of_each_first(sorted(tests, key=self.seconds.__getitem__))

    @staticmethod
    def _one_of_each_first(tests: list[str]) -> list[str]:
        """Put one variant of each test before the other variants, which find much the same."""
        firsts: dict[tuple[str, str], str] = {}
        for test in tests:
            firsts.setdefault((test.partition("[")[0], backend_of(test)), test)
        chosen = dict.fromkeys(firsts.values())
        return [*chosen, *(test for test in tests if test not in chosen)]


# --- The run ----------------------------------------------------------------------------------------


class Hunt:
    """Tries the mutants."""

    def __init__(
        self, knowledge: Knowledge, state: Path, options: argparse.Namespace, excused: set[Key]
    ) -> None:
        self.knowledge = knowledge
        self.options = options
        self.excused = excused
        self.verdicts: dict[str, dict[str, Any]] = {}
        self._file = state / "verdicts.jsonl"
        self._killers: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                verdict = json.loads(line)
                self.verdicts[verdict["id"]] = verdict

    def known(self, mutant: Mutant) -> bool:
        """Whether a mutant is known to be killed."""
        return self.verdicts.get(mutant["id"], {}).get("status") in {"killed", "timeout"}

    def tried_and_excused(self, mutant: Mutant) -> bool:
        """Whether a mutant has survived, and is argued away."""
        return mutant["id"] in self.verdicts and key_of(mutant) in self.excused

    def is_cold(self, mutant: Mutant) -> bool:
        """Whether a mutant needs structmode to be imported anew."""
        return not mutant["first_line"] or self.verdicts[mutant["id"]]["status"] == "cold"

    def _keep(self, mutant: Mutant, answer: dict[str, Any]) -> None:
        verdict = {"id": mutant["id"], **answer}
        with self._lock:
            self.verdicts[mutant["id"]] = verdict
            with self._file.open("a") as file:
                file.write(json.dumps(verdict) + "\n")
            if answer["status"] == "killed":
                killers = self._killers.setdefault(mutant["function"], Counter())
                killers[answer["by"]] += 1
        if answer["status"] not in {"killed", "timeout"}:
            say(f"{answer['status']}: {describe(mutant)}")

    def try_warm(self, server: Server, mutant: Mutant) -> None:
        """Run the quickest tests of a mutant on each backend."""
        tests = self.knowledge.tests_of(mutant)
        if not tests:
            self._keep(mutant, {"status": "uncovered"})
            return
        answer: dict[str, Any] = {}
        for backend in self.options.backend or PLAIN:
            mine = [test for test in tests if backend_of(test) == backend]
            answer = self._ask(server, mutant, self._quick_ones(mutant, mine))
            if answer["status"] != "survived":
                break
        self._keep(mutant, answer)

    def try_all(self, server: Server, mutant: Mutant) -> None:
        """Run every test of a mutant, on every backend."""
        tests = self.knowledge.tests_of(mutant)
        tests += [other for test in tests for other in self._variants(test, server.items)]
        self._keep(mutant, self._ask(server, mutant, tests) | {"all": True})

    def _variants(self, test: str, items: list[str]) -> list[str]:
        others = BACKENDS - set(PLAIN)
        names = {test.replace("asyncio", other, 1) for other in others}
        names |= {other.join(test.rsplit("asyncio", 1)) for other in others}
        return [name for name in names if name in items]

    def _quick_ones(self, mutant: Mutant, tests: list[str]) -> list[str]:
        killers = self._killers.get(mutant["function"], Counter())
        known = set(tests)
        chosen = dict.fromkeys(test for test, _ in killers.most_common(15) if test in known)
        chosen |= dict.fromkeys(
            test for test in tests if any(part in test for part in self.options.first)
        )
        spent = 0.0
        for test in tests:
            spent += self.knowledge.seconds[test]
            if spent > self.options.budget and chosen:
                break
            chosen[test] = None
        return list(chosen)

    def _ask(self, server: Server, mutant: Mutant, tests: list[str]) -> dict[str, Any]:
        """Run tests on a mutant; a failure that may come of a busy machine has to come again."""
        began = time.monotonic()
        answer = self._run(server, mutant, tests)
        while self._is_doubtful(answer):
            again = self._run(server, mutant, [answer["by"]], patience=3.0)
            if again["status"] != "survived":
                answer |= {"status": again["status"]}
                break
            tests = tests[tests.index(answer["by"]) + 1 :]
            answer = self._run(server, mutant, tests)
        return answer | {"seconds": round(time.monotonic() - began, 2)}

    @staticmethod
    def _is_doubtful(answer: dict[str, Any]) -> bool:
        if answer["status"] == "timeout":
            return bool(answer["by"])
        return answer["status"] == "killed" and (answer["slow"] or not is_certain(answer["by"]))

    def _run(
        self, server: Server, mutant: Mutant, tests: list[str], patience: float = 1.0
    ) -> dict[str, Any]:
        limit = 15.0 + 6.0 * sum(self.knowledge.seconds.get(test, 0.2) for test in tests)
        order = {"tests": tests, "limit": patience * limit, "patience": patience}
        return server.ask(mutant | order)

    def try_cold(self, server: Server, mutant: Mutant) -> None:
        """Import structmode with the mutation in it, and run the tests of its module; then, if it survives, all."""
        name = Path(mutant["file"]).stem.lstrip("_")
        rooms = sorted((server.root / "tests").rglob(f"test_{name}.py"))
        few = [str(path) for path in rooms if TESTS[0] in str(path) or TESTS[2] in str(path)]
        few += [str(server.root / path) for path in (*FIRST_OF.get(name, ()), *FIRST)]
        rounds = [("trio", few), ("asyncio", few)]
        if not self.options.quick and key_of(mutant) not in self.excused:
            rounds += [("trio", list(TESTS)), ("asyncio", list(TESTS))]
        answer: dict[str, Any] = {}
        for backend, tests in rounds:
            options = ["-x", "--backend", backend]
            limit = 120.0 if tests is few else 1800.0
            order = {"options": options, "tests": tests, "limit": limit, "patience": 1.0}
            answer = server.ask(mutant | order)
            if self._is_doubtful(answer):
                again = server.ask(mutant | order | {"tests": [answer["by"]], "limit": 2 * limit})
                answer["status"] = again["status"]
            if answer["status"] != "survived":
                break
        self._keep(mutant, answer)


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def describe(mutant: Mutant) -> str:
    """Return a mutant in one line."""
    place = f"{mutant['file']}:{mutant['span'][0]} {mutant['function']}"
    return f"{mutant['id']} {place}: {mutant['was']} => {mutant['becomes']}"


def make_mutants(root: Path, state: Path, only: list[str]) -> list[Mutant]:
    """Make the mutants of the files asked for; kept for as long as the file is the same."""
    found: list[Mutant] = []
    for file in MUTATED:
        if only and not any(part in file for part in only):
            continue
        kept = state / f"mutants-{digest_of((root / file).read_text())}.jsonl"
        if not kept.exists():
            command = [sys.executable, str(HERE / "mutants.py"), str(root), file]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            kept.write_text(made)
        found += map(json.loads, kept.read_text().splitlines())
    return found


def changed_since(commit: str, file: str) -> set[int]:
    """Return the lines of a file that are not as they were in a commit."""
    command = ["git", "diff", "--unified=0", commit, "--", file]
    diff = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    lines: set[int] = set()
    for start, count in re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", diff, re.MULTILINE):
        lines.update(range(int(start), int(start) + int(count or 1)))
    return lines


def new_ones(mutants: list[Mutant], commit: str | None) -> list[Mutant]:
    """Choose those of lines that have changed since a commit; all, if none is given."""
    if commit is None:
        return mutants
    changed = {file: changed_since(commit, file) for file in MUTATED}
    return [
        mutant
        for mutant in mutants
        if not changed[mutant["file"]].isdisjoint(range(mutant["span"][0], mutant["span"][1] + 1))
    ]


def sample(mutants: list[Mutant], size: int | None) -> list[Mutant]:
    """Take so many of each file at random, the same ones every time."""
    if size is None:
        return mutants
    chosen: list[Mutant] = []
    for file in MUTATED:
        mine = [mutant for mutant in mutants if mutant["file"] == file]
        chosen += random.Random(SEED).sample(mine, min(size, len(mine)))
    return chosen


def copy_of_checkout(state: Path) -> Path:
    """Copy what the tests need."""
    copy = state / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", ".hypothesis", "mutation")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        else:
            shutil.copy2(ROOT / name, copy / name)
    return copy


def hunt(state: Path, options: argparse.Namespace) -> int:
    """Do the whole run, and return the exit code."""
    root = copy_of_checkout(state)
    servers = [Server("warm", root) for _ in range(options.jobs)]
    knowledge = Knowledge(state, root)
    say(f"measuring {len(servers[0].items)} tests")
    knowledge.measure(servers)
    for server in servers:
        server.close()
    for test in knowledge.broken:
        say(f"fails without a mutation: {test}")
    seconds = state / "seconds.json"
    seconds.write_text(json.dumps(knowledge.seconds))

    everything = make_mutants(root, state, options.only)
    left_out = Counter(mutant["left_out"] for mutant in everything if mutant["left_out"])
    mutants = new_ones([mutant for mutant in everything if not mutant["left_out"]], options.since)
    mutants = sample(mutants, options.sample)
    if options.id:
        mutants = [mutant for mutant in mutants if mutant["id"] in options.id]
    argued = tomllib.loads((HERE / "argued.toml").read_text()).get("argued", [])
    excused = {key_of(entry) for entry in argued}
    hunter = Hunt(knowledge, state, options, excused)
    open_ones = [mutant for mutant in mutants if not hunter.known(mutant)]
    if options.quick:
        open_ones = [mutant for mutant in open_ones if not hunter.tried_and_excused(mutant)]
    # In random order, so that a run that is cut short has tried a fair sample; new ones before survivors.
    random.Random(SEED).shuffle(open_ones)
    open_ones.sort(key=lambda mutant: mutant["id"] in hunter.verdicts)
    say(f"{len(mutants)} mutants, {len(open_ones)} to try; left out: {dict(left_out)}")

    servers = [Server("warm", root, seconds) for _ in range(options.jobs)]
    warm = [mutant for mutant in open_ones if mutant["first_line"]]
    in_parallel(servers, warm, hunter.try_warm)
    if not options.quick:
        rest = [one for one in warm if not hunter.known(one) and key_of(one) not in excused]
        say(f"{len(rest)} survive the quick tests")
        in_parallel(servers, rest, hunter.try_all)
    for server in servers:
        server.close()

    cold = [one for one in open_ones if hunter.is_cold(one)]
    if cold and not options.warm:
        servers = [Server("cold", root) for _ in range(options.jobs)]
        in_parallel(servers, cold, hunter.try_cold)
        for server in servers:
            server.close()
    return report(mutants, everything, hunter, argued, knowledge, complete=not options.only)


def report(
    mutants: list[Mutant],
    everything: list[Mutant],
    hunter: Hunt,
    argued: list[dict[str, str]],
    knowledge: Knowledge,
    *,
    complete: bool,
) -> int:
    """Print what survives and the totals, and return the exit code."""
    tried = [mutant for mutant in mutants if mutant["id"] in hunter.verdicts]
    killed = [mutant for mutant in tried if hunter.known(mutant)]
    excused = {key_of(entry) for entry in argued}
    survivors = [mutant for mutant in tried if not hunter.known(mutant)]
    unexcused = [mutant for mutant in survivors if key_of(mutant) not in excused]
    for mutant in unexcused:
        say(f"survives: {describe(mutant)}")
    existing, wrong = {key_of(mutant) for mutant in everything}, 0
    alive = {key_of(mutant) for mutant in survivors}
    for entry in argued:
        gone = complete and key_of(entry) not in existing
        dead = key_of(entry) in {key_of(one) for one in killed} and key_of(entry) not in alive
        if gone or dead:
            wrong += 1
            say(f"argued, but {'gone' if gone else 'killed'}: {entry}")
    for file in MUTATED:
        mine = [mutant for mutant in tried if mutant["file"] == file]
        dead_ones = sum(hunter.known(mutant) for mutant in mine)
        if mine:
            say(f"{file}: {dead_ones} of {len(mine)} killed ({100 * dead_ones / len(mine):.1f} %)")
    hung = sum(hunter.verdicts[mutant["id"]]["status"] == "timeout" for mutant in killed)
    share = 100 * len(killed) / max(1, len(tried))
    say(f"of the killed, {hung} hung; not tried: {len(mutants) - len(tried)}")
    say(
        f"mutation: {len(tried):,} mutants, {len(killed):,} killed ({share:.1f} %), "
        f"{len(survivors) - len(unexcused)} argued, {len(unexcused)} survive"
    )
    return int(share < WANTED or bool(unexcused) or wrong > 0 or bool(knowledge.broken))


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description="Run the tests on mutants of the code.")
    parser.add_argument("--only", action="append", default=[], help="part of a file's path")
    parser.add_argument("--backend", action="append", help="quick tests on this backend only")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of quick tests")
    parser.add_argument("--id", action="append", default=[], help="only this mutant")
    parser.add_argument(
        "--first", action="append", default=[], help="part of the names of tests to run first"
    )
    parser.add_argument("--since", help="only mutants of lines changed since this commit")
    parser.add_argument("--sample", type=int, help="so many mutants of each file")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time"
    )
    parser.add_argument("--state", type=Path, help="where to keep what is known")
    parser.add_argument(
        "--quick", action="store_true", help="only the quickest tests of each line"
    )
    parser.add_argument("--warm", action="store_true", help="only mutations inside of functions")
    options = parser.parse_args()
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True)
        return hunt(options.state.resolve(), options)
    with tempfile.TemporaryDirectory() as state:
        return hunt(Path(state), options)


if __name__ == "__main__":
    sys.exit(main())
