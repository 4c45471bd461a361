"""The chapter `mode.debug` of mode's manual: a service that detects what blocks the event loop."""

from __future__ import annotations

import time

import pytest

from structmode.debug import Blocking, BlockingDetector


def block_until_told(caplog: pytest.LogCaptureFixture) -> None:
    """Block the event loop until the log says so."""
    deadline = time.monotonic() + 30.0
    while not any("Blocked for" in text for text in caplog.messages):
        assert time.monotonic() < deadline
        time.sleep(0.002)


async def test_a_detector_that_is_started(
    caplog: pytest.LogCaptureFixture, blocking_allowed: None
) -> None:
    """A detector that has been started reports what blocks the loop for longer than its timeout, with the stack."""
    detector = BlockingDetector(timeout=0.05)
    await detector.start()
    block_until_told(caplog)
    await detector.stop()
    assert any("block_until_told" in text for text in caplog.messages)


async def test_what_it_raises(blocking_allowed: None) -> None:
    """What it is to raise in the blocking code is up to the program: `Blocking`, if it is told so, and nothing else."""
    assert BlockingDetector(timeout=10.0).raises is None
    assert BlockingDetector(timeout=10.0, raises=Blocking).raises is Blocking
    assert issubclass(Blocking, RuntimeError)
