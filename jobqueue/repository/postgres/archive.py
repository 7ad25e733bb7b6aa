"""Where the shipper writes: rows and cursor in one transaction, so that each record arrives exactly once."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog

from jobqueue.clock import Clock, SystemClock, from_ms
from jobqueue.errors import RepositoryError
from jobqueue.record import MAY_RETURN, DeadLetter, Execution, JournalKind, entry_order
from jobqueue.repository.postgres.database import Database, Session
from jobqueue.repository.postgres.fault import RowRefused
from jobqueue.repository.postgres.minute import Minutes, counts_of, minutes_of
from jobqueue.repository.postgres.packing import COLUMNS as PACKED_COLUMNS
from jobqueue.repository.postgres.packing import pack_executions
from jobqueue.repository.postgres.queries import ARCHIVE as SQL
from jobqueue.repository.postgres.row import (
    DEAD_LETTERS,
    EXECUTIONS,
    Row,
    Table,
    days_of,
    execution_row,
    letter_row,
    minimal,
    stored_id,
)
from jobqueue.repository.postgres.tick_row import TICKS, known_by, tick_row
from jobqueue.tick import TickRecord

_log = structlog.get_logger("jobqueue.archive")

UNFINISHED_AFTER: Final = timedelta(seconds=30)
"""A requeue that takes longer was left by a crash: longer than an enqueue may take."""

UNFINISHED_AT_ONCE: Final = 100
_DAYS_AHEAD: Final = 3
_EXECUTIONS_AT_ONCE: Final = 5_000  # about 35 ms
_MOST_REPLACED: Final = 50
_TICKS_AT_ONCE: Final = 5_000
_LETTERS_AT_ONCE: Final = 100  # each holds a body of up to 1 MiB

Key = tuple[str, str, JournalKind, str]
"""Namespace, queue, kind, epoch: the name of one cursor."""


class PostgresCursor:
    """One stream's cursor, locked by the transaction it was made in.

    Up to *doubtful_upto* the entries may be here already, shipped from the primary before a failover:
    each is looked for before it is written.
    """

    def __init__(self, session: Session, key: Key, position: str, clock: Clock, *, doubtful_upto: str = "0-0") -> None:
        self.position = position
        self._doubtful_upto = doubtful_upto
        self._session = session
        self._key = key
        self._clock = clock
        self._namespace, _, _, self._epoch = key
        self._minutes: Minutes = Counter()

    async def ship(
        self,
        *,
        executions: Sequence[Execution],
        dead_letters: Sequence[DeadLetter],
        upto: str,
        ticks: Sequence[TickRecord] = (),
    ) -> None:
        """Write the rows and move the position to *upto*; both hold once the cursor's context has ended.

        A row that Postgres cannot hold is written in a minimal form instead and logged as an error:
        one bad row never holds up the others.

        Raises:
            RepositoryUnavailable: nothing was written; try again from the position in Postgres.
            RepositoryError: even the minimal form was refused: the schema is not ours.
        """
        now = from_ms(self._clock.now_ms())
        doubtful = entry_order(self.position) < entry_order(self._doubtful_upto)
        if executions:
            await self._write_executions(executions, now, doubtful=doubtful)
            await self._write_minutes()
        if dead_letters:
            await self._write_dead_letters(dead_letters, now, doubtful=doubtful)
        if ticks:
            await self._write_ticks(ticks, now, doubtful=doubtful)
        await self._session.row(SQL.move_cursor, *self._key, upto)
        self.position = upto

    async def _write_executions(self, executions: Sequence[Execution], now: datetime, *, doubtful: bool) -> None:
        for start in range(0, len(executions), _EXECUTIONS_AT_ONCE):
            bite = executions[start : start + _EXECUTIONS_AT_ONCE]
            left = bite if doubtful else await self._copy_packed(bite, now)
            if left:
                await self._copy_rows(left, now, doubtful=doubtful)

    async def _copy_packed(self, executions: Sequence[Execution], now: datetime) -> Sequence[Execution]:
        """Write those that are as executions should be. Returns the others; all of them, when any was refused."""
        packed = pack_executions(executions, namespace=self._namespace, now=now)
        if not packed.rows:
            return packed.odd
        await self._session.value(SQL.ensure_partitions, sorted(packed.days))
        try:
            async with self._session.savepoint():
                await self._session.copy_packed(EXECUTIONS.name, PACKED_COLUMNS, packed.data)
        except RowRefused:
            return executions
        self._minutes += packed.minutes
        return packed.odd

    async def _copy_rows(self, executions: Sequence[Execution], now: datetime, *, doubtful: bool) -> None:
        """The slow and careful way: it finds what is here already, and the one row that is refused."""
        rows = [execution_row(each, namespace=self._namespace, now=now) for each in executions]
        if doubtful:
            rows = await self._unknown(EXECUTIONS, rows, SQL.known_executions)
        await self._session.value(SQL.ensure_partitions, days_of(rows))
        self._minutes += minutes_of(await _write(self._session, EXECUTIONS, rows, at_once=_EXECUTIONS_AT_ONCE))

    async def _write_minutes(self) -> None:
        """Last, since what is written here is locked until the end: another epoch of the queue may wait for it."""
        counts = counts_of(self._minutes)
        self._minutes.clear()
        if counts:
            await self._session.row(SQL.add_minutes, self._namespace, *zip(*counts, strict=True))

    async def _write_dead_letters(self, letters: Sequence[DeadLetter], now: datetime, *, doubtful: bool) -> None:
        rows = [letter_row(each, namespace=self._namespace, epoch=self._epoch, now=now) for each in letters]
        if doubtful:
            rows = await self._unknown(DEAD_LETTERS, rows, SQL.known_letters)
        await _write(self._session, DEAD_LETTERS, rows, at_once=_LETTERS_AT_ONCE)

    async def _write_ticks(self, ticks: Sequence[TickRecord], now: datetime, *, doubtful: bool) -> None:
        rows = [tick_row(each, namespace=self._namespace, now=now) for each in ticks]
        if doubtful:
            asked = ([known_by(row)[0] for row in rows], [known_by(row)[1] for row in rows])
            known = {tuple(row) for row in await self._session.rows(SQL.known_ticks, self._namespace, *asked)}
            rows = [row for row in rows if known_by(row) not in known]
        await _write(self._session, TICKS, rows, at_once=_TICKS_AT_ONCE)

    async def _unknown(self, table: Table, rows: Sequence[Row], query: str) -> list[Row]:
        """The rows that are not here yet; *query* names the columns by which one is known."""
        job_id = table.columns.index("job_id")
        rows = [(*row[:job_id], str(stored_id(row[job_id])), *row[job_id + 1 :]) for row in rows]
        unknown: list[Row] = []
        for start in range(0, len(rows), _EXECUTIONS_AT_ONCE):
            bite = rows[start : start + _EXECUTIONS_AT_ONCE]
            found = await self._session.rows(query, self._namespace, list({row[job_id] for row in bite}))
            if not found:
                unknown += bite
                continue
            at = [table.columns.index(name) for name in found[0].keys()]  # noqa: SIM118 - a record iterates its values
            known = {tuple(each) for each in found}
            unknown += [row for row in bite if tuple(row[n] for n in at) not in known]
        return unknown


class PostgresArchive:
    """The archive port over Postgres."""

    def __init__(self, database: Database, *, namespace: str = "jq", clock: Clock | None = None) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._known: set[Key] = set()

    @asynccontextmanager
    async def cursor(
        self, queue: str, kind: JournalKind, epoch: str, primary: str = ""
    ) -> AsyncIterator[PostgresCursor | None]:
        """Lock the cursor of one stream; None when another shipper holds it, or *primary* is one that was replaced
        in a failover. Leaving the context commits.

        Raises:
            RepositoryUnavailable: on leaving, the commit may or may not have happened; the position
                in the next context tells.
        """
        key = (self._namespace, queue, kind, epoch)
        await self._create(key)
        async with self._database.transaction() as session:
            locked = await session.row(SQL.lock_cursor, *key)
            if locked is None:
                self._known.discard(key)  # held by another, or deleted by hand
                yield None
                return
            yield await self._of_primary(session, key, primary, *locked)

    async def _of_primary(
        self,
        session: Session,
        key: Key,
        primary: str,
        position: str,
        known: str,
        doubtful_upto: str,
        replaced: list[str],
    ) -> PostgresCursor | None:
        """The cursor, if it counts the entries of *primary*; taken over for it, if it is the new one.

        The new primary has what the old one had replicated to it, and its own. What was shipped from the old one
        may be in either part, or in neither: so everything that is left is looked at again.
        """
        if primary in replaced:
            return None
        if primary and primary != known:
            doubtful_upto = max(position, doubtful_upto, key=entry_order)
            if known and not known.startswith(MAY_RETURN):
                replaced = [*replaced, known][-_MOST_REPLACED:]
            await session.row(SQL.take_over, *key, primary, doubtful_upto, replaced)
            position = "0-0"
        return PostgresCursor(session, key, position, self._clock, doubtful_upto=doubtful_upto)

    async def position(self, queue: str, kind: JournalKind, epoch: str) -> str:
        """The newest entry of a stream that was ever shipped here; `0-0` before the first."""
        async with self._database.transaction() as session:
            found = await session.row(SQL.position, self._namespace, queue, kind, epoch)
            return max(found, key=entry_order) if found is not None else "0-0"

    async def retire(self, *, keep_successes: timedelta, keep_failures: timedelta) -> int:
        """Make the partitions of the coming days, drop those past their time. Returns how many were dropped.

        Dead letters requeued longer than *keep_failures* ago go too, and what was decided about ticks before that;
        letters still dead are never dropped.
        """
        async with self._database.transaction() as session:
            await session.value(SQL.ensure_coming_partitions, _DAYS_AHEAD)
        async with self._database.transaction() as session:
            dropped: int = await session.value(SQL.drop_partitions, False, keep_successes)
            dropped += await session.value(SQL.drop_partitions, True, keep_failures)
        await self._drop_bites(SQL.drop_minutes, False, keep_successes)
        await self._drop_bites(SQL.drop_minutes, True, keep_failures)
        await self._drop_bites(SQL.drop_requeued, keep_failures)
        await self._drop_bites(SQL.drop_ticks, self._namespace, keep_failures)
        return dropped

    async def _create(self, key: Key) -> None:
        """In a transaction of its own: a second shipper must not wait for the first one's."""
        if key in self._known:
            return
        async with self._database.transaction() as session:
            await session.row(SQL.create_cursor, *key)
        self._known.add(key)

    async def _drop_bites(self, query: str, *args: object) -> None:
        dropped = 1
        while dropped:
            async with self._database.transaction() as session:
                dropped = await session.value(query, *args)


async def _write(session: Session, table: Table, rows: Sequence[Row], *, at_once: int) -> list[Row]:
    """In bites, so that no single statement comes near its timeout. Returns the rows as they were written."""
    written: list[Row] = []
    for start in range(0, len(rows), at_once):
        written += await _copy(session, table, rows[start : start + at_once])
    return written


async def _copy(session: Session, table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    """COPY *rows*; when one is refused, halve until it is alone, and write the others as they are."""
    try:
        async with session.savepoint():
            await session.copy(table.name, table.columns, rows)
    except RowRefused as refusal:
        if len(rows) == 1:
            return [await _write_minimal(session, table, rows[0], refusal)]
        middle = len(rows) // 2
        first = await _copy(session, table, rows[:middle])
        return [*first, *await _copy(session, table, rows[middle:])]
    return rows


async def _write_minimal(session: Session, table: Table, row: Row, refusal: RowRefused) -> Row:
    least = minimal(table, row)
    facts = dict(zip(table.columns, row, strict=True))
    _log.error(
        "archive.row_reduced", table=table.name, job_id=facts["job_id"], queue=facts["queue"], error=str(refusal)
    )
    try:
        async with session.savepoint():
            await session.copy(table.name, table.columns, [least])
    except RowRefused as error:
        raise RepositoryError(
            f"jobqueue.{table.name} refuses the row of job {facts['job_id']} even in its minimal form: {error}; "
            f"look for constraints, triggers or columns that are not in our migrations"
        ) from error
    return least
