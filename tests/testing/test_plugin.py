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
    "wrong_use": """
def test_plain(app):
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
    (home / "conftest.py").write_text(textwrap.dedent(conftest), encoding="utf-8")
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


def test_wrong_use(project: Project) -> None:
    """A plain function is told what is wrong."""
    assert project.outcomes("wrong_use") == {"failure": 1}
    assert "test_plain must be `async def`" in project.told("wrong_use")
