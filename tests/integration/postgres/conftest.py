"""One private Postgres per test session; one database per test, copied from a migrated template."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import cast

import asyncpg
import pytest

from jobqueue.broker.base import Broker
from jobqueue.config import PostgresSettings
from jobqueue.embedded import PostgresServer, start_postgres
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.dead_letters import PostgresDeadLetters
from jobqueue.repository.postgres.migrate import migrate_up
from tests.integration.postgres.minutes import differences

Connect = Callable[[PostgresSettings | str], Database]

_names = (f"test_{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with start_postgres(extra_args=("-c", "max_connections=300")) as server:
        asyncio.run(_migrate_template(server))
        yield server


async def _migrate_template(server: PostgresServer) -> None:
    await migrate_up(server.create_database("migrated"))


@pytest.fixture
def empty_url(server: PostgresServer) -> str:
    """A database without our schema."""
    return server.create_database(next(_names))


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A migrated database."""
    return server.create_database(next(_names), template="migrated")


@pytest.fixture
def settings(url: str) -> PostgresSettings:
    return PostgresSettings(url=url)


@pytest.fixture
def impatient(settings: PostgresSettings) -> PostgresSettings:
    return replace(settings, acquire_timeout=timedelta(milliseconds=300), statement_timeout=timedelta(milliseconds=300))


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Databases that are closed after the test."""
    made: list[Database] = []

    def connect(target: PostgresSettings | str) -> Database:
        made.append(Database(PostgresSettings(url=target) if isinstance(target, str) else target))
        return made[-1]

    yield connect
    for database in made:
        await database.close()


@pytest.fixture
async def database(connect: Connect, settings: PostgresSettings) -> Database:
    return connect(settings)


@pytest.fixture
async def archive(database: Database) -> PostgresArchive:
    return PostgresArchive(database)


@pytest.fixture
async def exact_minutes(url: str) -> AsyncIterator[None]:
    """Whatever the test did, every execution that is in the history is counted once."""
    yield
    connection = await asyncpg.connect(url)
    assert await differences(connection) == []
    await connection.close()


@pytest.fixture
async def sql(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look with, and to disturb with."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def dead_letters_of(database: Database, broker: object = None, *, namespace: str = "jq") -> PostgresDeadLetters:
    """Dead letters over a broker that need only know how to enqueue."""
    return PostgresDeadLetters(database, cast(Broker, broker), namespace=namespace)


def sibling(url: str, name: str) -> str:
    """Another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"
