"""The definitions of schedules in Postgres."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec
import structlog

from jobqueue.errors import RepositoryError, ScheduleConflict
from jobqueue.outcome import storable
from jobqueue.repository.postgres.database import Database, Session
from jobqueue.repository.postgres.queries import SCHEDULES as SQL
from jobqueue.repository.postgres.row import Row
from jobqueue.schedule import MAX_SCHEDULES, REMOVED_COUNT, Definition, Schedule, ScheduleState, Source

_log = structlog.get_logger("jobqueue.schedules")

_ADDED_AT_ONCE: Final = 500


class PostgresScheduleStore:
    """See `jobqueue.repository.schedules.ScheduleStore`. The payloads' text is kept as it is."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def get(self, name: str) -> Definition | None:
        async with self._database.transaction() as session:
            row = await session.row(SQL.get, self._namespace, storable(name))
        return None if row is None else _definition(row)

    async def list(self) -> Sequence[Definition]:
        """See the port. One that cannot be read is logged and left out: the others must go on."""
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.list, self._namespace)
        found = []
        for row in rows:
            try:
                found.append(_definition(row))
            except RepositoryError as error:
                _log.error("schedule.unreadable", name=row["name"], error=str(error))
        return found

    async def revision(self) -> int:
        async with self._database.transaction() as session:
            return await session.value(SQL.revision, self._namespace) or 0

    async def put(self, definition: Definition, *, expected: int) -> bool:
        row = _row(definition)
        async with self._database.transaction() as session:
            if expected:
                kept = await session.value(SQL.change, self._namespace, *row, expected)
            else:
                kept = await session.value(SQL.add, self._namespace, *row)
            if kept is None:
                return False
            await session.row(SQL.revise, self._namespace)
            if not expected:
                await self._check_number(session, definition.name)
        return True

    async def forget(self, name: str, *, version: int) -> bool:
        async with self._database.transaction() as session:
            if await session.value(SQL.forget, self._namespace, storable(name), version) is None:
                return False
            await session.row(SQL.revise, self._namespace)
        return True

    async def add_missing(self, definitions: Sequence[Definition]) -> None:
        """Keep those of them whose names are not known; the others stay as they are."""
        for start in range(0, len(definitions), _ADDED_AT_ONCE):
            rows = sorted(_row(each) for each in definitions[start : start + _ADDED_AT_ONCE])
            async with self._database.transaction() as session:
                if await session.rows(SQL.add_missing, self._namespace, *zip(*rows, strict=True)):
                    await session.row(SQL.revise, self._namespace)

    async def _check_number(self, session: Session, name: str) -> None:
        """Counted when the revision is locked: who adds another one counts after us. Leaving it undoes the put."""
        if await session.value(SQL.count, self._namespace) > MAX_SCHEDULES:
            raise ScheduleConflict(f"schedule {name!r} would be one more than {MAX_SCHEDULES}; {REMOVED_COUNT}")


def _row(definition: Definition) -> Row:
    return (
        definition.name,
        definition.version,
        definition.state.value,
        definition.source.value,
        None if definition.app is None else storable(definition.app),
        definition.schedule.queue,
        definition.since_ms,
        msgspec.json.encode(definition.schedule).decode(),
        None if definition.former is None else msgspec.json.encode(definition.former).decode(),
        definition.former_active,
        definition.created_at,
        definition.changed_at,
    )


def _definition(row: asyncpg.Record) -> Definition:
    try:
        return Definition(
            schedule=msgspec.json.decode(row["definition"], type=Schedule),
            version=row["version"],
            state=ScheduleState(row["state"]),
            source=Source(row["source"]),
            app=row["app"],
            since_ms=row["since_ms"],
            former=None if row["former"] is None else msgspec.json.decode(row["former"], type=Schedule),
            former_active=row["former_active"],
            changed_at=row["changed_at"],
            created_at=row["created_at"],
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise RepositoryError(
            f"the schedule {row['name']!r} in jobqueue.schedules cannot be read: {error}; was it edited by hand, "
            f"or written by a newer version?"
        ) from error
