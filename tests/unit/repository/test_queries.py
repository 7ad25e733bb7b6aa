import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from jobqueue.repository.postgres import queries
from jobqueue.repository.postgres.queries import read_book

PACKAGE = Path(queries.__file__).parent
BOOKS: list[Any] = [
    queries.API_KEYS,
    queries.ARCHIVE,
    queries.AUDIT,
    queries.DEAD_LETTERS,
    queries.EXECUTIONS,
    queries.SCHEDULES,
    queries.TICKS,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    one: str
    two: str


def test_blocks_are_found_by_name_and_lose_their_comments() -> None:
    text = "-- a file\n\n-- name: one\n-- $1 id.\nSELECT 1\nWHERE $1;\n\n-- name: two\nSELECT 2;\n"

    book = read_book(Book, text, source="x.sql")

    assert book == Book(one="SELECT 1\nWHERE $1;", two="SELECT 2;")


WRONG = {
    "unknown": ("-- name: one\nSELECT 1\n-- name: two\nSELECT 2\n-- name: three\nSELECT 3", "differ in three"),
    "missing": ("-- name: one\nSELECT 1", "differ in two"),
    "twice": ("-- name: one\nSELECT 1\n-- name: two\nSELECT 2\n-- name: one\nSELECT 3", "given twice"),
    "before": ("SELECT 0;\n-- name: one\nSELECT 1\n-- name: two\nSELECT 2", "before the first"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_book_that_is_not_as_declared_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_book(Book, text, source="x.sql")


def test_every_query_is_used() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.glob("*.py"))
    used = set(re.findall(r"SQL\.(\w+)", code))

    assert {each.name for book in BOOKS for each in fields(book)} - used == set()


def test_every_file_is_a_book() -> None:
    assert {path.name for path in (PACKAGE / "sql").iterdir()} == {
        "api_keys.sql",
        "archive.sql",
        "audit.sql",
        "dead_letters.sql",
        "executions.sql",
        "schedules.sql",
        "ticks.sql",
    }


def test_no_query_relies_on_a_search_path() -> None:
    for book in BOOKS:
        for each in fields(book):
            tables = re.findall(r"(?:FROM|JOIN|INTO|UPDATE)\s+([a-z_.]+)", getattr(book, each.name))
            own = {
                "generate_series",
                "unnest",
                *re.findall(r"([a-z]+) AS (?:MATERIALIZED )?\(", getattr(book, each.name)),
            }
            assert [name for name in tables if not name.startswith("jobqueue.") and name not in own] == [], each.name
