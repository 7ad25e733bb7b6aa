import asyncpg
import pytest

from jobqueue.errors import BrokerUnavailable, ConfigError, JobQueueError, RepositoryError, RepositoryUnavailable
from jobqueue.repository.postgres.fault import RowRefused, translate, translating

PLACE = "postgresql://ada:***@db/shop"

CASES: list[tuple[Exception, type[JobQueueError], str]] = [
    (ConnectionRefusedError(111, "refused"), RepositoryUnavailable, "cannot be reached"),
    (TimeoutError(), RepositoryUnavailable, "did not answer in time"),
    (asyncpg.ConnectionDoesNotExistError("gone"), RepositoryUnavailable, "gone"),
    (asyncpg.InterfaceError("connection is closed"), RepositoryUnavailable, "was lost"),
    (asyncpg.InternalClientError("got confused"), RepositoryUnavailable, "was lost"),
    (asyncpg.CannotConnectNowError("starting up"), RepositoryUnavailable, "57P03"),
    (asyncpg.AdminShutdownError("bye"), RepositoryUnavailable, "57P01"),
    (asyncpg.QueryCanceledError("statement timeout"), RepositoryUnavailable, "57014"),
    (asyncpg.TooManyConnectionsError("full"), RepositoryUnavailable, "53300"),
    (asyncpg.DiskFullError("full"), RepositoryUnavailable, "53100"),
    (asyncpg.DeadlockDetectedError("circle"), RepositoryUnavailable, "40P01"),
    (asyncpg.LockNotAvailableError("lock"), RepositoryUnavailable, "55P03"),
    (asyncpg.ReadOnlySQLTransactionError("standby"), RepositoryUnavailable, "25006"),
    (asyncpg.InvalidCachedStatementError("plan"), RepositoryUnavailable, "plan"),
    (asyncpg.UndefinedTableError("no table"), RepositoryError, "run `jobqueue migrate up`"),
    (asyncpg.InsufficientPrivilegeError("no"), RepositoryError, "sql-schema.md"),
    (asyncpg.InvalidSQLStatementNameError("x"), RepositoryError, "JOBQUEUE_POSTGRES_STATEMENT_CACHE=0"),
    (asyncpg.DuplicatePreparedStatementError("x"), RepositoryError, "JOBQUEUE_POSTGRES_STATEMENT_CACHE=0"),
    (asyncpg.InvalidPasswordError("no"), RepositoryError, "28P01"),
    (asyncpg.CheckViolationError("no partition"), RepositoryError, "23514"),
    (asyncpg.CharacterNotInRepertoireError("nul"), RowRefused, "22021"),
    (asyncpg.StatementTooComplexError("deep"), RowRefused, "54001"),
    (asyncpg.DataError("argument"), RowRefused, "argument"),
    (asyncpg.ClientConfigurationError("sslmode"), ConfigError, "DATABASE_URL"),
]


@pytest.mark.parametrize(("error", "kind", "message"), CASES, ids=lambda case: getattr(type(case), "__name__", ""))
def test_each_error_has_one_translation(error: Exception, kind: type[JobQueueError], message: str) -> None:
    translated = translate(error, PLACE)

    assert type(translated) is kind
    assert message in str(translated)
    assert "\n" not in str(translated)


def test_the_cause_is_kept() -> None:
    cause = ConnectionResetError("reset")

    with pytest.raises(RepositoryUnavailable) as caught, translating(PLACE):
        raise cause

    assert caught.value.__cause__ is cause


def test_our_own_errors_pass_as_they_are() -> None:
    ours = BrokerUnavailable("Redis is away")

    with pytest.raises(BrokerUnavailable) as caught, translating(PLACE):
        raise ours

    assert caught.value is ours


def test_bugs_are_not_dressed_up() -> None:
    with pytest.raises(KeyError), translating(PLACE):
        raise KeyError("x")
