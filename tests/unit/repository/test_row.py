import math
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.job import Priority
from jobqueue.record import DeadLetter, Execution
from jobqueue.repository.postgres.row import (
    DEAD_LETTERS,
    EXECUTIONS,
    days_of,
    execution_row,
    letter_row,
    minimal,
    uuid_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
JOB = "018f0000-0000-7000-8000-000000000001"


def execution(**changes: object) -> Execution:
    facts: dict[str, object] = {
        "job_id": JOB,
        "queue": "mail",
        "type": "email.send",
        "priority": Priority.LOW,
        "generation": 0,
        "attempt": 1,
        "outcome": "completed",
        "worker": "w",
        "queued_ms": NOW_MS - 100,
        "started_ms": NOW_MS - 50,
        "duration_ms": 25.0,
    }
    return Execution(**(facts | changes))  # type: ignore[arg-type]


def letter(**changes: object) -> DeadLetter:
    facts: dict[str, object] = {
        "entry_id": "1-1",
        "queue": "mail",
        "priority": Priority.LOW,
        "job_id": JOB,
        "body": b'{"v":1,"type":"email.send","payload":{"to":"ada"}}',
        "reason": "exhausted",
        "error_class": "E",
        "error_message": "m",
        "traceback": "t",
        "attempts": 4,
        "crashes": 0,
        "generation": 0,
        "unique_key": None,
        "worker": "w",
        "died_ms": NOW_MS,
    }
    return DeadLetter(**(facts | changes))  # type: ignore[arg-type]


def facts_of(record: Execution | DeadLetter) -> dict[str, object]:
    if isinstance(record, Execution):
        row, table = execution_row(record, namespace="jq", now=NOW), EXECUTIONS
    else:
        row, table = letter_row(record, namespace="jq", epoch="e1", now=NOW), DEAD_LETTERS
    return dict(zip(table.columns, row, strict=True))


def test_an_execution_is_filed_under_the_instant_it_ended() -> None:
    facts = facts_of(execution())

    assert facts["finished_at"] == NOW - timedelta(milliseconds=25)
    assert facts["failed"] is False
    assert facts["priority"] == "low"


@pytest.mark.parametrize(
    "changes",
    [
        {"started_ms": 0},
        {"started_ms": -1},
        {"started_ms": NOW_MS + 10**9},
        {"started_ms": 10**30},
        {"duration_ms": math.inf},
        {"duration_ms": math.nan},
        {"duration_ms": 10.0**300},
    ],
    ids=str,
)
def test_an_end_that_is_unknown_or_ahead_is_now(changes: dict[str, object]) -> None:
    assert facts_of(execution(**changes))["finished_at"] == NOW


def test_the_days_of_a_batch_are_named_once() -> None:
    day_ms = 86_400_000
    rows = [
        execution_row(execution(started_ms=NOW_MS - days * day_ms, duration_ms=0.0), namespace="jq", now=NOW)
        for days in (0, 2, 0, 2, 1)
    ]

    assert [str(day) for day in days_of(rows)] == ["2026-11-20", "2026-11-21", "2026-11-22"]


def test_a_letter_shows_its_type_and_payload() -> None:
    facts = facts_of(letter())

    assert facts["type"] == "email.send"
    assert facts["payload"] == '{"to":"ada"}'


@pytest.mark.parametrize("body", [b"", b"\xff", b'{"v":2,"type":"x","payload":{}}', b"[" * 200_000], ids=len)
def test_a_letter_that_cannot_be_read_is_still_a_row(body: bytes) -> None:
    facts = facts_of(letter(body=body))

    assert (facts["type"], facts["payload"], facts["body"]) == ("", None, body)


def test_the_minimal_form_holds_whatever_was_wrong() -> None:
    row = letter_row(
        letter(job_id="§", error_message="ü\x00\ud800" * 999, attempts=2**70, unique_key="é"),
        namespace="jq",
        epoch="e1",
        now=NOW,
    )

    facts = dict(zip(DEAD_LETTERS.columns, minimal(DEAD_LETTERS, row), strict=True))

    assert isinstance(facts["job_id"], uuid.UUID)
    assert facts["payload"] is None
    assert facts["body"] == letter().body
    assert facts["attempts"] == 2**31 - 1
    assert facts["error_message"].isascii()
    assert len(facts["error_message"]) == 200
    assert facts["unique_key"] == "\\xe9"


def test_the_same_broken_id_becomes_the_same_uuid() -> None:
    rows = [execution_row(execution(job_id="§"), namespace="jq", now=NOW) for _ in range(2)]

    assert minimal(EXECUTIONS, rows[0]) == minimal(EXECUTIONS, rows[1])


@pytest.mark.parametrize("text", ["", "x", "\x00", "§", JOB + "0"])
def test_what_is_no_uuid_is_no_job(text: str) -> None:
    assert uuid_of(text) is None
