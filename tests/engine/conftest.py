"""What the tests of the engine get beyond the others: on trio, a clock that jumps ahead when all are waiting."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
import trio.testing

Backend: TypeAlias = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: Backend) -> Backend:
    """Name and options of the backend; waiting takes no time on trio."""
    name, options = anyio_backend
    if name != "trio":
        return anyio_backend
    return name, {**options, "clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def fresh_loop(anyio_backend: Backend) -> dict[str, Any]:
    """The arguments of `anyio.run` for an event loop run of the test's own."""
    name, options = anyio_backend
    options = {key: value for key, value in options.items() if key != "clock"}
    return {"backend": name, "backend_options": options}


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let callers of stop() give up soon after the hard cancel."""
    for module in ("_run", "_steps"):
        monkeypatch.setattr(f"structmode._engine.{module}.GRACE", 0.03)
