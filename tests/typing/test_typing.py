"""Wrong arguments of `task.job(...)` are errors in mypy and in pyright, on exactly the lines marked `# E:`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = Path(__file__).with_name("task_calls.py")

pytestmark = pytest.mark.timeout(240)  # a cold cache of mypy takes half a minute on a busy machine


def test_mypy_finds_the_wrong_calls_and_only_them() -> None:
    errors = errors_of_mypy()

    assert {line: text for line, text in errors.items() if line not in marked_lines()} == {}
    assert marked_lines() - errors.keys() == set()


def test_pyright_finds_the_wrong_calls_and_only_them() -> None:
    errors = errors_of_pyright()

    assert {line: text for line, text in errors.items() if line not in marked_lines()} == {}
    assert marked_lines() - errors.keys() == set()


def marked_lines() -> set[int]:
    lines = enumerate(CALLS.read_text().splitlines(), start=1)
    return {number for number, line in lines if re.search(r"  # E: ", line)}


def errors_of_mypy() -> dict[int, str]:
    run = check("mypy", "--strict", "--no-pretty", "--show-error-codes", "--config-file", "pyproject.toml")
    errors = re.findall(r"^(.+?):(\d+): error: (.+)$", run.stdout, re.MULTILINE)

    assert run.returncode in (0, 1), run.stderr
    assert [error for error in errors if Path(error[0]).name != CALLS.name] == []
    return {int(line): text for _, line, text in errors}


def errors_of_pyright() -> dict[int, str]:
    run = check("pyright", "--outputjson", "--pythonpath", sys.executable)
    report = json.loads(run.stdout)
    errors = [found for found in report["generalDiagnostics"] if found["severity"] == "error"]

    assert report["summary"]["filesAnalyzed"] >= 1, run.stdout
    # Pyright counts lines from 0.
    return {error["range"]["start"]["line"] + 1: error["message"] for error in errors}


def check(tool: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}
    environment.pop("FORCE_COLOR", None)
    return subprocess.run(
        [sys.executable, "-m", tool, *options, str(CALLS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
