"""The record of ticks in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from jobqueue.outcome import storable
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.place import read_place, write_place
from jobqueue.repository.postgres.queries import TICKS as SQL
from jobqueue.repository.postgres.row import stored_id
from jobqueue.repository.postgres.tick_row import ms_of, tick_of
from jobqueue.repository.schedules import TickFilter
from jobqueue.tick import TickRecord

_ORDER: Final = ("decided_at", "record_id")


class PostgresTickRecords:
    """See `jobqueue.repository.schedules.TickRecords`. A read sees what was shipped."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def search(
        self, where: TickFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        """See the port.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        decided_at, record_id = (None, None) if after is None else _place(after)
        name = None if where.name is None else storable(where.name)
        decision = None if where.decision is None else storable(str(where.decision))
        rest = (decision, _aware("since", where.since), _aware("until", where.until), decided_at, record_id, limit + 1)
        queues = [None] if where.queues is None else [storable(queue) for queue in dict.fromkeys(where.queues)]
        async with self._database.transaction() as session:
            await session.row(SQL.plan_for_these)
            # One look for each queue: for several at once Postgres would walk through the rows of all others.
            rows = [
                row for queue in queues for row in await session.rows(SQL.page, self._namespace, name, queue, *rest)
            ]
        rows = sorted(rows, key=lambda row: [row[each] for each in _ORDER], reverse=True)
        more = write_place(*(rows[limit - 1][each] for each in _ORDER)) if len(rows) > limit else None
        return [tick_of(row) for row in rows[:limit]], more

    async def newest(self, names: Sequence[str]) -> Mapping[str, TickRecord]:
        wanted = [storable(name) for name in dict.fromkeys(names)]
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.newest, self._namespace, wanted)
        return {row["name"]: tick_of(row) for row in rows}

    async def fired(self, name: str, *, since: datetime, until: datetime) -> frozenset[int]:
        between = (_aware("since", since), _aware("until", until))
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.fired, self._namespace, storable(name), *between)
        return frozenset(ms_of(row["tick_at"]) for row in rows)

    async def asked_for(self, job_id: str, *, queue: str, since: datetime, until: datetime) -> str | None:
        between = (_aware("since", since), _aware("until", until))
        wanted = (self._namespace, storable(queue), stored_id(job_id), *between)
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.asked_for, *wanted)
        return rows[0]["name"] if rows else None


def _place(cursor: str) -> tuple[datetime, int]:
    decided_at, (record_id,) = read_place(cursor, tuple[int])
    return decided_at, record_id


def _aware(what: str, instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        raise TypeError(f"{what} must be an aware datetime, got {instant!r}; e.g. datetime.now(UTC)")
    return instant
