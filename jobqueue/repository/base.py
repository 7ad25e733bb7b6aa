"""The repository ports: history and dead letters, and how the shipper writes them exactly once."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from jobqueue.record import Bucket, DeadLetter, ErrorGroup, Execution, JournalKind, Many
from jobqueue.tick import TickRecord


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
    queues: tuple[str, ...] | None = None
    """Any of these; with *queue*, both must hold."""
    type: str | None = None
    reason: str | None = None
    error: str | None = None
    job_id: str | None = None
    state: LetterState | None = LetterState.DEAD
    before: datetime | None = None


class ExecutionFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which executions; None means any. *since* and *until* are about their end, up to but without *until*."""

    queue: str | None = None
    queues: tuple[str, ...] | None = None
    """Any of these; with *queue*, both must hold."""
    type: str | None = None
    outcome: str | None = None
    ended: bool = False
    """Only those that ended their job: one row for each life of a job."""
    q: str | None = None
    """Words that stand in the kept payload or in the error: each of them, in any order, whatever their case; the last
    one may be the beginning of a word. Letters and digits make a word. Read are the first 8192 characters of payload
    (as JSON, names of arguments included), error class and error message together."""
    since: datetime | None = None
    until: datetime | None = None


class DeadLetters(Protocol):
    """The dead-letter queue: in Postgres, or in Redis when there is no Postgres."""

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        """A page, newest death first, and the cursor of the next page (None: this was the last)."""
        ...

    async def count(self, where: LetterFilter) -> int: ...

    async def get(self, job_id: str, *, queue: str | None = None) -> StoredLetter:
        """The newest death of a job that has not been requeued, else its newest death.

        A job id is unique within a queue only: with *queue*, only letters of that one are meant, here and below.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
        """
        ...

    async def requeue(self, job_id: str, *, queue: str | None = None, payload: bytes | None = None) -> bool:
        """Queue the job again under its id with a fresh budget of attempts; False when somebody did already.

        *payload* (a JSON object) takes the place of the one it died with; all else stays as it was. False also when
        somebody's requeue with another payload has begun. Safe under double clicks, crashes and lost replies: one
        death is requeued once, with one payload.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
            InvalidJob: the job cannot be queued with this payload, or its unique key is held; it stays dead.
        """
        ...

    async def requeue_where(self, where: LetterFilter, *, limit: int) -> Many:
        """Queue up to *limit* dead letters again, each as `requeue` does. Those that cannot be are named in `failed`.

        `remaining` counts what was not looked at. Who repeats the call until nothing remains stops when one does
        nothing: those that fail are looked at again. Letters that are requeued, or on their way, are left alone.

        Raises:
            BrokerUnavailable, Backpressure, EnqueueUncertain: some may be queued; repeat it.
        """
        ...

    async def delete_where(self, where: LetterFilter, *, limit: int) -> Many:
        """Forget up to *limit* dead letters, each as `delete` does."""
        ...

    async def groups(self, where: LetterFilter, *, limit: int) -> Sequence[ErrorGroup]:
        """The dead letters by type, queue and error class, most frequent first, up to *limit* groups."""
        ...

    async def delete(self, job_id: str, *, queue: str | None = None) -> bool:
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

    async def newest_of(self, job_ids: Sequence[str]) -> Sequence[Execution]:
        """The newest row of each job that is known, without its payload, in any order."""
        ...

    async def recent(
        self, *, queue: str | None, type: str | None, outcome: str | None, limit: int
    ) -> Sequence[Execution]:
        """The newest executions first."""
        ...

    async def search(
        self, where: ExecutionFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[Execution], str | None]:
        """A page, newest end first, and the cursor of the next page (None: this was the last).

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        ...

    async def series(
        self, *, queues: Sequence[str] | None = None, since: datetime, until: datetime | None = None, bucket: timedelta
    ) -> Sequence[Bucket]:
        """What ended from *since* to *until* (now), by spans of time, oldest first; also those in which nothing ended.

        Spans of whole minutes begin with the minute of *since*, others with *since*.

        Raises:
            ConfigError: more than 1000 spans, or none; spans that are not whole minutes over more than 20 minutes.
        """
        ...

    async def errors(self, *, queues: Sequence[str] | None = None, since: datetime, limit: int) -> Sequence[ErrorGroup]:
        """Attempts that failed since then by type, queue and error class, most frequent first, up to *limit* groups."""
        ...

    async def count_by_outcome(self, *, queue: str | None, since: datetime | None) -> dict[str, int]:
        """How many executions came to which outcome."""
        ...


class Cursor(Protocol):
    """A shipping cursor, locked by us until its context ends; rows and position commit together."""

    position: str
    """The last shipped entry id; `0-0` before the first."""

    async def ship(
        self,
        *,
        executions: Sequence[Execution],
        dead_letters: Sequence[DeadLetter],
        upto: str,
        ticks: Sequence[TickRecord] = (),
    ) -> None:
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
