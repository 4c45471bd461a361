"""What a worker is told when it is made or called: what it keeps, and what it refuses."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import pytest

from structmode import LifecycleError, Worker
from structmode.facet import ServiceMixin

from .here import Job, Log, execute


def test_console_port_is_kept() -> None:
    """The port for a console is kept as an attribute."""
    assert Worker().console_port == 50101
    assert Worker(console_port=1).console_port == 1


def test_repr() -> None:
    """The `repr` of a worker tells its state and its services."""
    assert repr(Worker(Job())) == "<Worker: init, Job>"


@pytest.mark.parametrize("argument", ["loglevel", "redirect_stdouts_level"])
def test_unknown_level(argument: str) -> None:
    """A log level that does not exist is refused when the worker is made."""
    with pytest.raises(ValueError, match="no log level is named 'loud'"):
        Worker(**{argument: "loud"})  # type: ignore[arg-type]


def test_unknown_backend() -> None:
    """A backend that does not exist is refused when the worker is made, and the error names those that do."""
    with pytest.raises(ValueError, match=r"no backend 'curio'; it is one of 'asyncio', .*'trio'"):
        Worker(backend="curio")
    with pytest.raises(TypeError, match="backend is a name, such as 'trio', not 3"):
        Worker(backend=3)  # type: ignore[arg-type]


def test_blocking_timeout_that_can_not_be_read() -> None:
    """A time that can't be read is refused when the worker is made."""
    with pytest.raises(ValueError, match="soon"):
        Worker(blocking_timeout="soon")


@pytest.mark.parametrize("name", ["uvloop", "asyncio+uvloop"])
def test_uvloop_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that is not installed ends the program with exit code 1 and the command that installs it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    log = Log()
    assert execute(Worker(backend=name, stderr=log)) == 1
    assert log.getvalue().count("\n") == 1
    assert "pip install 'structmode[uvloop]'" in log.getvalue()


def test_class_instead_of_an_instance() -> None:
    """A class, or anything else that is no service, is refused when the worker is made."""
    with pytest.raises(TypeError, match=r"not the class: write Worker\(Job\(\)\)"):
        Worker(Job)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Worker takes services, as in Worker\(.*\); not \["):
        Worker([Job()])  # type: ignore[arg-type]


def test_service_of_the_other_face() -> None:
    """A mixin is refused with the place where it can be; what merely has any attribute is no mixin."""

    class Bot(ServiceMixin):
        def __repr__(self) -> str:
            return "<a bot>"

    place = r"<a bot> is a ServiceMixin: put it below a Service, with self\.add_dependency"
    with pytest.raises(TypeError, match=place):
        Worker(Bot())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Worker takes services"):
        Worker(MagicMock())


async def test_execution_inside_an_event_loop() -> None:  # noqa: ASYNC124 - that is the point
    """`execute_from_commandline` inside an event loop is refused, with the call that is right there."""
    with pytest.raises(LifecycleError, match="write `async with worker"):
        Worker().execute_from_commandline()


def test_execution_of_a_running_worker(backend: str) -> None:
    """A worker can't be executed while it runs."""
    errors: list[BaseException] = []

    def execute_again() -> None:
        try:
            worker.execute_from_commandline()
        except LifecycleError as exc:
            errors.append(exc)

    worker = Worker(Job(execute_again), daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert "Worker can't be executed: it is running already" in str(errors[0])
