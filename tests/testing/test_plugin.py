"""The pytest plugin, in projects of its users: with anyio's plugin, with pytest-asyncio, and with pytest-trio."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.process

#: What a user's conftest.py has, by the plugin that runs async tests; and which plugins are off then.
PROJECTS = {
    "anyio-asyncio": (
        """
        import pytest
        from structmode.testing import virtual_backend

        @pytest.fixture
        def anyio_backend():
            return tuple(virtual_backend("asyncio").values())
        """,
        ("-o", "anyio_mode=auto", "-p", "no:asyncio", "-p", "no:trio"),
    ),
    "anyio-trio": (
        """
        import pytest
        from structmode.testing import virtual_backend

        @pytest.fixture
        def anyio_backend():
            return tuple(virtual_backend("trio").values())
        """,
        ("-o", "anyio_mode=auto", "-p", "no:asyncio", "-p", "no:trio"),
    ),
    "pytest-asyncio": (
        """
        from structmode.testing import virtual_backend

        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": virtual_backend("asyncio")["backend_options"]["loop_factory"]}
        """,
        (
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
            *("-p", "no:anyio", "-p", "no:trio"),
        ),
    ),
    "pytest-trio": (
        "",
        ("-o", "trio_mode=true", "-p", "no:anyio", "-p", "no:asyncio"),
    ),
}

SERVICES = """
import pytest
from structmode import Service

class Cache(Service):
    pass

class App(Service):
    def __post_init__(self):
        self.cache = self.add_dependency(Cache())
        self.ticks = 0

    @Service.timer(1.0)
    async def tick(self):
        self.ticks += 1

@pytest.fixture
def app(run_service):
    return run_service(App())

async def crash():
    raise ValueError("the reason")
"""


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Project:
    """A user's project with one of the plugins."""
    conftest, options = PROJECTS[request.param]
    pytester.makeconftest(textwrap.dedent(conftest))
    # pytest-trio takes the clock that a test has among its own arguments; elsewhere it comes with the event loop.
    return Project(
        pytester, options, clock="mock_clock" if "trio_mode=true" in options else "request"
    )


class Project:
    """A project whose tests can be run."""

    def __init__(self, pytester: pytest.Pytester, options: tuple[str, ...], clock: str) -> None:
        self._pytester = pytester
        self._clock = clock
        self._options = options

    def run(self, tests: str) -> pytest.RunResult:
        """Run tests, with the services above."""
        self._pytester.makepyfile(SERVICES + tests.replace("CLOCK", self._clock))
        return self._pytester.runpytest_subprocess(*self._options, "-W", "error")


def test_a_service_around_a_test(project: Project) -> None:
    """The service runs when the test begins, whatever runs it, and is stopped when it is over."""
    result = project.run(
        """
seen = []

async def test_runs(app):
    seen.append(app)
    assert app.state == app.cache.state == "running"

def test_is_stopped():
    (app,) = seen
    assert app.state == app.cache.state == "shutdown"
"""
    )
    result.assert_outcomes(passed=2)


def test_a_crash_is_the_failure_of_the_test(project: Project) -> None:
    """A service that crashes cancels the test, which fails with the reason, and not with a timeout."""
    result = project.run(
        """
import anyio

async def test_crash(app):
    app.add_future(crash())
    await anyio.sleep_forever()
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: the reason"])


def test_virtual_time(project: Project) -> None:
    """With the clock's fixture a day passes at once, for the services too that are asked for after it."""
    result = project.run(
        """
import anyio

async def test_day(CLOCK, virtual_clock, app):
    await anyio.sleep(3600.5)
    assert app.ticks == 3600
    assert 3600 < virtual_clock.elapsed < 3601
"""
    )
    result.assert_outcomes(passed=1)


def test_leaks(project: Project) -> None:
    """The check for leaks fails the test at fault, and no other."""
    result = project.run(
        """
import anyio, threading
event = threading.Event()

async def test_leaves_nothing(nothing_left, app):
    pass

async def test_leaves_a_thread(app, nothing_left):
    threading.Thread(target=event.wait, name="the waiter").start()

async def test_leaves_nothing_either(nothing_left):
    event.set()
"""
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*LeftBehind: left behind: thread the waiter"])


def test_record(project: Project) -> None:
    """The recorder has what happened around the test as well."""
    result = project.run(
        """
@pytest.fixture
def look(record):
    yield
    record.assert_order("Started Cache", "Started App", "Stopping App", "Stopped Cache", "Stopped App")

async def test_order(look, record, app):
    record.assert_order("Started Cache", "Started App")
"""
    )
    result.assert_outcomes(passed=1)


def test_services_in_order(project: Project) -> None:
    """Several services are started in the order of their fixtures, and stopped in reverse."""
    result = project.run(
        """
@pytest.fixture
def cache(run_service):
    return run_service(Cache())

async def test_several(record, cache, app):
    subjects = [event.subject for event in record.events if type(event).__name__ == "Started"]
    assert subjects == [cache, app.cache, app]
"""
    )
    result.assert_outcomes(passed=1)


def test_arguments_and_marks_stay(project: Project) -> None:
    """Parameters and other fixtures reach a test that something is put around."""
    result = project.run(
        """
@pytest.mark.parametrize("number", [1, 2])
async def test_number(app, number, tmp_path):
    assert number in (1, 2)
    assert tmp_path.is_dir()

class TestMethods:
    async def test_method(self, app):
        assert isinstance(self, TestMethods)
        assert app.started
"""
    )
    result.assert_outcomes(passed=3)


def test_wrong_use(project: Project) -> None:
    """A plain function is told what is wrong."""
    result = project.run(
        """
def test_plain(app):
    pass
"""
    )
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*test_plain must be `async def`*"])
