"""What the tests of the ASGI adapter share: a process that handles signals as one with a server does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def sigterms() -> Iterator[list[int]]:
    """Handle SIGTERM as a server does; note each."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGTERM, before)
