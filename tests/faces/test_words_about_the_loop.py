"""What the error says where a service is asked for an event loop that there is not: whole, as people read it."""

from __future__ import annotations

import pytest

from structmode import Service


class Asked(Service):
    """Is asked for its loop."""


def test_the_whole_text() -> None:
    """It tells what there is instead, for each thing that loops are used for."""
    with pytest.raises(RuntimeError) as caught:
        _ = Asked().loop
    assert str(caught.value) == (
        "Asked.loop is the running asyncio event loop, and there is none here. What works on every backend: "
        "anyio.lowlevel.current_token() to name the loop, self.add_future() to run something on it, "
        "anyio.current_time() for its clock. An argument loop=self.loop may be left out: services find their loop"
    )


def test_asked_before_it_is_made() -> None:
    """Only the hooks that say what a service is made of may pass on a loop that there is not."""

    class Early(Asked):
        def __init__(self) -> None:
            self.kept = self.loop
            super().__init__()  # pragma: no cover - that was refused

    with pytest.raises(RuntimeError, match=r"Early\.loop is the running asyncio event loop"):
        Early()
