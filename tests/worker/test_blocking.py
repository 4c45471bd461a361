"""Looking out for a blocked event loop: what a worker does about it, and what it says where nothing can be done."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from structmode import Service, Worker

from .here import Job, Log, execute


@pytest.mark.fault("E3")
@pytest.mark.usefixtures("blocking_allowed")
def test_e3_a_blocked_loop_is_reported(backend: str) -> None:
    """E3: with debug, a worker says in its log what blocks its event loop, and where; nothing is raised there."""
    log = Log()

    def block() -> None:
        deadline = time.monotonic() + 30.0
        while "Blocked for" not in log.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    job = Job(block)
    worker = Worker(
        job,
        debug=True,
        console_port=None,
        blocking_timeout=0.05,
        daemon=False,
        backend=backend,
        stderr=log,
    )
    assert execute(worker) == 0
    text = log.getvalue()
    assert "[^-BlockingDetector]: Blocked for " in text
    assert "the event loop of thread MainThread is busy in Job.work, here:" in text
    assert "in block\n" in text
    assert job.events == ["stop"]


@pytest.mark.fault("E3")
@pytest.mark.parametrize(
    "settings",
    [{"debug": False}, {"debug": True, "console_port": None, "blocking_timeout": 0}],
    ids=["debug", "timeout"],
)
def test_e3_nothing_is_looked_out_for_unless_asked(backend: str, settings: dict[str, Any]) -> None:
    """E3: without debug there is no detector, nor with a timeout of 0."""
    log = Log()
    worker = Worker(Job(), daemon=False, loglevel="info", backend=backend, stderr=log, **settings)
    assert execute(worker) == 0
    assert "BlockingDetector" not in log.getvalue()


def test_a_detector_that_does_not_exist_is_not_pretended(backend: str) -> None:
    """A subclass that names a detector which isn't there gets a line in its log, and runs all the same."""

    class Looking(Worker):
        BLOCK_DETECTOR = "my_detectors:Detector"

    log = Log()
    assert (
        execute(Looking(debug=True, console_port=None, daemon=False, backend=backend, stderr=log))
        == 0
    )
    assert log.lines() == [
        "[^Looking]: A blocked event loop is not looked out for: there is no my_detectors:Detector"
    ]


class Detector(Service):
    """Stands for a service that looks out for a blocked event loop."""

    made: ClassVar[list[Detector]] = []

    def __init__(self, timeout: float, **kwargs: Any) -> None:
        self.timeout = timeout
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        self.made.append(self)


@pytest.mark.fault("E3")
def test_e3_a_detector_is_started(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """E3: with debug, the service that BLOCK_DETECTOR names is started with the worker, once, and stopped with it."""
    monkeypatch.setattr(Detector, "made", [])
    monkeypatch.setitem(sys.modules, "my_detectors", sys.modules[__name__])

    class Looking(Worker):
        BLOCK_DETECTOR = "my_detectors:Detector"

    worker = Looking(
        debug=True,
        console_port=None,
        blocking_timeout="2.5",
        daemon=False,
        backend=backend,
        stderr=Log(),
    )
    assert execute(worker) == 0
    [detector] = Detector.made
    assert worker.blocking_detector is detector
    assert detector.timeout == 2.5
    assert detector.state == "shutdown"


def test_detector_whose_module_lacks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that can't be imported is not taken for one that does not exist."""
    (tmp_path / "lacking.py").write_text("import no_such_module")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    class Looking(Worker):
        BLOCK_DETECTOR = "lacking:Detector"

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = Looking().blocking_detector
