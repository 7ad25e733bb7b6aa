import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueue import crash
from jobqueue.crash import POINTS, VARIABLE, Armed, armed_with
from jobqueue.errors import ConfigError

ROOT = Path(__file__).parents[2]
NAMES = [each.name for each in POINTS]


def test_without_the_variable_nothing_is_armed() -> None:
    assert armed_with(None) is None
    assert armed_with("") is None


def test_a_point_without_a_number_is_armed_for_its_first_passing() -> None:
    assert armed_with("after_run") == Armed("after_run", 1)
    assert armed_with("after_run:3") == Armed("after_run", 3)


def test_an_unknown_point_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"JOBQUEUE_CRASH_AT must name a crash point, got 'afterrun'") as refusal:
        armed_with("afterrun")

    assert all(name in str(refusal.value) for name in NAMES)


@pytest.mark.parametrize("text", ["after_run:", "after_run:0", "after_run:-1", "after_run:x", "after_run:1:2"])
def test_a_passing_is_a_positive_number(text: str) -> None:
    with pytest.raises(ConfigError, match="a point and a passing such as after_run:3"):
        armed_with(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_point_that_is_not_armed_does_nothing(name: str) -> None:
    crash.point(name)


def test_it_dies_at_the_passing_it_was_armed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: deaths.append((pid, number)))
    monkeypatch.setattr(crash, "_armed", armed_with("after_run:2"))

    crash.point("after_run")
    crash.point("before_run")
    assert deaths == []
    crash.point("after_run")

    assert deaths == [(os.getpid(), signal.SIGKILL)]


def test_an_armed_process_kills_itself_and_says_where() -> None:
    ended = python("from jobqueue import crash; crash.point('before_run'); crash.point('after_run')", "after_run")

    assert ended.returncode == -signal.SIGKILL
    assert ended.stderr == "jobqueue: killed at crash point after_run\n"


def test_a_process_with_a_wrong_variable_does_not_start() -> None:
    ended = python("from jobqueue import JobQueue", "nowhere")

    assert ended.returncode == 1
    assert "ConfigError: JOBQUEUE_CRASH_AT must name a crash point, got 'nowhere'" in ended.stderr


def python(code: str, crash_at: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, VARIABLE: crash_at}, capture_output=True, text=True
    )


def test_the_product_passes_each_point_at_one_place_and_no_other_point() -> None:
    placed = [name for path in sorted((ROOT / "jobqueue").rglob("*.py")) for name in points_in(path)]

    assert sorted(placed) == sorted(NAMES)


def points_in(path: Path) -> Iterator[str]:
    """What is passed to `crash.point`, which is a name written out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash.point":
            yield ast.literal_eval(node.args[0])


def test_the_page_lists_exactly_the_points_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "crash-points.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)

    assert rows == [tuple(each) for each in POINTS]
