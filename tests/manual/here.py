"""What the tests of the manual share: virtual time, and workers that run as the program."""

from __future__ import annotations

import io

import pytest

from structmode import Worker
from structmode.testing import virtual_backend

#: Runs a test on the event loops whose time can be virtual; to be used with the fixture `virtual_clock`.
virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(tuple(virtual_backend("asyncio").values()), id="asyncio"),
        pytest.param(tuple(virtual_backend("trio").values()), id="trio"),
    ],
)


class Log(io.StringIO):
    """The log of a worker in this process."""

    def lines(self) -> list[str]:
        """Return the messages, without time, process and level."""
        return [line.split("] ", 3)[-1] for line in self.getvalue().splitlines()]


def execute(worker: Worker) -> object:
    """Run a worker as the program; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    return caught.value.code
