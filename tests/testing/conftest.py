"""The event loops whose time can be virtual."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from structmode.testing import virtual_backend


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name and options of the backend that an async test runs on."""
    name: Literal["asyncio", "trio"] = request.param
    debug = {"debug": True} if name == "asyncio" else {}
    return name, {**debug, **virtual_backend(name)["backend_options"]}
