"""History: what every attempt came to."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from jobqueue.errors import ConfigError
from jobqueue.outcome import storable
from jobqueue.record import ENDS, Bucket, ErrorGroup, Execution
from jobqueue.repository.base import ExecutionFilter
from jobqueue.repository.postgres.database import Database, Session
from jobqueue.repository.postgres.minute import MINUTE, quantile
from jobqueue.repository.postgres.place import read_place, write_place
from jobqueue.repository.postgres.queries import EXECUTIONS as SQL
from jobqueue.repository.postgres.row import NOT_FAILED, error_group_of, execution_of, uuid_of

MOST_BUCKETS: Final = 1_000
MOST_BY_ROWS: Final = timedelta(minutes=20)
"""What a series of other than whole minutes may read."""

_ORDER: Final = ("finished_at", "job_id", "generation", "attempt")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEWEST: Final = 10_000
"""What is looked through for words before their index is asked: about 100 ms. A word that is rarer than a page in as
many rows has few rows in the index, a more frequent one has too many to be sorted."""


class PostgresExecutions:
    """The history port over Postgres. A read sees what was shipped, which is all but the last second or so."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def of_job(self, job_id: str) -> Sequence[Execution]:
        """Every attempt of a job, oldest first; none for what is no job id."""
        key = uuid_of(job_id)
        if key is None:
            return []
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.of_job, self._namespace, key)
        return [execution_of(row) for row in rows]

    async def newest_of(self, job_ids: Sequence[str]) -> Sequence[Execution]:
        """The newest row of each job that is known, without its payload, in any order."""
        keys = [key for key in map(uuid_of, job_ids) if key is not None]
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.newest_of_jobs, self._namespace, keys)
        return [execution_of(row) for row in rows]

    async def recent(
        self, *, queue: str | None = None, type: str | None = None, outcome: str | None = None, limit: int
    ) -> Sequence[Execution]:
        """The newest executions first; None means any."""
        wanted = (self._namespace, _known(type), _known(outcome), limit)
        async with self._database.transaction() as session:
            if queue is None:
                rows = await session.rows(SQL.recent, *wanted)
            else:
                rows = await session.rows(SQL.recent_of_queue, *wanted, storable(queue))
        return [execution_of(row) for row in rows]

    async def search(
        self, where: ExecutionFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[Execution], str | None]:
        """A page, newest end first, and the cursor of the next page (None: this was the last).

        Every filter is answered from an index. Words that stand in a great many rows, but not among the newest that
        the other filters let through, take longest; the statement timeout ends a search that takes too long.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
            RepositoryUnavailable: also when it takes longer than a statement may; narrow the time or the queue.
        """
        place = _place(after)
        queues = _queues(where)
        wanted = (
            self._namespace,
            _known(where.type),
            _outcomes(where),
            None if where.outcome is None else where.outcome not in NOT_FAILED,
            _aware("since", where.since),
            _aware("until", where.until),
            *place,
        )
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            if where.q is None:
                rows = await _newest(session, wanted, queues, limit + 1)
            else:
                rows = await _words(session, (*wanted, queues, limit + 1, storable(where.q)))
        more = None
        if len(rows) > limit:
            finished_at, job_id, generation, attempt = (rows[limit - 1][name] for name in _ORDER)
            more = write_place(finished_at, str(job_id), generation, attempt)
        return [execution_of(row) for row in rows[:limit]], more

    async def series(
        self, *, queues: Sequence[str] | None = None, since: datetime, until: datetime | None = None, bucket: timedelta
    ) -> Sequence[Bucket]:
        """What ended from *since* to *until* (now), by spans of time, oldest first; also those in which nothing ended.

        Spans of whole minutes are answered from the counts by the minute: the first span begins with the minute of
        *since*, the minute of *until* is counted whole, and p50 and p95 are off by at most a factor of 1.28. Any other
        span begins at *since* and is answered from the rows, exactly, at about 1 µs a row: up to 20 minutes of them.

        Raises:
            ConfigError: more than 1000 spans, or none; spans that are not whole minutes over more than 20 minutes.
        """
        _aware("since", since)
        until = _aware("until", until) or datetime.now(UTC)
        if bucket <= timedelta(0) or not 0 < (until - since) / bucket <= MOST_BUCKETS:
            raise ConfigError(
                f"from {since} to {until} in spans of {bucket} must be 1 to {MOST_BUCKETS} spans; choose longer ones"
            )
        if bucket % MINUTE == timedelta(0):
            return await self._series_of_minutes(_texts(queues), _minute_of(since), until, bucket)
        if until - since > MOST_BY_ROWS:
            raise ConfigError(
                f"spans over more than {MOST_BY_ROWS} must be whole minutes, got {bucket} from {since} to {until}"
            )
        return await self._series_of_rows(_texts(queues), since, until, bucket)

    async def _series_of_minutes(
        self, queues: list[str] | None, since: datetime, until: datetime, bucket: timedelta
    ) -> Sequence[Bucket]:
        rows = await self._planned(SQL.series, self._namespace, queues, since, until, bucket)
        spans = _spans(since, until, bucket)
        classes: list[list[tuple[int, int]]] = [[] for _ in spans]
        for row in rows:
            at, outcome = (row["at"] - since) // bucket, row["outcome"]
            spans[at].outcomes[outcome] = spans[at].outcomes.get(outcome, 0) + row["executions"]
            if outcome == "completed":
                classes[at].append((row["took"], row["executions"]))
        for span, completed in zip(spans, classes, strict=True):
            if completed:
                span.p50_ms, span.p95_ms = quantile(completed, 0.5), quantile(completed, 0.95)
        return spans

    async def _series_of_rows(
        self, queues: list[str] | None, since: datetime, until: datetime, bucket: timedelta
    ) -> Sequence[Bucket]:
        rows = await self._planned(SQL.series_of_rows, self._namespace, queues, since, until, bucket)
        spans = _spans(since, until, bucket)
        for row in rows:
            into = spans[(row["at"] - since) // bucket]
            into.outcomes[row["outcome"]] = row["executions"]
            if row["quantiles"] is not None:
                into.p50_ms, into.p95_ms = row["quantiles"]
        return spans

    async def errors(self, *, queues: Sequence[str] | None = None, since: datetime, limit: int) -> Sequence[ErrorGroup]:
        """Attempts that failed since then by type, queue and error class, most frequent first, up to *limit* groups."""
        wanted = (self._namespace, _texts(queues), _aware("since", since), limit)
        rows = await self._planned(SQL.errors, *wanted)
        return [error_group_of(row) for row in rows]

    async def count_by_outcome(self, *, queue: str | None = None, since: datetime | None = None) -> dict[str, int]:
        """How many executions came to which outcome; *since* is an aware datetime."""
        since = since or _BEGINNING
        whole = since if since == _minute_of(since) else _minute_of(since) + MINUTE
        rows = await self._planned(SQL.count_by_outcome, self._namespace, _known(queue), since, whole)
        return {row["outcome"]: row["executions"] for row in rows}

    async def _planned(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            return await session.rows(query, *args)


def _minute_of(instant: datetime) -> datetime:
    return instant - (instant - _BEGINNING) % MINUTE


def _spans(since: datetime, until: datetime, bucket: timedelta) -> list[Bucket]:
    first_ms, span_ms = round(since.timestamp() * 1000), bucket / timedelta(milliseconds=1)
    count = -((since - until) // bucket)
    return [Bucket(at_ms=round(first_ms + n * span_ms), outcomes={}) for n in range(count)]


async def _newest(
    session: Session, wanted: tuple[object, ...], queues: Sequence[str] | None, limit: int
) -> Sequence[asyncpg.Record]:
    """One look for each queue: for several at once Postgres would walk through the rows of all others."""
    if queues is None:
        return await session.rows(SQL.search, *wanted, None, limit)
    found = [row for queue in queues for row in await session.rows(SQL.search, *wanted, queue, limit)]
    return sorted(found, key=lambda row: [row[name] for name in _ORDER], reverse=True)[:limit]


async def _words(session: Session, wanted: tuple[object, ...]) -> Sequence[asyncpg.Record]:
    """Frequent words are found among the newest rows, rare ones by their index."""
    *_, limit, _ = wanted
    rows = await session.rows(SQL.search_newest, *wanted, _NEWEST)
    return rows if len(rows) == limit else await session.rows(SQL.search_words, *wanted)


def _place(cursor: str | None) -> tuple[object, ...]:
    if cursor is None:
        return (None, None, None, None)
    finished_at, facts = read_place(cursor, tuple[str, int, int])
    job_id = uuid_of(facts[0])
    return (finished_at, job_id, *facts[1:])


def _queues(where: ExecutionFilter) -> list[str] | None:
    """The queues that both filters let through; None for all."""
    if where.queue is None:
        return _texts(where.queues)
    both = where.queues is None or where.queue in where.queues
    return [storable(where.queue)] if both else []


def _outcomes(where: ExecutionFilter) -> list[str] | None:
    if where.outcome is None:
        return sorted(ENDS) if where.ended else None
    return [storable(where.outcome)] if not where.ended or where.outcome in ENDS else []


def _known(text: str | None) -> str | None:
    """A filter as it would have been stored, so that no text is an error."""
    return None if text is None else storable(text)


def _texts(texts: Sequence[str] | None) -> list[str] | None:
    return None if texts is None else [storable(text) for text in dict.fromkeys(texts)]


def _aware(what: str, instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        raise TypeError(f"{what} must be an aware datetime, got {instant!r}; e.g. datetime.now(UTC)")
    return instant
