"""What the error says where a service is asked for an event loop that there is not: whole, as people read it."""

from __future__ import annotations

import asyncio

import pytest

from structmode import Service
from structmode._engine import on_trio


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


async def test_a_loop_that_is_set_is_ignored() -> None:
    """As with the argument of the constructor: programs written for mode may set it, and the service finds its own."""

    class Setting(Service):
        """Sets its loop, as services of asyncio's early days did."""

        def __init__(self) -> None:
            super().__init__()
            self.loop = "some loop"

    async with Setting() as service:
        if on_trio():
            with pytest.raises(RuntimeError, match="there is none here"):
                _ = service.loop
        else:
            assert service.loop is asyncio.get_running_loop()
