"""The repository ports: history and dead letters, and how the shipper writes them exactly once."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from jobqueue.record import DeadLetter, Execution, JournalKind


class LetterState(StrEnum):
    """Where a dead letter is on its way back."""

    DEAD = "dead"
    REQUEUEING = "requeueing"
    REQUEUED = "requeued"


class StoredLetter(msgspec.Struct, kw_only=True):
    """A dead letter with its place in the store. *entry_id* and *queue* name the death; *job_id* the job."""

    letter: DeadLetter
    type: str
    state: LetterState
    died_at: datetime
    requeued_at: datetime | None = None


class LetterFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which dead letters; None means any. *error* matches a part of the error's class or message."""

    queue: str | None = None
    type: str | None = None
    reason: str | None = None
    error: str | None = None
    job_id: str | None = None
    state: LetterState | None = LetterState.DEAD
    before: datetime | None = None


class DeadLetters(Protocol):
    """The dead-letter queue: in Postgres, or in Redis when there is no Postgres."""

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        """A page, newest death first, and the cursor of the next page (None: this was the last)."""
        ...

    async def count(self, where: LetterFilter) -> int: ...

    async def get(self, job_id: str) -> StoredLetter:
        """The newest death of a job that has not been requeued, else its newest death.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
        """
        ...

    async def requeue(self, job_id: str) -> bool:
        """Queue the job again under its id with a fresh budget of attempts; False when somebody did already.

        Safe under double clicks, crashes and lost replies: one death is requeued once.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
        """
        ...

    async def delete(self, job_id: str) -> bool:
        """Forget a dead letter that is not on its way back; False when there is none."""
        ...


class StoredDeadLetters(DeadLetters, Protocol):
    """A store apart from the broker: a requeue takes two steps, and a crash may leave it between them."""

    async def finish_requeues(self) -> int:
        """Carry on requeues left unfinished. Returns how many."""
        ...


class Executions(Protocol):
    """History: one row per attempt."""

    async def of_job(self, job_id: str) -> Sequence[Execution]:
        """Every attempt of a job, oldest first."""
        ...

    async def recent(
        self, *, queue: str | None, type: str | None, outcome: str | None, limit: int
    ) -> Sequence[Execution]:
        """The newest executions first."""
        ...

    async def count_by_outcome(self, *, queue: str | None, since: datetime | None) -> dict[str, int]:
        """How many executions came to which outcome."""
        ...


class Cursor(Protocol):
    """A shipping cursor, locked by us until its context ends; rows and position commit together."""

    position: str
    """The last shipped entry id; `0-0` before the first."""

    async def ship(self, *, executions: Sequence[Execution], dead_letters: Sequence[DeadLetter], upto: str) -> None:
        """Write the rows and move the position, in the transaction that holds the lock."""
        ...


class Archive(Protocol):
    """Where the shipper writes."""

    def cursor(
        self, queue: str, kind: JournalKind, epoch: str, primary: str = ""
    ) -> AbstractAsyncContextManager[Cursor | None]:
        """Lock the cursor of one stream; None when another shipper holds it, or *primary* is one that was replaced
        in a failover. Leaving the context commits."""
        ...

    async def retire(self, *, keep_successes: timedelta, keep_failures: timedelta) -> int:
        """Make the partitions of the coming days, drop those past their time. Returns how many were dropped."""
        ...
