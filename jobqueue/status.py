"""What is known of a job, wherever it is. Pure data."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from jobqueue.job import JobState, Priority
from jobqueue.record import Execution

ENDED = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})


class JobStatus(msgspec.Struct, kw_only=True):
    """A job's state and what led to it. *executions* are empty without Postgres."""

    id: str
    type: str
    queue: str
    priority: Priority
    state: JobState
    attempt: int
    payload: Any = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    worker: str | None = None
    last_error: str | None = None
    progress: Any = None
    cancel_requested: bool = False
    result: Any = None
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
