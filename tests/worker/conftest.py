"""What every test of a worker gets: each backend that it may be asked to run on."""

from __future__ import annotations

import pytest

BACKENDS = ("asyncio", "asyncio+uvloop", "trio")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend that a worker is asked to run on."""
    name: str = request.param
    return name
