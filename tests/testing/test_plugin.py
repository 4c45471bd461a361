"""The pytest plugin, in projects of its users: with anyio's plugin, with pytest-asyncio, and with pytest-trio."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, parse

import pytest

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

#: Runs tests of one file again if they fail, once, in the way plugins for that do.
RERUNS = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    if "test_reruns" not in item.nodeid:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for again in range(2):
        if again:
            item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if all(report.passed for report in reports):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""

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


#: The test files of a project, each by what one of the tests below looks at. `CLOCK` is what a test takes to have one.
TESTS = {
    "a_service_around_a_test": """
seen = []

async def test_runs(app):
    seen.append(app)
    assert app.state == app.cache.state == "running"

def test_is_stopped():
    (app,) = seen
    assert app.state == app.cache.state == "shutdown"
""",
    "a_crash_is_the_failure_of_the_test": """
import anyio

async def test_crash(app):
    app.add_future(crash())
    await anyio.sleep_forever()
""",
    "virtual_time": """
import anyio

async def test_day(CLOCK, virtual_clock, app):
    await anyio.sleep(3600.5)
    assert app.ticks == 3600
    assert 3600 < virtual_clock.elapsed < 3601
""",
    "leaks": """
import anyio, threading
event = threading.Event()

async def test_leaves_nothing(nothing_left, app):
    pass

async def test_leaves_a_thread(app, nothing_left):
    threading.Thread(target=event.wait, name="the waiter").start()

async def test_leaves_nothing_either(nothing_left):
    event.set()
""",
    "record": """
@pytest.fixture
def look(record):
    yield
    record.assert_order("Started Cache", "Started App", "Stopping App", "Stopped Cache", "Stopped App")

async def test_order(look, record, app):
    record.assert_order("Started Cache", "Started App")
""",
    "services_in_order": """
@pytest.fixture
def cache(run_service):
    return run_service(Cache())

async def test_several(record, cache, app):
    subjects = [event.subject for event in record.events if type(event).__name__ == "Started"]
    assert subjects == [cache, app.cache, app]
""",
    "arguments_and_marks_stay": """
@pytest.mark.parametrize("number", [1, 2])
async def test_number(app, number, tmp_path):
    assert number in (1, 2)
    assert tmp_path.is_dir()

class TestMethods:
    async def test_method(self, app):
        assert isinstance(self, TestMethods)
        assert app.started
""",
    "hypothesis": """
import anyio
from hypothesis import HealthCheck, given, settings, strategies

few = settings(
    max_examples=5, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seen = []

@few
@given(seconds=strategies.integers(1, 3600))
async def test_given(CLOCK, virtual_clock, app, seconds):
    seen.append(app.ticks)
    ticks = app.ticks
    await anyio.sleep(seconds + 0.5)
    assert app.ticks == ticks + seconds
    assert seconds < virtual_clock.elapsed < seconds + 1

def test_examples():
    assert len(seen) > 1

@few
@given(number=strategies.integers())
async def test_without_surroundings(number):
    await anyio.sleep(0)

@pytest.mark.parametrize("number", [1, 2])
@few
@given(other=strategies.integers())
async def test_parameters(app, number, other):
    assert app.state == "running"
""",
    "hypothesis_fails": """
from hypothesis import HealthCheck, given, settings, strategies

@settings(database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=strategies.integers())
async def test_given(app, number):
    assert number < 100

@given(number=strategies.integers())
def test_plain(app, number):
    pass
""",
    "reruns": """
tries, event = [], None

async def test_flaky(CLOCK, record, virtual_clock, app):
    tries.append(app)
    started = [event.subject for event in record.events if type(event).__name__ == "Started"]
    assert started == [app.cache, app]
    assert len(tries) == 2

broken = []

@pytest.fixture
def breaks_once(app):
    broken.append(app)
    assert len(broken) == 2

async def test_flaky_fixture(CLOCK, record, virtual_clock, app, breaks_once):
    started = [event.subject for event in record.events if type(event).__name__ == "Started"]
    assert started == [app.cache, app]
""",
    "wrong_use": """
import unittest

def test_plain(app):
    pass

async def test_in_the_test(run_service):
    run_service(Cache())

async def test_a_clock_in_the_test(request):
    request.getfixturevalue("virtual_clock")

async def test_a_class(run_service):
    run_service(Cache)

async def test_no_service(run_service):
    run_service(None)

class TestCase(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def cache(self, run_service):
        self.cache = run_service(Cache())

    async def test_method(self):
        pass
""",
}


class Project:
    """A project of which all tests were run, once, in a process of its own."""

    def __init__(self, report: Path) -> None:
        self._cases: Final = list(parse(report).iter("testcase"))  # noqa: S314 - written by pytest

    def outcomes(self, name: str) -> dict[str, int]:
        """Count how the tests of a file came out; what was told of those that did not pass is printed."""
        print(self.told(name))  # noqa: T201 - pytest shows it if this is not what was expected
        return Counter(self._outcome(case) for case in self._cases_of(name))

    def told(self, name: str) -> str:
        """Return what was told of the tests of a file that did not pass."""
        return "\n".join(part.text or "" for case in self._cases_of(name) for part in case)

    def _cases_of(self, name: str) -> list[Element]:
        file = f"test_{name}"
        return [case for case in self._cases if case.attrib["classname"].split(".")[0] == file]

    @staticmethod
    def _outcome(case: Element) -> str:
        return " and ".join(part.tag for part in case) or "passed"


@pytest.fixture(scope="module", params=PROJECTS)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's project with one of the plugins."""
    conftest, options = PROJECTS[request.param]
    home = tmp_path_factory.mktemp("project")
    (home / "conftest.py").write_text(textwrap.dedent(conftest) + RERUNS, encoding="utf-8")
    # pytest-trio takes the clock that a test has among its own arguments; elsewhere it comes with the event loop.
    clock = "mock_clock" if "trio_mode=true" in options else "request"
    for name, tests in TESTS.items():
        code = SERVICES + tests.replace("CLOCK", clock)
        (home / f"test_{name}.py").write_text(code, encoding="utf-8")
    report = home / "report.xml"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", f"--junitxml={report}", "-W", "error", *options],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr
    return Project(report)


def test_a_service_around_a_test(project: Project) -> None:
    """The service runs when the test begins, whatever runs it, and is stopped when it is over."""
    assert project.outcomes("a_service_around_a_test") == {"passed": 2}


def test_a_crash_is_the_failure_of_the_test(project: Project) -> None:
    """A service that crashes cancels the test, which fails with the reason, and not with a timeout."""
    assert project.outcomes("a_crash_is_the_failure_of_the_test") == {"failure": 1}
    assert "ValueError: the reason" in project.told("a_crash_is_the_failure_of_the_test")


def test_virtual_time(project: Project) -> None:
    """With the clock's fixture a day passes at once, for the services too that are asked for after it."""
    assert project.outcomes("virtual_time") == {"passed": 1}


def test_leaks(project: Project) -> None:
    """The check for leaks fails the test at fault, and no other."""
    assert project.outcomes("leaks") == {"passed": 2, "failure": 1}
    assert "LeftBehind: left behind: thread the waiter" in project.told("leaks")


def test_record(project: Project) -> None:
    """The recorder has what happened around the test as well."""
    assert project.outcomes("record") == {"passed": 1}


def test_services_in_order(project: Project) -> None:
    """Several services are started in the order of their fixtures, and stopped in reverse."""
    assert project.outcomes("services_in_order") == {"passed": 1}


def test_arguments_and_marks_stay(project: Project) -> None:
    """Parameters and other fixtures reach a test that something is put around."""
    assert project.outcomes("arguments_and_marks_stay") == {"passed": 3}


def test_hypothesis(project: Project) -> None:
    """With Hypothesis, all is put around each example anew, and nothing stays around the function afterwards."""
    assert project.outcomes("hypothesis") == {"passed": 5}


def test_hypothesis_that_fails(project: Project) -> None:
    """An example that fails is made as small as it can be; a plain function is told what is wrong with it."""
    assert project.outcomes("hypothesis_fails") == {"failure": 2}
    assert "number=100" in project.told("hypothesis_fails")
    assert "test_plain must be `async def`" in project.told("hypothesis_fails")


def test_reruns(project: Project) -> None:
    """A test that is run again has around it what it asks for then, and nothing of the try before."""
    assert project.outcomes("reruns") == {"passed": 2}


def test_wrong_use(project: Project) -> None:
    """What can't work is refused, and what is wrong is told, with what works."""
    assert project.outcomes("wrong_use") == {"failure": 6}
    told = project.told("wrong_use")
    assert "test_plain must be `async def`" in told
    assert "run_service was asked for in test_in_the_test, which runs already" in told
    assert "virtual_clock was asked for in test_a_clock_in_the_test, which runs already" in told
    assert "run_service() takes a service, not its class: run_service(Cache(...))" in told
    assert "run_service() takes a service, not None" in told
    assert "is a method of a unittest.TestCase" in told
