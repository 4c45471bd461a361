"""A start that a hook in the thread calls off, or wants done again: what fails after that is what went wrong in it."""

from __future__ import annotations

import pytest

from structmode.exceptions import StartAborted

from .things import Noting, threads_of


class Leaving(Noting):
    """Calls off its own start."""

    async def on_start(self) -> None:
        await super().on_start()
        await self.stop()


class Again(Noting):
    """Has its own start done again, and fails in a hook after that: once."""

    def __init__(self, error: BaseException, fails_in: str, *, backend: str) -> None:
        super().__init__(backend=backend)
        self._error = error
        self._fails_in = fails_in
        self.fails = True

    async def on_start(self) -> None:
        await super().on_start()
        if self.fails:
            await self.restart()
        self._perhaps_fail("on_start")

    async def on_stop(self) -> None:
        await super().on_stop()
        self._perhaps_fail("on_stop")

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        self._perhaps_fail("on_shutdown")

    def _perhaps_fail(self, hook: str) -> None:
        if self.fails and hook == self._fails_in:
            raise self._error


async def test_called_off(inside: str) -> None:
    """start() says that it was called off; the service has not failed, nor crashed, and may be started again."""
    service = Leaving(backend=inside)
    for _ in range(2):
        with pytest.raises(StartAborted, match="Leaving was stopped before it had started"):
            await service.start()
        assert list(service.failures) == []
        assert service.crash_reason is None
        assert service.state == "init"
    assert service.calls.count("on_start") == 2
    assert not threads_of(service)


@pytest.mark.parametrize("fails_in", ["on_start", "on_stop", "on_shutdown"])
async def test_wanted_again_and_failed(inside: str, fails_in: str) -> None:
    """What then fails leaves start(), and is kept; there is no second start, and the service may be started again."""
    error = OSError("bad end")
    service = Again(error, fails_in, backend=inside)
    with pytest.raises(OSError, match="bad end") as caught:
        await service.start()
    assert caught.value is error
    assert list(service.failures) == [error]
    assert service.crash_reason is None
    assert service.state == "init"
    assert service.calls.count("on_start") == 1
    assert not threads_of(service)
    service.fails = False
    async with service:
        assert service.state == "running"
        assert list(service.failures) == []
