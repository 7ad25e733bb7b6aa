"""The dead-letter queue in Postgres: looked at, requeued exactly once, deleted and accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec
import structlog

from jobqueue.broker.base import Broker
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.outcome import storable
from jobqueue.record import ErrorGroup, Many
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter
from jobqueue.repository.postgres.archive import UNFINISHED_AFTER, UNFINISHED_AT_ONCE
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.place import read_place, write_place
from jobqueue.repository.postgres.queries import DEAD_LETTERS as SQL
from jobqueue.repository.postgres.requeue import Requeues
from jobqueue.repository.postgres.row import error_group_of, stored_letter_of, uuid_of

_log = structlog.get_logger("jobqueue.dead_letters")

_AT_ONCE: Final = 100  # each holds a body of up to 1 MiB
_BITE: Final = 1_000
_MOST_COUNTED: Final = 100_000
_MOST_FAILURES: Final = 1_000
"""A call looks at so many letters beyond its limit at most, where many cannot be requeued."""


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
        self._namespace = namespace
        self._requeues = Requeues(database, broker, durability)

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        """A page, newest death first, and the cursor of the next page (None: this was the last).

        Pages by the last row seen, so letters that come or go in between shift nothing.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        rows = await self._page(where, limit + 1, None if after is None else _read_place(after))
        more = write_place(rows[limit - 1]["died_at"], rows[limit - 1]["letter_id"]) if len(rows) > limit else None
        return [stored_letter_of(row) for row in rows[:limit]], more

    async def count(self, where: LetterFilter) -> int:
        """How many there are."""
        return await self._count(where, None)

    async def get(self, job_id: str, *, queue: str | None = None) -> StoredLetter:
        """The newest death of a job that has not been requeued, else its newest death; of *queue*, where it is given.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
        """
        return stored_letter_of(await self._newest(job_id, queue))

    async def requeue(self, job_id: str, *, queue: str | None = None, payload: bytes | None = None) -> bool:
        """Queue the job again under its id with a fresh budget of attempts; False when somebody did already.

        *payload* (a JSON object) takes the place of the one it died with; all else stays as it was. False also when
        a requeue with another payload has begun. Safe under double clicks, crashes and lost replies: one death is
        requeued once, with one payload. When the broker cannot be reached the wish stays noted, and
        `finish_requeues` carries it out later.

        Raises:
            DeadLetterNotFound: no dead letter has this id.
            InvalidJob: its body or *payload* cannot be read, or another live job holds its unique key; it stays dead.
            BrokerUnavailable, Backpressure, EnqueueUncertain: not queued yet, or not known to be.
        """
        row = await self._newest(job_id, queue)
        if row["state"] == LetterState.REQUEUED:
            return False
        [verdict] = await self._requeues.bring_back([row], payload=payload)
        if isinstance(verdict, InvalidJob):
            raise verdict
        return verdict

    async def requeue_where(self, where: LetterFilter, *, limit: int) -> Many:
        """Queue up to *limit* dead letters again, newest death first, a hundred at a time.

        Those that cannot be are named in `failed`, and do not count for *limit*.

        Raises:
            BrokerUnavailable, Backpressure, EnqueueUncertain: up to a hundred are on their way, and
                `finish_requeues` carries them out.
        """
        where = _dead(where)
        many = await self._count_some(where)
        looked_at, after = 0, None
        while many.done < limit and looked_at < limit + _MOST_FAILURES:
            rows = await self._page(where, min(_AT_ONCE, limit - many.done), after)
            if not rows:
                break
            looked_at, after = looked_at + len(rows), _Place(rows[-1]["died_at"], rows[-1]["letter_id"])
            for row, verdict in zip(rows, await self._requeues.bring_back(rows), strict=True):
                if isinstance(verdict, InvalidJob):
                    many.failed[str(row["job_id"])] = str(verdict)
                else:
                    many.done += verdict
        many.remaining = max(0, many.matched - looked_at)
        return many

    async def finish_requeues(self, *, older_than: timedelta = UNFINISHED_AFTER) -> int:
        """Carry out requeues that were begun and left unfinished for so long. Returns how many ended here.

        A letter that cannot be requeued is dead again, and logged.

        Raises:
            BrokerUnavailable, Backpressure, EnqueueUncertain: the rest waits for the next call.
        """
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.unfinished, self._namespace, older_than, UNFINISHED_AT_ONCE)
        verdicts = await self._requeues.bring_back(rows)
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, InvalidJob):
                _log.warning("dead_letter.requeue_failed", job_id=str(row["job_id"]), error=str(verdict))
        return sum(verdict is True for verdict in verdicts)

    async def delete(self, job_id: str, *, queue: str | None = None) -> bool:
        """Forget the newest dead letter of a job that is not on its way back; False when there is none.

        Counted as purged in the same transaction, for `accounted`.
        """
        key = uuid_of(job_id)
        if key is None:
            return False
        async with self._database.transaction() as session:
            return await session.value(SQL.delete, self._namespace, key, _text(queue)) is not None

    async def delete_where(self, where: LetterFilter, *, limit: int) -> Many:
        """Forget up to *limit* dead letters, newest death first; counted as purged in the same transaction."""
        where = _dead(where)
        many = await self._count_some(where)
        while many.done < limit:
            bite = min(_BITE, limit - many.done)
            async with self._database.transaction() as session:
                await session.row(SQL.plan_for_these)
                gone = await session.value(SQL.delete_where, self._namespace, *_arguments(where), bite)
            many.done += gone
            if gone < bite:
                break
        many.remaining = max(0, many.matched - many.done)
        return many

    async def groups(self, where: LetterFilter, *, limit: int) -> Sequence[ErrorGroup]:
        """The dead letters by type, queue and error class, most frequent first, up to *limit* groups."""
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            rows = await session.rows(SQL.groups, self._namespace, *_arguments(where), limit)
        return [error_group_of(row) for row in rows]

    async def accounted(self, queue: str, *, epoch: str | None = None) -> LettersAccount:
        """Postgres's side of invariant I2 for a queue; of one life of the Redis data, or of all."""
        async with self._database.transaction() as session:
            row = await session.row(SQL.accounted, self._namespace, queue, epoch)
        assert row is not None
        return LettersAccount(waiting=row["waiting"], purged=row["purged"])

    async def _newest(self, job_id: str, queue: str | None = None) -> asyncpg.Record:
        key = uuid_of(job_id)
        if key is not None:
            async with self._database.transaction() as session:
                row = await session.row(SQL.get, self._namespace, key, _text(queue))
            if row is not None:
                return row
        raise DeadLetterNotFound(
            f"no dead letter of job {storable(job_id)[:64]!r}; a death is here some moments after it happened"
        )

    async def _page(self, where: LetterFilter, limit: int, after: "_Place | None") -> Sequence[asyncpg.Record]:
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            return await session.rows(SQL.page, self._namespace, *_arguments(where), *(after or _START), limit)

    async def _count(self, where: LetterFilter, most: int | None) -> int:
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            counted: int = await session.value(SQL.count, self._namespace, *_arguments(where), most)
        return counted

    async def _count_some(self, where: LetterFilter) -> Many:
        counted = await self._count(where, _MOST_COUNTED + 1)
        return Many(matched=min(counted, _MOST_COUNTED), more_than=counted > _MOST_COUNTED)


class _Place(NamedTuple):
    """The last row of a page: the next page begins after it."""

    died_at: datetime | None
    letter_id: int | None


_START: Final = _Place(None, None)


def _read_place(cursor: str) -> _Place:
    died_at, (letter_id,) = read_place(cursor, tuple[int])
    return _Place(died_at, letter_id)


def _dead(where: LetterFilter) -> LetterFilter:
    """Those of *where* that are dead: the others are on their way, or back. A state that excludes them matches none."""
    if where.state in (None, LetterState.DEAD):
        return msgspec.structs.replace(where, state=LetterState.DEAD)
    return msgspec.structs.replace(where, state=LetterState.DEAD, queues=())


def _arguments(where: LetterFilter) -> tuple[object, ...]:
    """$2 to $9 of `page` and others. Texts as they would have been stored, so that no text is an error."""
    if where.before is not None and where.before.tzinfo is None:
        raise TypeError(f"before must be an aware datetime, got {where.before!r}; e.g. datetime.now(UTC)")
    texts = (where.queue, where.type, where.reason, where.error)
    return (
        *(_text(text) for text in texts),
        None if where.job_id is None else uuid_of(where.job_id) or _NO_JOB,
        None if where.state is None else str(where.state),
        where.before,
        None if where.queues is None else [storable(queue) for queue in where.queues],
    )


def _text(text: str | None) -> str | None:
    """As it would have been stored."""
    return None if text is None else storable(text)


_NO_JOB: Final = "00000000-0000-0000-0000-000000000000"
