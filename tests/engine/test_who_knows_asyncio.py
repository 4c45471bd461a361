"""Names that only those know who have imported asyncio: the module is found if that has happened, and not imported for it."""

from __future__ import annotations

import asyncio
import sys

import pytest

from structmode._engine import asyncio_if_loaded
from structmode.utils.queues import FlowControlEvent, FlowControlQueue, QueueEmpty


def test_where_somebody_has_imported_it() -> None:
    """It is the module itself."""
    assert asyncio_if_loaded() is asyncio


def test_where_nobody_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none, and it is not imported."""
    monkeypatch.delitem(sys.modules, "asyncio")
    assert asyncio_if_loaded() is None
    assert "asyncio" not in sys.modules


def test_an_error_that_is_known_by_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue's error is asyncio's, too, for those who know that."""
    flow = FlowControlEvent(initially_suspended=False)
    queue: FlowControlQueue[int] = FlowControlQueue(flow_control=flow)
    with pytest.raises(asyncio.QueueEmpty) as known:
        queue.get_nowait()
    assert isinstance(known.value, QueueEmpty)
    monkeypatch.delitem(sys.modules, "asyncio")
    with pytest.raises(QueueEmpty) as unknown:
        queue.get_nowait()
    assert not isinstance(unknown.value, asyncio.QueueEmpty)
