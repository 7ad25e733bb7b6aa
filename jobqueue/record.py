"""What is kept of jobs that ended: executions and dead letters. Pure data, shared by broker and repository."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from jobqueue.job import Priority

JournalKind = Literal["journal", "dead", "ticks"]
"""The streams that wait to be shipped: executions, dead letters, and what was decided about ticks."""

ENDS: Final = frozenset({"completed", "dead", "cancelled", "expired"})
"""The outcomes after which a job is not live any more."""

MAY_RETURN = "~"
"""Marks the name of a primary to which a queue may come back: a slot of a cluster moves, and moves back."""


def entry_order(entry_id: str) -> tuple[int, int]:
    """A key that sorts the ids of a stream's entries: ms and number."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


class DeadLetter(msgspec.Struct, kw_only=True):
    """A job that will not be tried again by itself, as the broker holds it."""

    entry_id: str
    queue: str
    priority: Priority
    job_id: str
    body: bytes
    reason: str
    error_class: str
    error_message: str
    traceback: str
    attempts: int
    crashes: int
    generation: int
    unique_key: str | None
    worker: str
    died_ms: int


class Execution(msgspec.Struct, kw_only=True, gc=False):
    """The record of one attempt, or of an end without one (cancelled or expired before it ran: attempt 0)."""

    job_id: str
    queue: str
    type: str
    priority: Priority
    generation: int
    attempt: int
    outcome: str
    worker: str
    queued_ms: int
    started_ms: int
    duration_ms: float
    error_class: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    payload: bytes | None = None
    """The job's arguments as JSON: of the attempt that ended it, where they are kept and not too long."""


class Bucket(msgspec.Struct, kw_only=True):
    """The executions that ended within one span of time."""

    at_ms: int
    """When the span began."""
    outcomes: dict[str, int]
    p50_ms: float | None = None
    """Half of the completed ones took no longer, to within a factor of 1.28; None without any."""
    p95_ms: float | None = None


class Many(msgspec.Struct, kw_only=True):
    """What came of a bounded action on many jobs or dead letters."""

    matched: int
    """How many there were when it began, as far as was counted."""
    more_than: bool = False
    """There are more than *matched*."""
    done: int = 0
    failed: dict[str, str] = msgspec.field(default_factory=dict)
    """Job id → why not."""
    remaining: int = 0


class ErrorGroup(msgspec.Struct, kw_only=True):
    """Failures of one task with one error class."""

    type: str
    queue: str
    error_class: str
    count: int
    first_at: datetime
    last_at: datetime
    last_message: str
    last_id: str
