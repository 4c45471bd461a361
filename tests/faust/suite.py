"""Run Faust's own tests on structmode, and hold how they end against what is known.

    python tests/faust/suite.py DIRECTORY [options of pytest]

The directory is that of Faust's unpacked source archive. What ends otherwise than on mode is named in `differences.toml`, with
the reason; anything else makes the exit code 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = ("unit", "functional", "integration", "meticulous", "regression")
#: What the same tests give on mode-streaming 0.7.1, in the same environment.
ON_MODE = Counter(passed=2521, skipped=80)
#: A test that takes so many seconds hangs.
TIMEOUT = 60


def expected() -> dict[str, str]:
    """Return how each test ends that does not pass, by its name."""
    known = tomllib.loads((HERE / "differences.toml").read_text())
    return {
        test: how
        for difference in known.values()
        for how in ("failed", "error")
        for test in difference.get(how, ())
    }


def run(directory: Path, options: list[str]) -> dict[str, Any]:
    """Run the tests in a process of their own; return what the plugin has kept."""
    with tempfile.TemporaryDirectory() as room:
        results = Path(room, "results.json")
        path = [str(HERE / "on_structmode"), str(HERE), os.environ.get("PYTHONPATH", "")]
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "FAUST_SUITE_RESULTS": str(results),
        }
        # Faust's tests bring their own plugins for asyncio; anyio's and structmode's are not meant for them.
        plugins = [
            "-p",
            "plugin",
            "-p",
            "no:anyio",
            "-p",
            "no:structmode",
            "-p",
            "no:cacheprovider",
        ]
        command = [
            sys.executable,
            "-m",
            "pytest",
            *plugins,
            "--no-cov",
            "-q",
            f"--timeout={TIMEOUT}",
        ]
        tests = [f"tests/{part}" for part in PARTS]
        subprocess.run([*command, *(options or tests)], cwd=directory, env=environ, check=False)
        if not results.exists():
            raise SystemExit("the tests did not run to their end")
        found: dict[str, Any] = json.loads(results.read_text())
        return found


def judge(ended: dict[str, str], known: dict[str, str], *, complete: bool) -> list[str]:
    """Return what is otherwise than known; of tests that did not run, only if all were to run."""
    seen = {test: how for test, how in ended.items() if how != "skipped"}
    wrong = [f"{test}: {how}, and not expected" for test, how in seen.items() if test not in known]
    for test, how in known.items():
        if test in seen and seen[test] != how:
            wrong.append(f"{test}: {seen[test]}, and {how} was expected")
        elif test not in seen and complete:
            wrong.append(f"{test}: passed, and {how} was expected")
    return wrong


def main() -> int:
    """Run, print the figures, and judge."""
    directory, *options = sys.argv[1:]
    began = time.monotonic()
    found = run(Path(directory), options)
    ended: dict[str, str] = found["ended"]
    tally = Counter(ended.values())
    known = expected()
    wrong = judge(ended, known, complete=not options)
    print(
        f"Faust's tests on structmode: {found['passed']} passed, {tally['skipped']} skipped, "
        f"{tally['failed']} failed, {tally['error']} with errors, in {time.monotonic() - began:.0f} s"
    )
    print(
        f"  on mode: {ON_MODE['passed']} passed, {ON_MODE['skipped']} skipped; "
        f"differences that are known and explained: {len(known)}; not explained: {len(wrong)}"
    )
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
