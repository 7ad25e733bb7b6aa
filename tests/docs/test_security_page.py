"""The table of docs/explanation/security.md: every rule once, and every test that it names is there."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "security.md"
RULES = [f"S{number:02}" for number in range(1, 51)]
_REASON = re.compile(r"\*(?:Not in scope|Left out)\*[:,] (.+)")
_TEST = re.compile(r"\[`([^`]+)::(\w+)`\]\(\.\./\.\./tests/([^)]+)\)")


@dataclass(frozen=True)
class Row:
    """A line of the table; *tests* are path below tests/, name, and where the link leads."""

    rule: str
    about: str
    what: str
    tests: list[tuple[str, str, str]]


def rows_of(text: str) -> list[Row]:
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| S\d\d \|", line)]
    return [Row(rule, about, what, _TEST.findall("".join(rest))) for rule, about, what, *rest in cells]


def problems(rows: list[Row], rules: list[str] = RULES) -> Iterator[str]:
    """What keeps the table from being true and whole."""
    told = [row.rule for row in rows]
    yield from (f"{rule}: {told.count(rule)} rows" for rule in rules if told.count(rule) != 1)
    yield from (f"{rule}: there is no such rule" for rule in set(told) - set(rules))
    for row in rows:
        reason = _REASON.search(row.what)
        if not row.tests and not (reason and len(reason[1]) > 5):
            yield f"{row.rule}: no test, and no reason"
        for path, name, target in row.tests:
            if path != target:
                yield f"{row.rule}: {path} leads to {target}"
            if name not in names_in(path):
                yield f"{row.rule}: there is no {path}::{name}"


@cache
def names_in(path: str) -> frozenset[str]:
    file = ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, functions))


def test_every_rule_has_one_row_with_tests_that_are_there_or_a_reason() -> None:
    assert list(problems(rows_of(PAGE.read_text()))) == []


THIS = "docs/test_security_page.py"
GOOD = f"""
| S01 | a | b | [`{THIS}::test_a_good_table_is_good`](../../tests/{THIS}) |
| S02 | c | *Not in scope*: there is none. |  |
"""


def test_a_good_table_is_good() -> None:
    assert list(problems(rows_of(GOOD), ["S01", "S02"])) == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (GOOD.replace("| S02", "| S03"), "S02: 0 rows"),
        (GOOD.replace("| S02", "| S03"), "S03: there is no such rule"),
        (GOOD.replace("| S02", "| S01"), "S01: 2 rows"),
        (GOOD.replace("*Not in scope*: there is none.", "d"), "S02: no test, and no reason"),
        (GOOD.replace("there is none.", "so"), "S02: no test, and no reason"),
        (GOOD.replace("::test_a_good", "::test_a_better"), "S01: there is no"),
        (GOOD.replace("tests/docs/test_security", "tests/docs/test_links"), "leads to"),
        (GOOD.replace(THIS, "docs/test_nowhere.py"), "S01: there is no"),
    ],
)
def test_what_is_missing_or_wrong_is_named(table: str, said: str) -> None:
    found = list(problems(rows_of(table), ["S01", "S02"]))

    assert any(said in each for each in found), found
