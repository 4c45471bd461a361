"""Importing structmode has no effect but the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

# Runs in a fresh interpreter. STATEMENT is replaced; what is printed before the last line is the
# statement's own doing.
PROBE = """
import json, logging, os, pkgutil, signal, sys, threading, warnings

def state():
    names = [name for name in logging.root.manager.loggerDict if name.startswith("structmode")]
    loggers = [logging.root, *map(logging.getLogger, names)]
    return {
        "handlers": [repr(handler) for logger in loggers for handler in logger.handlers],
        "levels": {logger.name: logger.level for logger in loggers if logger.level},
        "logger class": logging.getLoggerClass().__qualname__,
        "record factory": logging.getLogRecordFactory().__qualname__,
        "streams": [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "hooks": [repr(sys.excepthook), repr(sys.unraisablehook), repr(threading.excepthook)],
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "threads": threading.active_count(),
        "warning filters": len(warnings.filters),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
    }

before = state()
STATEMENT
after = state()
loops = ("asyncio", "trio", "uvloop")
loaded = [name for name in sys.modules if name.startswith("anyio._backends.") or name in loops]
changed = [key for key in before if before[key] != after[key]]
files = os.listdir()
print(json.dumps({"loaded": loaded, "changed": changed, "files": files}))
"""
BARE = "import structmode"
EVERY_NAME = "import structmode\nfor name in structmode.__all__:\n    getattr(structmode, name)"
EVERY_MODULE = """
import importlib, structmode
for module in pkgutil.walk_packages(structmode.__path__, "structmode."):
    # What makes time virtual does so inside an event loop, and is imported when one is asked for. So is what is made of
    # unittest.mock, which imports asyncio: structmode.utils.mocks is the module that can be imported.
    apart = ("__main__", "._time_on_", "._taps_on_", ".utils._mocks")
    if not any(part in module.name for part in apart):
        importlib.import_module(module.name)
"""


def effects(statement: str, directory: Path) -> dict[str, Any]:
    """Run a statement in a new interpreter, in an empty directory; return what it changed."""
    # Without coverage's own start-up in that process, which imports things.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE.replace("STATEMENT", statement)],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, report = done.stdout.splitlines()
    return {"printed": printed, "errors": done.stderr, **json.loads(report)}


@pytest.mark.parametrize(
    "statement", [BARE, EVERY_NAME, EVERY_MODULE], ids=["bare", "names", "modules"]
)
def test_an_import_has_no_effect(statement: str, tmp_path: Path) -> None:
    """Importing loads no event loop, sets up no logging, hook or thread, and writes nothing."""
    assert effects(statement, tmp_path) == {
        "printed": [],
        "errors": "",
        "loaded": [],
        "changed": [],
        "files": [],
    }


def test_the_probe_sees_effects(tmp_path: Path) -> None:
    """What the test above looks for is found where it is."""
    statement = "import asyncio; logging.basicConfig(); print('hello'); open('file', 'w').close()"
    seen = effects(statement, tmp_path)
    assert "asyncio" in seen["loaded"]
    assert seen["changed"] == ["handlers"]
    assert seen["printed"] == ["hello"]
    assert seen["files"] == ["file"]
