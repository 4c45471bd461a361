"""The chapter `mode.proxy` of mode's manual: a service that stands for another one."""

from __future__ import annotations

from functools import cached_property

import pytest

from structmode import Service, ServiceT
from structmode.proxy import ServiceProxy
from structmode.utils import objects

made: list[str] = []


class Actual(Service):
    """The service behind."""

    def __post_init__(self) -> None:
        made.append("made")


class Standing(ServiceProxy):
    """The service in front."""

    @cached_property
    def _service(self) -> ServiceT:
        return Actual()


class StandingByModes(ServiceProxy):
    """The same, with the cached property that mode has."""

    @objects.cached_property
    def _service(self) -> ServiceT:  # pyright: ignore[reportIncompatibleVariableOverride]
        return Actual()


standing = Standing()


@pytest.mark.parametrize("cls", [Standing, StandingByModes])
async def test_a_proxy(cls: type[ServiceProxy]) -> None:
    """A proxy makes its service when it is first needed, and is started, stopped and asked like it."""
    made.clear()
    proxy = cls()
    assert "not made yet" in repr(proxy)
    assert made == []
    await proxy.start()
    assert made == ["made"]
    assert proxy.started
    assert (proxy.state, proxy.label) == ("running", "Actual")
    await proxy.restart()
    assert proxy.restart_count == 1
    await proxy.stop()
    assert proxy.state == "shutdown"


async def test_a_proxy_at_the_top_of_a_module() -> None:
    """One that was made with its module, where no event loop runs, can be used like any other."""
    async with standing:
        assert standing.started
    assert not standing.started
