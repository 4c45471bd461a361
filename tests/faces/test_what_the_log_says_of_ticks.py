"""What the log says of a tick that failed: that its schedule goes on, or when it is run again."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from structmode import Backoff, Service
from structmode.testing import VirtualClock, virtual_backend

SOON = Backoff(initial=0.5, factor=1.0, jitter=0.0)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A loop whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Failing(Service):
    """Has a tick that fails once."""

    failed = False

    async def tick(self) -> None:
        """Fail, if it has not yet."""
        failed, self.failed = self.failed, True
        if not failed:
            raise OSError("once")


class Logged(Failing):
    """Goes on as if nothing had happened."""

    work = Service.timer(2.0, on_error="log")(Failing.tick)


class Repeated(Failing):
    """Does not wait for the next tick."""

    work = Service.timer(2.0, on_error="restart", backoff=SOON)(Failing.tick)


@pytest.mark.parametrize(
    ("kind", "then"), [(Logged, "goes on"), (Repeated, "is run again in 0.5 s")]
)
async def test_a_tick_that_fails(
    kind: type[Failing], then: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, at the level of errors, with the name of the tick and the traceback."""
    with VirtualClock():
        async with kind() as service:
            await service.sleep(7.0)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    name = kind.__name__
    assert record.getMessage() == f"[^{name}]: {name}.work failed, and {then}: OSError('once')"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], OSError)
