"""The one place where errors of asyncpg and of the network become errors of jobqueue."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from jobqueue.errors import ConfigError, JobQueueError, RepositoryError, RepositoryUnavailable


class RowRefused(RepositoryError):
    """Postgres or its driver cannot hold the data of a row; the transaction's savepoint is still good."""


# By SQLSTATE class, or whole code: it may work when tried again, here or on the next server.
_TRANSIENT = (
    "08",  # connection
    "40",  # serialization, deadlock
    "53",  # out of connections, memory, disk
    "57",  # shutdown, starting up, cancelled by statement_timeout
    "58",  # I/O error
    "25006",  # read-only: a standby during failover
    "25P03",  # idle in transaction for too long
    "55P03",  # lock not available
    "XX",  # internal error, broken storage
)
_REFUSED = ("22", "23502", "54")  # data exceptions; not-null; too large or too deep
_NO_SCHEMA = ("3F000", "42P01", "42703", "42883")
_LOST_STATEMENT = ("26000", "42P05")  # prepared on one server connection, looked for on another

_FOREIGN = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


@contextmanager
def translating(place: str, *, doing: str = "answer") -> Iterator[None]:
    """Raise what asyncpg and the network raise as our own errors; *place* is the masked URL."""
    try:
        yield
    except JobQueueError:  # ours already; some are ConnectionErrors
        raise
    except _FOREIGN as error:
        raise translate(error, place, doing=doing) from error


def translate(error: Exception, place: str, *, doing: str = "answer") -> JobQueueError:
    """The error of ours that *error* stands for."""
    match error:
        case TimeoutError():
            return RepositoryUnavailable(f"Postgres at {place} did not {doing} in time")
        case OSError():
            return RepositoryUnavailable(f"Postgres at {place} cannot be reached: {_line(error)}")
        case asyncpg.PostgresError():
            return _by_state(error, place, error.sqlstate or "")
        case asyncpg.ClientConfigurationError():
            return ConfigError(f"DATABASE_URL {place} cannot be used: {_line(error)}")
        case asyncpg.DataError():
            return RowRefused(f"a value does not fit its column: {_line(error)}")
        case _:  # the connection was lost under us, or the driver lost track of it
            return RepositoryUnavailable(f"the connection to Postgres at {place} was lost: {_line(error)}")


def _by_state(error: asyncpg.PostgresError, place: str, state: str) -> RepositoryError:
    text = f"{_line(error)} (SQLSTATE {state})"
    if state.startswith(_TRANSIENT) or isinstance(error, asyncpg.InvalidCachedStatementError):
        return RepositoryUnavailable(f"Postgres at {place} cannot do this now: {text}")
    if state.startswith(_REFUSED):
        return RowRefused(f"Postgres at {place} refused a value: {text}")
    if state in _NO_SCHEMA:
        return RepositoryError(
            f"the schema jobqueue in {place} is missing or of another version: {text}; run `jobqueue migrate up`"
        )
    if state in _LOST_STATEMENT:
        return RepositoryError(
            f"Postgres at {place} lost a prepared statement: {text}; behind a transaction pooler such as pgbouncer "
            f"set JOBQUEUE_POSTGRES_STATEMENT_CACHE=0"
        )
    if state == "42501":
        return RepositoryError(
            f"the role of {place} may not do this: {text}; its grants are listed in docs/reference/sql-schema.md"
        )
    return RepositoryError(f"Postgres at {place} refused: {text}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
