"""What is known of a job, wherever it is. Pure data."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from jobqueue.errors import InvalidSchedule
from jobqueue.job import JobState, Priority
from jobqueue.record import Execution
from jobqueue.schedule import Schedule, ScheduleState, Source
from jobqueue.tick import TickRecord

ENDED = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})


class JobStatus(msgspec.Struct, kw_only=True):
    """A job's state and what led to it. *executions* are empty without Postgres.

    *started_at*, *finished_at* and *duration_ms* are those of the newest attempt; while it runs, it has
    no end. *payload* is None where it is not kept (*payload_kept*).
    """

    id: str
    type: str
    queue: str
    priority: Priority
    state: JobState
    attempt: int
    payload: Any = None
    payload_kept: bool = False
    created_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: float | None = None
    worker: str | None = None
    last_error: str | None = None
    """The class of the newest error."""
    error_message: str | None = None
    max_retries: int | None = None
    timeout: timedelta | None = None
    progress: Any = None
    cancel_requested: bool = False
    result: Any = None
    headers: Mapping[str, str] = {}
    """Empty where its body is not kept, as of most jobs that have ended."""
    executions: Sequence[Execution] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self.state in ENDED


class JobHandle(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt of an enqueued job. *created* is False when the same job was queued before."""

    id: str
    queue: str
    created: bool = True


class ScheduleStatus(msgspec.Struct, kw_only=True):
    """A schedule and where it stands."""

    schedule: Schedule
    state: ScheduleState
    source: Source
    app: str | None
    """Who defined it, where that was done in code."""
    version: int
    description: str
    """Its expression in words."""
    created_at: datetime
    changed_at: datetime
    next_at: datetime | None = None
    """Its next tick; None where there is none, or it is not active."""
    last: TickRecord | None = None
    """What was decided last."""
    busy_job_id: str | None = None
    """The job of a tick that has not ended yet; of several, the newest."""
    waiting: int = 0
    """Ticks that wait for that job."""

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self.schedule.name

    @property
    def never(self) -> bool:
        """It is active, and no tick comes within 50 years."""
        if self.state is not ScheduleState.ACTIVE or self.next_at is not None:
            return False
        try:
            return bool(self.schedule.cron)
        except InvalidSchedule:  # written by a newer version: when it comes is not known
            return False


class BackfillTick(msgspec.Struct, frozen=True, kw_only=True):
    """A past tick, the job for it, and whether that is new (with a dry run: would be)."""

    at: datetime
    job_id: str
    new: bool


class Backfill(msgspec.Struct, kw_only=True):
    """What came of a backfill: the ticks looked at, oldest first; *more* where there are more up to the end."""

    ticks: Sequence[BackfillTick]
    more: bool = False


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of declaring a schedule that is defined in code."""

    name: str
    change: Literal["created", "changed", "unchanged", "retired", "refused"]
    why: str = ""
