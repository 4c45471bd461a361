"""A plugin for Faust's own tests: prepares the process, and keeps how each test ended.

It is given to pytest by name, as `suite` does; structmode stands for mode by then.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from structmode.utils._watchdog import alarms

# How each test that did not simply pass has ended: "failed", "error" or "skipped".
_ended: dict[str, str] = {}
_passed: set[str] = set()


def pytest_configure() -> None:
    """Begin structmode's watchdog, one thread for the process: the tests take what begins among them for a leak."""
    alarms.call_later(7 * 86400.0, lambda: None)


def pytest_runtest_logreport(report: Any) -> None:
    """Keep how a phase of a test has ended."""
    if report.when == "call" and report.passed:
        _passed.add(report.nodeid)
    elif report.failed:
        how = "failed" if report.when == "call" else "error"
        _ended[report.nodeid] = "failed" if _ended.get(report.nodeid) == "failed" else how
    elif report.skipped:
        _ended[report.nodeid] = "skipped"


def pytest_collectreport(report: Any) -> None:
    """Keep what could not be collected, or was skipped as a whole."""
    if report.failed or report.skipped:
        _ended[report.nodeid] = "error" if report.failed else "skipped"


def pytest_sessionfinish() -> None:
    """Write down how the tests have ended."""
    found = {"passed": len(_passed), "ended": _ended}
    Path(os.environ["FAUST_SUITE_RESULTS"]).write_text(json.dumps(found))
