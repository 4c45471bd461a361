"""Each test runs on nine pairs of event loops: that of the test, and that of the thread."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from structmode._engine import BACKENDS


def _params() -> Iterator[Any]:
    for name in BACKENDS:
        absent = name == "asyncio+uvloop" and importlib.util.find_spec("uvloop") is None
        marks = [pytest.mark.skip(reason="there is no uvloop here")] if absent else []
        yield pytest.param(name, id=f"in-{name}", marks=marks)


@pytest.fixture(scope="module", params=list(_params()))
def inside(request: pytest.FixtureRequest) -> str:
    """The backend of the thread's event loop."""
    name: str = request.param
    return name


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """What threads wait for in vain, until the test is over."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if hasattr(thread, "service"):
            thread.join()
