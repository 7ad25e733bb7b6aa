"""The dead-letter queue in Postgres: looked at, requeued exactly once, deleted and accounted for."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec
import structlog

from jobqueue import crash
from jobqueue.broker.base import Broker, Submission
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import BrokerError, ConfigError, DeadLetterNotFound, EnqueueUncertain, InvalidJob, JobQueueError
from jobqueue.job import Job
from jobqueue.outcome import storable
from jobqueue.record import DeadLetter
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter
from jobqueue.repository.postgres.archive import UNFINISHED_AFTER, UNFINISHED_AT_ONCE
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import DEAD_LETTERS as SQL
from jobqueue.repository.postgres.row import stored_letter_of, uuid_of

_log = structlog.get_logger("jobqueue.dead_letters")

REQUEUE_MEMORY: Final = timedelta(days=7)
"""How long the broker remembers a requeue, and thus how late a repetition of it is still harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersAccount:
    """What invariant I2 needs to know of Postgres: `dead - requeued - purged == XLEN(T:dead) + waiting`."""

    waiting: int
    """Letters here that are not requeued."""
    purged: int
    """Letters deleted by hand."""


class PostgresDeadLetters:
    """The dead-letter port over Postgres; *broker* is where requeued jobs go."""

    def __init__(
        self, database: Database, broker: Broker, *, namespace: str = "jq", durability: Durability = LOCAL
    ) -> None:
        self._database = database
        self._broker = broker
        self._namespace = namespace
        self._durability = durability

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        """A page, newest death first, and the cursor of the next page (None: this was the last).

        Pages by the last row seen, so letters that come or go in between shift nothing.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        last = _Place(None, None) if after is None else _read_place(after)
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.page, self._namespace, *_arguments(where), *last, limit + 1)
        more = _write_place(rows[limit - 1]) if len(rows) > limit else None
        return [stored_letter_of(row) for row in rows[:limit]], more

    async def count(self, where: LetterFilter) -> int:
        """How many there are."""
        async with self._database.transaction() as session:
            counted: int = await session.value(SQL.count, self._namespace, *_arguments(where))
        return counted

    async def get(self, job_id: str) -> StoredLetter:
        """The newest death of a job that has not been requeued, else its newest death.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
        """
        return stored_letter_of(await self._newest(job_id))

    async def requeue(self, job_id: str) -> bool:
        """Queue the job again under its id with a fresh budget of attempts; False when somebody did already.

        Safe under double clicks, crashes and lost replies: one death is requeued once. When the broker
        cannot be reached the wish stays noted, and `finish_requeues` carries it out later.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
            InvalidJob: its body cannot be read, or another live job holds its unique key; it stays dead.
            BrokerUnavailable, Backpressure, EnqueueUncertain: not queued yet, or not known to be.
        """
        row = await self._newest(job_id)
        if row["state"] == LetterState.REQUEUED:
            return False
        return await self._bring_back(row)

    async def finish_requeues(self, *, older_than: timedelta = UNFINISHED_AFTER) -> int:
        """Carry out requeues that were begun and left unfinished for so long. Returns how many ended here.

        A letter that cannot be requeued is dead again, and logged.

        Raises:
            BrokerUnavailable, Backpressure, EnqueueUncertain: the rest waits for the next call.
        """
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.unfinished, self._namespace, older_than, UNFINISHED_AT_ONCE)
        finished = 0
        for row in rows:
            try:
                finished += await self._bring_back(row)
            except (BrokerError, EnqueueUncertain):
                raise
            except JobQueueError as error:
                _log.warning("dead_letter.requeue_failed", job_id=str(row["job_id"]), error=str(error))
        return finished

    async def delete(self, job_id: str) -> bool:
        """Forget the newest dead letter of a job that is not on its way back; False when there is none.

        Counted as purged in the same transaction, for `accounted`.
        """
        key = uuid_of(job_id)
        if key is None:
            return False
        async with self._database.transaction() as session:
            return await session.value(SQL.delete, self._namespace, key) is not None

    async def accounted(self, queue: str, *, epoch: str | None = None) -> LettersAccount:
        """Postgres's side of invariant I2 for a queue; of one life of the Redis data, or of all."""
        async with self._database.transaction() as session:
            row = await session.row(SQL.accounted, self._namespace, queue, epoch)
        assert row is not None
        return LettersAccount(waiting=row["waiting"], purged=row["purged"])

    async def _newest(self, job_id: str) -> asyncpg.Record:
        key = uuid_of(job_id)
        if key is not None:
            async with self._database.transaction() as session:
                row = await session.row(SQL.get, self._namespace, key)
            if row is not None:
                return row
        raise DeadLetterNotFound(
            f"no dead letter of job {storable(job_id)[:64]!r}; a death is here some moments after it happened"
        )

    async def _bring_back(self, row: asyncpg.Record) -> bool:
        """Note the wish, queue the job, note the end: each step can be repeated by anybody after a crash."""
        letter, letter_id = stored_letter_of(row).letter, row["letter_id"]
        try:
            submission = _submission(letter, self._durability)
        except InvalidJob as error:
            await self._change(SQL.abandon, letter_id)
            raise InvalidJob(f"dead letter of job {letter.job_id} cannot be requeued: {error}") from error
        if not await self._change(SQL.claim, letter_id):
            return False
        crash.point("before_requeue_enqueue")
        [result] = await self._broker.enqueue([submission])
        crash.point("after_requeue_enqueue")
        if result.job_id != letter.job_id:
            await self._change(SQL.abandon, letter_id)
            raise InvalidJob(
                f"dead letter of job {letter.job_id} cannot be requeued: live job {result.job_id} holds its "
                f"unique key {letter.unique_key!r}; cancel that one, or try again when it has ended"
            )
        return await self._change(SQL.complete, letter_id)

    async def _change(self, sql: str, letter_id: int) -> bool:
        async with self._database.transaction() as session:
            return await session.value(sql, letter_id) is not None


def _submission(letter: DeadLetter, durability: Durability) -> Submission:
    generation = letter.generation + 1
    job = Job.from_wire(
        letter.body,
        id=letter.job_id,
        queue=letter.queue,
        priority=letter.priority,
        unique_key=letter.unique_key,
    )
    return Submission(
        job=job,
        # The entry id names this death: the same job may die in the same generation twice, when it was
        # enqueued anew by hand.
        idempotency_key=f"requeue:{letter.entry_id}:{generation}",
        idempotency_ttl=REQUEUE_MEMORY,
        generation=generation,
        durability=durability,
    )


class _Place(NamedTuple):
    """The last row of a page: the next page begins after it."""

    died_at: datetime | None
    letter_id: int | None


_MICROSECOND: Final = timedelta(microseconds=1)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _write_place(row: asyncpg.Record) -> str:
    place = ((row["died_at"] - _BEGINNING) // _MICROSECOND, row["letter_id"])
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _read_place(cursor: str) -> _Place:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        died_us, letter_id = msgspec.json.decode(text, type=tuple[int, int])
        return _Place(_BEGINNING + died_us * _MICROSECOND, letter_id)
    except (binascii.Error, msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"cursor must be one that the page before returned, got {storable(cursor)[:64]!r}; "
            f"leave it out to begin at the newest"
        ) from error


def _arguments(where: LetterFilter) -> tuple[object, ...]:
    """$2 to $8 of `page` and `count`. Texts as they would have been stored, so that no text is an error."""
    if where.before is not None and where.before.tzinfo is None:
        raise TypeError(f"before must be an aware datetime, got {where.before!r}; e.g. datetime.now(UTC)")
    texts = (where.queue, where.type, where.reason, where.error)
    return (
        *(None if text is None else storable(text) for text in texts),
        None if where.job_id is None else uuid_of(where.job_id) or _NO_JOB,
        None if where.state is None else where.state.value,
        where.before,
    )


_NO_JOB: Final = "00000000-0000-0000-0000-000000000000"
