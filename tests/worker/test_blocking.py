"""Looking out for a blocked event loop: what a worker does about it, and what it says where nothing can be done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from structmode import Service, Worker

from .here import Log, execute


def test_e3_detection_that_does_not_exist_yet_is_not_pretended(backend: str) -> None:
    """E3: with debug, the log says that a blocked loop is not looked out for; without it, nothing is said."""
    for debug, lines in (
        (
            True,
            [
                "[^Worker]: A blocked event loop is not looked out for: there is no structmode.debug:BlockingDetector in this version"
            ],
        ),
        (False, []),
    ):
        log = Log()
        assert (
            execute(
                Worker(debug=debug, console_port=None, daemon=False, backend=backend, stderr=log)
            )
            == 0
        )
        assert log.lines() == lines


class Detector(Service):
    """Stands for a service that looks out for a blocked event loop."""

    made: ClassVar[list[Detector]] = []

    def __init__(self, timeout: float, **kwargs: Any) -> None:
        self.timeout = timeout
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        self.made.append(self)


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
