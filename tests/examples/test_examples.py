"""Every program in examples/ runs as its docstring says, against a private Valkey and database, and stays small."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from jobqueue.embedded import PostgresServer
from tests.docs.served import served

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MAX_LINES = 60
MAX_SECONDS = 60

pytestmark = pytest.mark.timeout(120)


def test_there_are_six_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_short_and_says_how_to_run_it(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= MAX_LINES
    assert f"examples/{example.name}" in command_of(example) or example.stem in command_of(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_as_its_docstring_says(example: Path, postgres: PostgresServer) -> None:
    with served(postgres, example.stem) as environment:
        done = subprocess.run(
            ["timeout", "--kill-after=5", str(MAX_SECONDS), "bash", "-euc", command_of(example)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    assert done.returncode == 0, done.stdout
    assert done.stdout.strip(), "an example shows something"


def command_of(example: Path) -> str:
    """What follows `Run: ` in the docstring."""
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    found = re.findall(r"^Run: (.+)$", docstring, re.MULTILINE)
    assert len(found) == 1, f"{example}: the docstring must have one line 'Run: python examples/{example.name}'"
    return found[0].strip("`")
