"""Records as rows of our tables, and back. A row must never fail to be made, whatever is in the record."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import asyncpg

from jobqueue.errors import InvalidJob
from jobqueue.job import Envelope, Priority, decode_envelope
from jobqueue.outcome import storable
from jobqueue.record import DeadLetter, ErrorGroup, Execution
from jobqueue.repository.base import LetterState, StoredLetter

Row = tuple[Any, ...]

NOT_FAILED: Final = frozenset({"completed", "snoozed", "released"})
"""Outcomes that are kept only as long as successes."""

_MINIMAL_CHARS: Final = 200
_INT4_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table to write: its name, and its columns in the order of our rows."""

    name: str
    columns: Sequence[str]


EXECUTIONS: Final = Table(
    "executions",
    (
        "failed",
        "finished_at",
        "namespace",
        "queue",
        "job_id",
        "type",
        "priority",
        "generation",
        "attempt",
        "outcome",
        "worker",
        "queued_at",
        "started_at",
        "duration_ms",
        "error_class",
        "error_message",
        "traceback",
        "payload",
    ),
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    (
        "namespace",
        "queue",
        "epoch",
        "entry_id",
        "job_id",
        "generation",
        "type",
        "priority",
        "body",
        "payload",
        "reason",
        "error_class",
        "error_message",
        "traceback",
        "attempts",
        "crashes",
        "unique_key",
        "worker",
        "died_at",
    ),
)


def execution_row(execution: Execution, *, namespace: str, now: datetime) -> Row:
    """An execution as a row of `EXECUTIONS`. Hot: about 2 µs."""
    started_at = _instant(execution.started_ms)
    return (
        execution.outcome not in NOT_FAILED,
        min(_instant(execution.started_ms + execution.duration_ms) or now, now) if started_at else now,
        namespace,
        _text(execution.queue),
        execution.job_id,
        _text(execution.type),
        execution.priority,
        execution.generation,
        execution.attempt,
        _text(execution.outcome),
        _text(execution.worker),
        _instant(execution.queued_ms),
        started_at,
        execution.duration_ms,
        _optional(execution.error_class),
        _optional(execution.error_message),
        _optional(execution.traceback),
        None if execution.payload is None else payload_text(execution.payload),
    )


def days_of(rows: Sequence[Row]) -> list[date]:
    """The days (UTC) whose partitions these rows of `EXECUTIONS` need."""
    return sorted({row[1].date() for row in rows})


def letter_row(letter: DeadLetter, *, namespace: str, epoch: str, now: datetime) -> Row:
    """A dead letter as a row of `DEAD_LETTERS`."""
    envelope = read_envelope(letter.body)
    return (
        namespace,
        _text(letter.queue),
        epoch,
        _text(letter.entry_id),
        letter.job_id,
        letter.generation,
        _text(envelope.type) if envelope else "",
        letter.priority,
        letter.body,
        payload_text(bytes(envelope.payload)) if envelope else None,
        _text(letter.reason),
        _text(letter.error_class),
        _text(letter.error_message),
        _text(letter.traceback),
        letter.attempts,
        letter.crashes,
        _optional(letter.unique_key),
        _text(letter.worker),
        _instant(letter.died_ms) or now,
    )


def minimal(table: Table, row: Row) -> Row:
    """What any database can hold of a row that was refused: short ASCII text, numbers in range, the body as it is."""
    return tuple(_minimal(column, value) for column, value in zip(table.columns, row, strict=True))


def execution_of(row: asyncpg.Record) -> Execution:
    """The execution in a row of history."""
    return Execution(
        job_id=str(row["job_id"]),
        queue=row["queue"],
        type=row["type"],
        priority=Priority(row["priority"]),
        generation=row["generation"],
        attempt=row["attempt"],
        outcome=row["outcome"],
        worker=row["worker"],
        queued_ms=_ms(row["queued_at"]),
        started_ms=_ms(row["started_at"]),
        duration_ms=row["duration_ms"],
        error_class=row["error_class"],
        error_message=row["error_message"],
        traceback=row["traceback"],
        payload=None if row["payload"] is None else row["payload"].encode(),
    )


def stored_letter_of(row: asyncpg.Record) -> StoredLetter:
    """The dead letter in a row, with its place in the store."""
    state = LetterState(row["state"])
    letter = DeadLetter(
        entry_id=row["entry_id"],
        queue=row["queue"],
        priority=Priority(row["priority"]),
        job_id=str(row["job_id"]),
        body=row["body"],
        reason=row["reason"],
        error_class=row["error_class"],
        error_message=row["error_message"],
        traceback=row["traceback"],
        attempts=row["attempts"],
        crashes=row["crashes"],
        generation=row["generation"],
        unique_key=row["unique_key"],
        worker=row["worker"],
        died_ms=_ms(row["died_at"]),
    )
    return StoredLetter(
        letter=letter,
        type=row["type"],
        state=state,
        died_at=row["died_at"],
        requeued_at=row["requeued_at"] if state is LetterState.REQUEUED else None,
    )


def error_group_of(row: asyncpg.Record) -> ErrorGroup:
    """The failures in a row of groups."""
    return ErrorGroup(
        type=row["type"],
        queue=row["queue"],
        error_class=row["error_class"],
        count=row["failures"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        last_message=row["error_message"] or "",
        last_id=str(row["job_id"]),
    )


def uuid_of(job_id: str) -> uuid.UUID | None:
    """A job id as Postgres knows it; None for what cannot be the id of a job."""
    try:
        return uuid.UUID(job_id)
    except ValueError:
        return None


def stored_id(job_id: object) -> uuid.UUID:
    """The id under which a row is stored: of what is no UUID, one made of it."""
    return uuid_of(str(job_id)) or uuid.uuid5(uuid.NAMESPACE_OID, ascii(job_id))


def _text(value: str) -> str:
    return value if value.isascii() and "\x00" not in value else storable(value)


def _optional(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _instant(ms: float) -> datetime | None:
    """None for 0 (unknown) and for what is no time."""
    if ms <= 0:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _ms(instant: datetime | None) -> int:
    return 0 if instant is None else round(instant.timestamp() * 1000)


def read_envelope(body: bytes) -> Envelope | None:
    """A body's envelope; None when it cannot be read."""
    try:
        return decode_envelope(body)
    except InvalidJob:  # dead for that very reason; its body is kept as it is
        return None


def payload_text(payload: bytes) -> str | None:
    """A payload for human eyes; None for what Postgres cannot hold as text."""
    return payload.decode() if is_text(payload) else None


def is_text(payload: bytes) -> bool:
    """Whether Postgres can hold it as text."""
    if b"\x00" in payload:
        return False
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _minimal(column: str, value: Any) -> Any:
    match value:
        case None:
            return None
        case _ if column == "job_id":
            return stored_id(value)
        case _ if column == "payload":
            return None
        case str():
            return value.replace("\x00", "\\x00").encode("ascii", "backslashreplace").decode()[:_MINIMAL_CHARS]
        case bool():
            return value
        case int() if column != "duration_ms":
            return max(-_INT4_MAX, min(value, _INT4_MAX))
        case float() if not math.isfinite(value):
            return 0.0
        case _:
            return value
