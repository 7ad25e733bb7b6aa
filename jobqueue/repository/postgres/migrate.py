"""Brings the schema up and down. The same files may be run by psql instead; both leave the same state.

Each file records itself in `jobqueue.migrations`; this runner adds the file's checksum to that row and refuses
to go on when an applied file was changed. One runner works at a time, one transaction per file.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

import asyncpg

from jobqueue.config import mask_url
from jobqueue.errors import ConfigError, RepositoryError, RepositoryUnavailable
from jobqueue.repository.postgres.fault import translating
from jobqueue.repository.postgres.migration import Migration, Script, find_migrations

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Target: TypeAlias = "str | Connection"

_LOCK: Final = 7453010700000002
_LOCK_POLL_S: Final = 0.05
_CONNECT_S: Final = 10.0
_LIMITS: Final = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0"


class MigrationState(StrEnum):
    """How a migration stands in a database."""

    APPLIED = "applied"
    PENDING = "pending"
    CHANGED = "changed"
    """Applied, but from a file that was another one."""
    UNKNOWN = "unknown"
    """Applied by a newer jobqueue: this one does not have the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """One migration in one database."""

    version: int
    name: str
    state: MigrationState
    applied_at: datetime | None = None
    by_psql: bool = False
    """It was run by hand, so there is no checksum to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStep:
    """A file that was run, or would be in a dry run."""

    version: int
    file: str
    sql: str


async def migrate_up(
    target: Target,
    *,
    to: int | None = None,
    dry_run: bool = False,
    wait: timedelta = timedelta(minutes=1),
    migrations: Sequence[Migration] | None = None,
) -> list[MigrationStep]:
    """Apply what is pending, up to and including version *to*. Returns what was run, in order.

    *target* is a URL or a connection of yours outside a transaction; behind a transaction pooler use the
    server's own address. Another runner is waited for, up to *wait*.

    Raises:
        RepositoryError: a file failed and left nothing behind, or an applied file was changed.
        RepositoryUnavailable: no connection, or another runner did not end in time.
        ConfigError: there is no version *to*.
    """
    known = _known(migrations, to)

    def choose(applied: Sequence[MigrationStatus]) -> list[Migration]:
        done = {each.version for each in applied}
        return [each for each in known if each.version not in done and (to is None or each.version <= to)]

    return await _migrate(target, known, choose, up=True, dry_run=dry_run, wait=wait)


async def migrate_down(
    target: Target,
    *,
    to: int | None = None,
    dry_run: bool = False,
    wait: timedelta = timedelta(minutes=1),
    migrations: Sequence[Migration] | None = None,
) -> list[MigrationStep]:
    """Take back the newest migration, or all above version *to* (0: everything). Returns what was run, in order.

    Data in what is dropped is lost.

    Raises:
        RepositoryError, RepositoryUnavailable, ConfigError: as `migrate_up`; also when the database is at a
            version that this jobqueue does not have.
    """
    known = _known(migrations, to)

    def choose(applied: Sequence[MigrationStatus]) -> list[Migration]:
        newest = max((each.version for each in applied), default=0)
        floor = newest - 1 if to is None else to
        back = sorted((each.version for each in applied if each.version > floor), reverse=True)
        by_version = {each.version: each for each in known}
        if strange := [version for version in back if version not in by_version]:
            raise RepositoryError(
                f"migration {strange[0]:04d} was applied by a newer jobqueue, which alone knows its way back; "
                f"run `jobqueue migrate down` with that version"
            )
        return [by_version[version] for version in back]

    return await _migrate(target, known, choose, up=False, dry_run=dry_run, wait=wait)


async def migration_status(target: Target, *, migrations: Sequence[Migration] | None = None) -> list[MigrationStatus]:
    """Every migration that is known here or applied there, oldest first.

    Raises:
        RepositoryUnavailable: no connection.
    """
    async with _connected(target) as (connection, place):
        with translating(place):
            return await _status(connection, _known(migrations, None))


def pending(statuses: Sequence[MigrationStatus]) -> list[MigrationStatus]:
    """Those that `migrate_up` would apply."""
    return [each for each in statuses if each.state is MigrationState.PENDING]


async def _migrate(
    target: Target,
    known: Sequence[Migration],
    choose: Callable[[Sequence[MigrationStatus]], list[Migration]],
    *,
    up: bool,
    dry_run: bool,
    wait: timedelta,
) -> list[MigrationStep]:
    async with _connected(target) as (connection, place), _locked(connection, place, wait):
        with translating(place):
            statuses = await _status(connection, known)
        _refuse_changed(statuses)
        chosen = choose([each for each in statuses if each.state is not MigrationState.PENDING])
        for migration in [] if dry_run else chosen:
            await _run(connection, place, migration, up=up)
        scripts = [(each.version, each.up if up else each.down) for each in chosen]
        return [MigrationStep(version=version, file=script.file, sql=script.sql) for version, script in scripts]


async def _run(connection: Connection, place: str, migration: Migration, *, up: bool) -> None:
    script = migration.up if up else migration.down
    record = _check_recorded if up else _check_forgotten
    if not script.in_transaction:
        for statement in script.statements:
            await _execute(connection, place, script, statement)
        with translating(place):
            await record(connection, migration)
        return
    with translating(place):
        await connection.execute(f"BEGIN; {_LIMITS}")
    try:
        await _execute(connection, place, script, script.sql)
        with translating(place):
            await record(connection, migration)
            await connection.execute("COMMIT")
    except BaseException:
        await _roll_back(connection)
        raise


async def _execute(connection: Connection, place: str, script: Script, sql: str) -> None:
    try:
        with translating(place):
            await connection.execute(sql)
    except RepositoryError as error:
        raise _failure(script, sql, error) from error.__cause__


def _failure(script: Script, sql: str, error: RepositoryError) -> RepositoryError:
    kind = RepositoryUnavailable if isinstance(error, RepositoryUnavailable) else RepositoryError
    left = "nothing" if script.in_transaction else "its earlier statements"
    cause = error.__cause__
    if not isinstance(cause, asyncpg.PostgresError):
        return kind(f"{script.file} failed and left {left} behind: {error}")
    position = getattr(cause, "position", None)
    line = f" line {sql.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
    return kind(f"{script.file}{line} failed and left {left} behind: {cause} (SQLSTATE {cause.sqlstate})")


async def _check_recorded(connection: Connection, migration: Migration) -> None:
    """Add the checksum to the row that the file wrote about itself."""
    answer = await connection.execute(
        "UPDATE jobqueue.migrations SET checksum = $2 WHERE version = $1", migration.version, migration.up.checksum
    )
    if answer != "UPDATE 1":
        raise RepositoryError(
            f"{migration.up.file} does not record itself: it must end by inserting its version {migration.version} "
            f"and its name {migration.name!r} into jobqueue.migrations"
        )


async def _check_forgotten(connection: Connection, migration: Migration) -> None:
    if migration.version in {row["version"] for row in await _applied(connection)}:
        raise RepositoryError(
            f"{migration.down.file} does not record itself: it must end by deleting version {migration.version} "
            f"from jobqueue.migrations"
        )


async def _roll_back(connection: Connection) -> None:
    with suppress(Exception):  # a dead connection has rolled back by dying
        await connection.execute("ROLLBACK")


async def _status(connection: Connection, known: Sequence[Migration]) -> list[MigrationStatus]:
    applied = {row["version"]: row for row in await _applied(connection)}
    by_version = {each.version: each for each in known}
    return [
        _status_of(version, by_version.get(version), applied.get(version))
        for version in sorted(applied.keys() | by_version.keys())
    ]


def _status_of(version: int, migration: Migration | None, row: asyncpg.Record | None) -> MigrationStatus:
    if row is None:
        name = migration.name if migration else ""
        return MigrationStatus(version=version, name=name, state=MigrationState.PENDING)
    state = MigrationState.APPLIED
    if migration is None:
        state = MigrationState.UNKNOWN
    elif row["checksum"] not in (None, migration.up.checksum):
        state = MigrationState.CHANGED
    return MigrationStatus(
        version=version,
        name=row["name"],
        state=state,
        applied_at=row["applied_at"],
        by_psql=row["checksum"] is None,
    )


async def _applied(connection: Connection) -> list[asyncpg.Record]:
    if await connection.fetchval("SELECT to_regclass('jobqueue.migrations') IS NULL"):
        return []
    return await connection.fetch("SELECT version, name, checksum, applied_at FROM jobqueue.migrations")


def _refuse_changed(statuses: Sequence[MigrationStatus]) -> None:
    for each in statuses:
        if each.state is MigrationState.CHANGED:
            raise RepositoryError(
                f"migration {each.version:04d}_{each.name} was changed after it was applied on {each.applied_at}; "
                f"bring the file back to what it was and put the change into a new migration"
            )


def _known(migrations: Sequence[Migration] | None, to: int | None) -> Sequence[Migration]:
    known = find_migrations() if migrations is None else migrations
    if to is not None and not 0 <= to <= len(known):
        raise ConfigError(f"no migration {to}; this jobqueue has 1 to {len(known)}, and 0 is the empty database")
    return known


@asynccontextmanager
async def _locked(connection: Connection, place: str, wait: timedelta) -> AsyncIterator[None]:
    """Hold the lock of runners. Polled: a session that waits inside Postgres would hold up CONCURRENTLY for ever."""
    deadline = asyncio.get_running_loop().time() + wait.total_seconds()
    while not await _ask(place, connection.fetchval("SELECT pg_try_advisory_lock($1::bigint)", _LOCK)):
        if asyncio.get_running_loop().time() >= deadline:
            raise RepositoryUnavailable(f"another migration runs in {place} since more than {wait}; wait for its end")
        await asyncio.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        with suppress(Exception):  # a dead connection has let go by dying
            await connection.execute("SELECT pg_advisory_unlock($1::bigint)", _LOCK)


async def _ask(place: str, answer: Awaitable[object]) -> object:
    with translating(place):
        return await answer


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[tuple[Connection, str]]:
    if not isinstance(target, str):
        yield target, "the given connection"
        return
    place = mask_url(target)
    with translating(place):
        connection = await asyncpg.connect(
            target, timeout=_CONNECT_S, server_settings={"application_name": "jobqueue migrate"}
        )
    try:
        yield connection, place
    finally:
        with suppress(Exception):
            await connection.close(timeout=_CONNECT_S)
