"""The example of a flight recorder writes what it says, and nothing of what went well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flight_recorder.py"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_only_what_took_too_long_is_in_the_log(backend: str, tmp_path: Path) -> None:
    """The third refresh is there with all its steps and the place where it hung; the others are not."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), backend],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    log = done.stderr
    assert log.count("Task timed out!") == 1
    assert [number for number in range(1, 5) if f"Refresh {number}" in log] == [3]
    steps = ["Refresh 3", "Store.get('users')", "Store.get('posts')", "-End of log-"]
    steps += [
        "Where task Cache.refresh_four_times is:",
        "in refresh\n",
        "in wait_for_a_connection\n",
    ]
    steps += ["5 users, 6 posts", "Ended after"]
    assert [step for step in steps if step not in log] == [], log
    places = [log.index(step) for step in steps]
    assert places == sorted(places)
