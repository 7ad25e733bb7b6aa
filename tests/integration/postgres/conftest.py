"""What tests of Postgres share: names for its fixtures, and a look at the whole of a database."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import cast

import asyncpg
import pytest

from jobqueue.broker.base import Broker
from jobqueue.config import PostgresSettings
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.dead_letters import PostgresDeadLetters
from tests.integration.postgres.minutes import differences

Connect = Callable[[PostgresSettings | str], Database]

PATIENCE = timedelta(seconds=30)


@pytest.fixture
def database_url(own_database_url: str) -> str:
    """These tests look at whole tables, and change them."""
    return own_database_url


@pytest.fixture
def settings(database_url: str) -> PostgresSettings:
    """With patience: many connect at once here, on a machine that is busy."""
    return PostgresSettings(url=database_url, acquire_timeout=PATIENCE)


@pytest.fixture
def impatient(settings: PostgresSettings) -> PostgresSettings:
    return replace(settings, acquire_timeout=timedelta(milliseconds=300), statement_timeout=timedelta(milliseconds=300))


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Databases that are closed after the test."""
    made: list[Database] = []

    def connect(target: PostgresSettings | str) -> Database:
        patient = PostgresSettings(url=target, acquire_timeout=PATIENCE) if isinstance(target, str) else target
        made.append(Database(patient))
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
async def exact_minutes(database_url: str) -> AsyncIterator[None]:
    """Whatever the test did, every execution that is in the history is counted once."""
    yield
    connection = await asyncpg.connect(database_url)
    assert await differences(connection) == []
    await connection.close()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look with, and to disturb with."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def dead_letters_of(database: Database, broker: object = None, *, namespace: str = "jq") -> PostgresDeadLetters:
    """Dead letters over a broker that need only know how to enqueue."""
    return PostgresDeadLetters(database, cast(Broker, broker), namespace=namespace)


def sibling(url: str, name: str) -> str:
    """Another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"
