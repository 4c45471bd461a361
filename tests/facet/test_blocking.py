"""The blocking face: the same promises, for `with`."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from structmode.exceptions import LifecycleError
from structmode.facet import BlockingServiceMixin, ServiceMixin, _holdings, _holdings_in_use


class Part(BlockingServiceMixin):
    """Notes what is done to it, and fails where it is told to."""

    def __init__(self, name: str, log: list[str], *dependencies: Any, fails_in: str = "") -> None:
        self.name = name
        self.log = log
        self.parts = dependencies
        self.fails_in = fails_in

    @property
    def dependencies(self) -> Any:
        return self.parts

    def start(self) -> None:
        assert not self.running
        self.step("start")

    def stop(self) -> None:
        assert not self.running
        self.step("stop")

    def step(self, name: str) -> None:
        """Note it."""
        self.log.append(f"{self.name} {name}")
        if name in self.fails_in:
            raise OSError(f"{self.name} {name}")


def test_order() -> None:
    """Dependencies start before and stop after, in sequence, whatever lists they are in."""
    log: list[str] = []
    b, c, d = (Part(name, log) for name in "bcd")
    with Part("a", log, [b, c], d) as a:
        assert a.running
        assert b.running
        assert log == ["b start", "c start", "d start", "a start"]
        log.clear()
    assert log == ["a stop", "d stop", "c stop", "b stop"]
    assert not a.running


def test_shared_and_entered_twice() -> None:
    """It is started for the first who holds it, and stopped with the last."""
    log: list[str] = []
    pool = Part("pool", log)
    one, two = Part("one", log, pool, pool), Part("two", log, pool)
    with one, two, pool:
        with one:
            pass
        assert log == ["pool start", "one start", "two start"]
        log.clear()
    assert log == ["two stop", "one stop", "pool stop"]
    with one:
        pass
    assert log[3:] == ["pool start", "one start", "one stop", "pool stop"]


def test_failed_start() -> None:
    """A start that fails is undone, and counts for nothing; what fails in the undoing is noted on the first."""
    log: list[str] = []
    pool = Part("pool", log, fails_in="stop")
    bad = Part("bad", log, fails_in="start")
    top = Part("top", log, pool, bad)
    with pytest.raises(OSError, match="bad start") as caught:
        with top:
            raise AssertionError("was entered")
    assert "pool stop" in caught.value.__notes__[0]
    assert log == ["pool start", "bad start", "pool stop"]
    bad.fails_in = pool.fails_in = ""
    log.clear()
    with top:
        assert pool.running
    assert log[-2:] == ["bad stop", "pool stop"]


def test_failed_stop() -> None:
    """The first failure leaves, and the rest is stopped all the same."""
    log: list[str] = []
    b, c = Part("b", log, fails_in="stop"), Part("c", log)
    with pytest.raises(OSError, match="a stop") as caught:
        with Part("a", log, c, b, fails_in="stop"):
            pass
    assert "b stop" in caught.value.__notes__[0]
    assert log[-3:] == ["a stop", "b stop", "c stop"]
    with pytest.raises(ValueError, match="body") as body:
        with b:
            raise ValueError("body")
    assert "b stop" in body.value.__notes__[0]


def test_circle() -> None:
    """Services that depend on each other can't be started."""
    a, b = Part("a", []), Part("b", [])
    a.parts, b.parts = (b,), (a,)
    with pytest.raises(LifecycleError, match="can't depend on it in turn"):
        with a:
            raise AssertionError("was entered")
    assert not b.running


@pytest.mark.parametrize(
    ("dependency", "problem"),
    [
        (Part, "names the class Part"),
        (ServiceMixin(), "which is no blocking service"),
        (3, "which is no blocking"),
    ],
)
def test_bad_dependencies(dependency: Any, problem: str) -> None:
    """A dependency that is no blocking service is refused."""
    with pytest.raises(TypeError, match=problem):
        with Part("a", [], dependency):
            raise AssertionError("was entered")


def test_leaving_what_was_not_entered() -> None:
    """Leaving a block that was not entered is an error."""
    with pytest.raises(LifecycleError, match="not in a `with` block"):
        Part("a", []).__exit__(None, None, None)


def test_in_threads() -> None:
    """Threads that enter it at the same time share one start, and all find it up."""
    log: list[str] = []
    inside, leave = threading.Barrier(3), threading.Barrier(3)
    service = Part("a", log, Part("b", log))

    def use() -> None:
        with service:
            assert service.running
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == ["b start", "a start", "a stop", "b stop"]


def test_nothing_left() -> None:
    """What is held for a service goes with it."""
    service = Part("a", [])
    with service:
        pass
    known = id(service)
    del service
    gc.collect()
    assert known not in _holdings
    assert known not in _holdings_in_use


def test_plain() -> None:
    """A service that overrides nothing runs."""
    with BlockingServiceMixin() as service:
        assert service.running
    assert not service.running
