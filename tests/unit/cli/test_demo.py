"""What the demo counts, and when it is satisfied."""

import ast
from typing import Any

import pytest

from jobqueue.broker.base import QueueStats
from jobqueue.broker.invariants import Violation
from jobqueue.cli.demo.run import Account
from jobqueue.cli.demo.tasks import LIBRARY, analyse, source_files, statements_of
from jobqueue.clock import from_ms
from jobqueue.job import PRIORITIES, Priority
from jobqueue.record import DeadLetter
from jobqueue.repository.base import LetterState, StoredLetter

SOURCE = """
import a
def f():
    from b import c
    try:
        async def g(): ...
    except E:
        class K:
            def m(self): return lambda: 1
    match x:
        case 1:
            import d
"""


def test_every_statement_is_found_however_deep() -> None:
    kinds = [type(node).__name__ for node in statements_of(ast.parse(SOURCE))]

    assert kinds.count("FunctionDef") + kinds.count("AsyncFunctionDef") == 3
    assert kinds.count("ClassDef") == 1
    assert kinds.count("Import") + kinds.count("ImportFrom") == 3


def test_the_count_agrees_with_a_walk_over_the_whole_tree() -> None:
    tree = ast.parse((LIBRARY / "argparse.py").read_bytes())
    walked = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))

    assert analyse("argparse.py")["functions"] == walked


def test_the_library_is_what_this_interpreter_ships() -> None:
    files = source_files()

    assert "json/decoder.py" in files
    assert not [path for path in files if "site-packages" in path]
    assert len(files) == len(set(files)) > 500


def letter(job_id: str) -> StoredLetter:
    return StoredLetter(
        letter=DeadLetter(
            entry_id="1-0",
            queue="source",
            priority=Priority.MEDIUM,
            job_id=job_id,
            body=b"{}",
            reason="exhausted",
            error_class="SyntaxError",
            error_message="",
            traceback="",
            attempts=3,
            crashes=0,
            generation=0,
            unique_key=None,
            worker="",
            died_ms=1,
        ),
        type="source.analyse",
        state=LetterState.DEAD,
        died_at=from_ms(1),
    )


def stats(**counted: int) -> QueueStats:
    zero: dict[str, Any] = dict.fromkeys(QueueStats.__struct_fields__, 0)
    special = {"queue": "source", "ready": dict.fromkeys(PRIORITIES, 0), "paused": False}
    return QueueStats(**{**zero, **special, "oldest_ready_ms": None, "next_due_ms": None, **counted})


def account(**changes: Any) -> Account:
    fields: dict[str, Any] = {
        "paths": {"1": "a.py", "2": "b.py"},
        "counts": {"1": {}},
        "letters": [letter("2")],
        "outcomes": {},
        "stats": stats(enqueued=2, completed=1, died=1),
        "violations": [],
        "seconds": 1.0,
    }
    return Account(**{**fields, **changes})


def test_an_account_is_settled_when_every_file_is_completed_or_dead() -> None:
    assert account().settled


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {}},
        {"letters": []},
        {"counts": {"1": {}, "2": {}}},
        {"violations": [Violation("I1", "drift")]},
        {"stats": stats(enqueued=2, completed=1, died=1, live=1)},
        {"stats": stats(enqueued=2, completed=2, died=1)},
    ],
)
def test_an_account_is_not_settled_when_anything_disagrees(changes: dict[str, Any]) -> None:
    assert not account(**changes).settled


def test_what_is_missing_or_doubled_is_named() -> None:
    assert account(letters=[]).missing == ["b.py"]
    assert account(counts={"1": {}, "2": {}}).twice == ["b.py"]
