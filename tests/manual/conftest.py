"""What the tests of the manual get beyond the others: each backend that a worker may be asked to run on."""

from __future__ import annotations

import pytest

BACKENDS = ("asyncio", "asyncio+uvloop", "trio")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of the backend that a worker is asked to run on."""
    name: str = request.param
    return name
