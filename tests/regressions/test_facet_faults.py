"""The faults of facet, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from structmode.facet import ServiceMixin


class Part(ServiceMixin):
    """Notes its start and its stop, and fails to start as long as it is told to."""

    def __init__(self, name: str, log: list[str], *parts: ServiceMixin) -> None:
        self.name = name
        self.log = log
        self.parts = parts
        self.broken = False

    @property
    def dependencies(self) -> Sequence[ServiceMixin]:
        return self.parts

    async def start(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise OSError(self.name)
        self.log.append(f"+{self.name}")

    async def stop(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(f"-{self.name}")


@pytest.mark.fault("G1")
@pytest.mark.parametrize("broken", ["first", "second", "third", "top"])
async def test_g1_what_a_failed_start_had_not_come_to_stops_after_the_next(broken: str) -> None:
    """After a start that failed, whichever part it failed in, the next one starts all, and its end stops all."""
    log: list[str] = []
    parts = [Part(name, log) for name in ("first", "second", "third")]
    top = Part("top", log, *parts)
    (culprit,) = (part for part in (*parts, top) if part.name == broken)
    culprit.broken = True
    with pytest.raises(OSError, match=broken):
        async with top:
            raise AssertionError("was entered")
    up = [entry[1:] for entry in log if entry.startswith("+")]
    assert log == [*(f"+{name}" for name in up), *(f"-{name}" for name in reversed(up))]
    culprit.broken = False
    log.clear()
    async with top:
        assert log == ["+first", "+second", "+third", "+top"]
        assert all(part.running for part in parts)
    assert log[4:] == ["-top", "-third", "-second", "-first"]
    assert not any(part.running for part in parts)


@pytest.mark.fault("G1")
async def test_g1_what_two_need_is_counted_right_after_a_failed_start() -> None:
    """What two need stops with the last of them, also if one of them had failed to start before it came to that."""
    log: list[str] = []
    shared = Part("shared", log)
    before = Part("before", log)
    one, two = Part("one", log, before, shared), Part("two", log, shared)
    before.broken = True
    with pytest.raises(OSError, match="before"):
        async with one:
            raise AssertionError("was entered")
    assert log == []
    before.broken = False
    async with Part("top", log, one, two):
        assert log.count("+shared") == 1
        log.clear()
    assert log == ["-top", "-two", "-one", "-shared", "-before"]


@pytest.mark.fault("G2")
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_g2_a_failure_in_the_background_ends_the_body(depth: int) -> None:
    """A task that fails, of the service or of what it depends on, cancels the body; its error leaves the block."""
    log: list[str] = []
    bottom = Part("c", log)
    middle = Part("b", log, bottom)
    top = Part("a", log, middle)
    error = ValueError("lost")
    ended: list[str] = []

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(ValueError, match="lost") as caught:
        async with top:
            (top, middle, bottom)[depth].add_task(fail())
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                ended.append("cancelled")
                raise
    assert caught.value is error
    assert ended == ["cancelled"]
    assert log == ["+c", "+b", "+a", "-a", "-b", "-c"]
