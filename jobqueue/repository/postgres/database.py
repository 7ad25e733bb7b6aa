"""Connections to Postgres: a lazy pool, bounded waits, short transactions.

Every statement runs in a transaction that sets its own limits with SET LOCAL, so that nothing depends on
session state or on startup parameters: it is the same behind a transaction pooler such as pgbouncer (with
`JOBQUEUE_POSTGRES_STATEMENT_CACHE=0`). The server's statement_timeout comes first, the client's second, for a
server that hangs. A connection on which something was left open, cancelled or unanswered is thrown away, not
repaired: that bounds the time, and the server rolls back.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from jobqueue.clock import to_ms
from jobqueue.config import PostgresSettings, mask_url
from jobqueue.errors import ConfigError, RepositoryError, RepositoryUnavailable
from jobqueue.repository.postgres.fault import RowRefused, translating

Row: TypeAlias = Sequence[Any]
_Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_CLIENT_GRACE = timedelta(seconds=1)  # the server's own timeout gives the better message
_IDLE_LIMIT = timedelta(seconds=30)  # between two statements of one transaction: the shipper reads Redis there
_SCHEMA = "jobqueue"
_CHUNK = 256 * 1024


class Session:
    """One open transaction."""

    def __init__(self, connection: _Connection, place: str) -> None:
        self._connection = connection
        self._place = place

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Every row."""
        with translating(self._place):
            return await self._connection.fetch(sql, *args)

    async def row(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row, or None."""
        with translating(self._place):
            return await self._connection.fetchrow(sql, *args)

    async def value(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None."""
        with translating(self._place):
            return await self._connection.fetchval(sql, *args)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write *rows* into a table of the schema by binary COPY.

        Raises:
            RowRefused: a value cannot be encoded or stored.
        """
        with translating(self._place):
            try:
                await self._connection.copy_records_to_table(
                    table, schema_name=_SCHEMA, columns=list(columns), records=rows
                )
            except asyncpg.ClientConfigurationError:
                raise
            except (TypeError, ValueError, OverflowError) as error:  # of the encoder, which asyncpg does not wrap here
                raise RowRefused(f"a value for {_SCHEMA}.{table} cannot be encoded: {error}") from error

    async def copy_packed(self, table: str, columns: Sequence[str], data: bytes) -> None:
        """Write rows that are in COPY's binary format already.

        Raises:
            RowRefused: a value cannot be stored.
        """
        with translating(self._place):
            await self._connection.copy_to_table(
                table,
                schema_name=_SCHEMA,
                columns=list(columns),
                source=_chunks(data),  # bytes would be taken for the name of a file
                format="binary",
            )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What happens inside is undone alone when the data of a row is refused."""
        await self._command("SAVEPOINT here")
        try:
            yield
        except RowRefused:
            await self._command("ROLLBACK TO SAVEPOINT here")
            raise
        await self._command("RELEASE SAVEPOINT here")

    async def _command(self, sql: str) -> None:
        with translating(self._place):
            await self._connection.execute(sql)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    """The server stores the first of them while the others are on their way."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


class Database:
    """Postgres as the repositories see it. Needs no server to be made: the first use connects.

    Use it from one event loop, and `close()` it, or use it as an async context manager.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        if settings.url is None:
            raise ConfigError("DATABASE_URL must be set to keep history, e.g. postgresql://user@localhost/shop")
        self._settings = settings
        self._url = settings.url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._begin = (
            f"BEGIN; SET LOCAL statement_timeout = {to_ms(settings.statement_timeout)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {to_ms(_IDLE_LIMIT)}; SET LOCAL search_path = ''"
        )
        self.place = mask_url(settings.url)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction, committed when the body ends, rolled back when it raises.

        Errors of the body pass through as they are. When COMMIT itself fails with `RepositoryUnavailable`,
        it may or may not have happened: read again before repeating.

        Raises:
            RepositoryUnavailable: no connection in time, or no answer.
        """
        pool = await self._open()
        with translating(self.place, doing=f"give one of {self._settings.pool_size} connections"):
            connection = await pool.acquire(timeout=self._settings.acquire_timeout.total_seconds())
        try:
            with translating(self.place):
                await connection.execute(self._begin)
            yield Session(connection, self.place)
            await self._commit(connection)
        except BaseException as error:
            await self._undo(connection, error)
            raise
        finally:
            with suppress(Exception):  # a connection that died in between is dropped by the pool
                await pool.release(connection)

    async def close(self) -> None:
        """Close every connection; those still busy after the acquire timeout are cut."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._settings.acquire_timeout.total_seconds()):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _commit(self, connection: _Connection) -> None:
        with translating(self.place, doing="answer to COMMIT"):
            answer = await connection.execute("COMMIT")
        if answer != "COMMIT":  # Postgres says ROLLBACK, and no error, when a statement had failed before
            raise RepositoryError(
                f"nothing was written to Postgres at {self.place}: a statement of the transaction had failed "
                f"and its error was caught; let it leave the transaction"
            )

    async def _undo(self, connection: _Connection, error: BaseException) -> None:
        """Roll back where that is certain to be quick; otherwise cut the connection, which does the same."""
        healthy = isinstance(error, Exception) and not isinstance(error, RepositoryUnavailable | TimeoutError)
        if healthy:
            with suppress(Exception):
                await connection.execute("ROLLBACK")
                return
        with suppress(asyncpg.InterfaceError):  # the pool dropped it already, because it broke
            connection.terminate()

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._closed:
                raise RepositoryUnavailable(f"the connections to Postgres at {self.place} were closed by this program")
            if self._pool is None:
                self._pool = await self._create_pool()
            return self._pool

    async def _create_pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        settings = self._settings
        with translating(self.place):
            return await asyncpg.create_pool(
                self._url,
                min_size=0,  # connects to nothing yet: Postgres may be away now
                max_size=settings.pool_size,
                timeout=settings.acquire_timeout.total_seconds(),
                command_timeout=(settings.statement_timeout + _CLIENT_GRACE).total_seconds(),
                statement_cache_size=settings.statement_cache,
                server_settings={"application_name": "jobqueue"},
                init=_teach_json,
                reset=_keep,
            )


async def _teach_json(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    # asyncpg speaks json as text only, which binary COPY cannot use; json's binary form is its text.
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=str.encode, decoder=bytes.decode, format="binary"
    )


async def _keep(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nothing to reset: every setting was LOCAL to its transaction. Saves a round trip per transaction."""
