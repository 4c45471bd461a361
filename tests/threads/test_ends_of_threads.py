"""The end of a thread: waited for where it is short, and in another thread where it is not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from structmode.threads import ServiceThread, WorkerThread


class Quiet(ServiceThread):
    """Says nothing of its life."""

    mundane_level = "debug"


async def test_the_end_of_a_thread_begins_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has nothing left to do is waited for by the event loop itself, which has enough time here."""
    monkeypatch.setattr("structmode._engine._thread._LAST_MOMENT", 30.0)
    begun: list[str] = []
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        begun.append(type(thread).__module__)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    async with Quiet():
        pass
    assert "anyio" not in {module.partition(".")[0] for module in begun}


async def test_a_thread_that_has_more_to_do_is_waited_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a class of threads does last, after all else, is done when the stop returns."""
    monkeypatch.setattr("structmode._engine._thread._LAST_MOMENT", 0.0)
    done = threading.Event()

    class Thorough(WorkerThread):
        def run(self) -> None:
            super().run()
            threading.Event().wait(0.05)
            done.set()

    service: Any = Quiet(Worker=Thorough)
    async with service:
        assert not done.is_set()
    assert done.is_set()
