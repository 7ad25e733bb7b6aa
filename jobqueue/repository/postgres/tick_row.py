"""The records of ticks as rows, and back. A row must never fail to be made, whatever is in the record."""

from datetime import datetime
from typing import Final

import asyncpg

from jobqueue.clock import from_ms
from jobqueue.outcome import storable
from jobqueue.repository.postgres.row import Row, Table, stored_id
from jobqueue.tick import Decision, Reason, TickRecord

TICKS: Final = Table(
    "schedule_ticks",
    (
        "namespace",
        "queue",
        "name",
        "version",
        "decision",
        "reason",
        "tick_at",
        "first_at",
        "ticks",
        "job_id",
        "decided_at",
    ),
)


def tick_row(record: TickRecord, *, namespace: str, now: datetime) -> Row:
    """The record of a decision as a row of `TICKS`."""
    decided_at = _instant(record.at_ms, now)
    return (
        namespace,
        storable(record.queue),
        storable(record.name),
        record.version,
        record.decision.value,
        record.reason.value,
        _instant(record.tick_ms, decided_at),
        _instant(record.first_ms, decided_at),
        record.count,
        None if record.job_id is None else stored_id(record.job_id),
        decided_at,
    )


def known_by(row: Row) -> Row:
    """What tells a row of `TICKS` from all others: two decisions in one ms differ in their tick or their job."""
    _, queue, name, version, decision, reason, tick_at, first_at, _, job_id, decided_at = row
    return (name, decided_at, queue, version, decision, reason, tick_at, first_at, job_id)


def tick_of(row: asyncpg.Record) -> TickRecord:
    """The record of a decision in a row."""
    return TickRecord(
        name=row["name"],
        queue=row["queue"],
        version=row["version"],
        decision=Decision(row["decision"]),
        reason=Reason(row["reason"]),
        tick_ms=ms_of(row["tick_at"]),
        first_ms=ms_of(row["first_at"]),
        count=row["ticks"],
        job_id=None if row["job_id"] is None else str(row["job_id"]),
        at_ms=ms_of(row["decided_at"]),
    )


def ms_of(instant: datetime) -> int:
    """An instant as a record has it."""
    return round(instant.timestamp() * 1000)


def _instant(ms: int, otherwise: datetime) -> datetime:
    """Also one before 1970, of which there are ticks; *otherwise* for what is no time."""
    try:
        return from_ms(ms)
    except OverflowError:
        return otherwise
