"""Postgres away, hanging, full, read-only: every call ends in time with one kind of error, and heals by itself."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from jobqueue.config import PostgresSettings
from jobqueue.embedded import PostgresServer, start_postgres
from jobqueue.errors import ConfigError, RepositoryError, RepositoryUnavailable
from jobqueue.repository.base import LetterFilter
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.migrate import migrate_up
from tests.integration.postgres.conftest import Connect, dead_letters_of, sibling
from tests.integration.postgres.journal import FileJournal, execution, ship_all, ship_once
from testutil.eventually import eventually
from testutil.pgbouncer import SWITCH

POOLED = bool(os.environ.get(SWITCH))
_Value = TypeVar("_Value")


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresServer]:
    """A server of our own, to be stopped and frozen."""
    with start_postgres() as server:
        asyncio.run(migrate_up(server.url))
        yield server


@pytest.fixture
def fragile_settings(fragile: PostgresServer) -> Iterator[PostgresSettings]:
    yield PostgresSettings(
        url=fragile.url,
        acquire_timeout=timedelta(milliseconds=300),
        statement_timeout=timedelta(milliseconds=300),
    )
    fragile.resume()
    fragile.restart()


async def patiently(ask: Callable[[], Awaitable[_Value]]) -> _Value:
    """Ask until nothing was too slow for an impatient database: a busy machine is no outage."""
    answers: list[_Value] = []

    async def answered() -> bool:
        with suppress(RepositoryUnavailable):
            answers.append(await ask())
        return bool(answers)

    await eventually(answered)
    return answers[0]


async def answer(database: Database) -> int:
    async with database.transaction() as session:
        value: int = await session.value("SELECT 1")
        return value


async def test_f70_postgres_may_be_away_at_the_start_and_come_later(
    fragile: PostgresServer, fragile_settings: PostgresSettings, connect: Connect
) -> None:
    """Postgres that is away at the start is used as soon as it comes."""
    fragile.kill()
    database = connect(fragile_settings)

    with pytest.raises(RepositoryUnavailable, match="cannot be reached"):
        await answer(database)
    fragile.restart()

    assert await patiently(lambda: answer(database)) == 1


async def test_f70_f75_the_pool_recovers_when_postgres_was_killed_and_comes_back(
    fragile: PostgresServer, fragile_settings: PostgresSettings, connect: Connect, tmp_path: Path
) -> None:
    """Postgres killed and restarted: the pool recovers, and nothing shipped is lost or doubled."""
    journal = FileJournal(tmp_path / "journal", entries=30)
    database = connect(fragile_settings)
    archive = PostgresArchive(database)
    await patiently(lambda: ship_once(archive, journal, queue="killed"))

    fragile.kill()
    for _ in range(10):
        with pytest.raises(RepositoryUnavailable):
            await ship_once(archive, journal, queue="killed")
    fragile.restart()
    await patiently(lambda: ship_all(archive, journal, queue="killed"))

    looking = await asyncpg.connect(fragile.url)
    assert await looking.fetchval("SELECT count(*) FROM jobqueue.executions WHERE queue = 'killed'") == 30
    await looking.close()


async def test_f73_a_frozen_server_is_given_up_in_time_and_used_again_when_it_thaws(
    fragile: PostgresServer, fragile_settings: PostgresSettings, connect: Connect, tmp_path: Path
) -> None:
    """Postgres frozen with SIGSTOP: each call is given up in time, and works again when it thaws."""
    journal = FileJournal(tmp_path / "journal", entries=20)
    database = connect(fragile_settings)
    archive = PostgresArchive(database)
    await patiently(lambda: ship_once(archive, journal, queue="frozen"))

    fragile.pause()
    for _ in range(2):  # once with the connection it had, once for a new one
        async with asyncio.timeout(30):
            with pytest.raises(RepositoryUnavailable, match="in time"):
                await ship_once(archive, journal, queue="frozen")
    fragile.resume()
    await patiently(lambda: ship_all(archive, journal, queue="frozen"))

    looking = await asyncpg.connect(fragile.url)
    assert await looking.fetchval("SELECT count(*) FROM jobqueue.executions WHERE queue = 'frozen'") == 20
    await looking.close()


async def test_f73_a_locked_table_holds_up_nobody_for_longer_than_the_statement_timeout(
    impatient: PostgresSettings, connect: Connect, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    """A table locked by somebody else: the shipper gives up at the statement timeout and goes on later."""
    journal = FileJournal(tmp_path / "journal", entries=20)
    archive = PostgresArchive(connect(impatient))
    await patiently(lambda: ship_once(archive, journal))

    async with sql.transaction():
        await sql.execute("LOCK TABLE jobqueue.executions IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(30):
            with pytest.raises(RepositoryUnavailable, match="57014"):
                await ship_once(archive, journal)
    await patiently(lambda: ship_all(archive, journal))

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.executions") == 20


async def test_f73_f75_a_pool_that_is_all_in_use_says_so_in_time(impatient: PostgresSettings, connect: Connect) -> None:
    """A pool whose connections are all in use says so at the acquire timeout."""
    database = connect(replace(impatient, pool_size=1))

    async def ask_for_a_second() -> None:
        async with database.transaction():
            with pytest.raises(RepositoryUnavailable, match="did not give one of 1 connections in time"):
                await answer(database)

    await patiently(ask_for_a_second)
    assert await patiently(lambda: answer(database)) == 1


async def test_f75_random_cancellations_neither_leak_nor_starve_connections(
    settings: PostgresSettings, connect: Connect, sql: asyncpg.Connection
) -> None:
    """Transactions cancelled at random moments neither leak nor starve connections."""
    database = connect(replace(settings, pool_size=3))
    rng = random.Random(7)

    async def one() -> None:
        async with database.transaction() as session:
            await session.value("SELECT pg_sleep(0.002)")

    for _ in range(40):
        tasks = [asyncio.create_task(one()) for _ in range(8)]
        await asyncio.sleep(rng.random() * 0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def few_are_open() -> bool:
        """A server takes its time to see that a connection was cut."""
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobqueue'"
        return bool(await sql.fetchval(ours) <= 6)

    assert await asyncio.gather(*(answer(database) for _ in range(20))) == [1] * 20
    await eventually(few_are_open)


async def test_f75_a_cancelled_transaction_changes_nothing(database: Database, sql: asyncpg.Connection) -> None:
    """A cancelled transaction is rolled back, and its connection is not used again."""
    archive, inside = PostgresArchive(database), asyncio.Event()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def ship_and_hang() -> None:
        async with archive.cursor("mail", "journal", "e1") as cursor:
            assert cursor is not None
            await cursor.ship(executions=[execution(1)], dead_letters=[], upto="1-0")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(ship_and_hang())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert complaints == [], "the connection went back to the pool with its transaction open"
    assert await sql.fetchval("SELECT count(*) FROM jobqueue.executions") == 0


async def test_a_transaction_whose_error_was_swallowed_is_not_taken_for_committed(
    database: Database, sql: asyncpg.Connection
) -> None:
    archive = PostgresArchive(database)

    async def swallow() -> None:
        async with archive.cursor("mail", "journal", "e1") as cursor:
            assert cursor is not None
            await cursor.ship(executions=[execution(1)], dead_letters=[], upto="1-0")
            with suppress(RepositoryError):
                await cursor.ship(executions=[], dead_letters=[], upto=None)  # type: ignore[arg-type]

    with pytest.raises(RepositoryError, match="nothing was written"):
        await swallow()

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.executions") == 0


async def test_f78_a_read_only_server_is_unavailable_and_not_broken(
    archive: PostgresArchive, sql: asyncpg.Connection, database_url: str
) -> None:
    """A read-only Postgres is unavailable for now, not broken."""
    name = database_url.rpartition("/")[2]
    await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(RepositoryUnavailable, match="25006"):
        async with archive.cursor("mail", "journal", "e1"):
            pass


async def test_f78_a_missing_schema_says_how_to_make_it(empty_database_url: str, connect: Connect) -> None:
    """A missing schema stops with an error that names the command to run."""
    letters = dead_letters_of(connect(empty_database_url))

    with pytest.raises(RepositoryError, match="run `jobqueue migrate up`") as caught:
        await letters.count(LetterFilter())

    assert not isinstance(caught.value, RepositoryUnavailable)


@pytest.mark.skipif(POOLED, reason="pgbouncer tells of a missing database as of a lost one: SQLSTATE 08P01")
async def test_a_missing_database_is_no_outage(postgres: PostgresServer, connect: Connect) -> None:
    with pytest.raises(RepositoryError, match='database "nowhere" does not exist') as caught:
        await answer(connect(sibling(postgres.url, "nowhere")))

    assert not isinstance(caught.value, RepositoryUnavailable)


async def test_errors_name_the_place_without_its_password(connect: Connect) -> None:
    database = connect("postgresql://ada:hush@127.0.0.1:1/shop?sslmode=disable")

    with pytest.raises(RepositoryUnavailable, match=r"postgresql://ada:\*\*\*@127.0.0.1:1/shop") as caught:
        await answer(database)

    assert "hush" not in str(caught.value)


async def test_a_url_that_asyncpg_refuses_is_a_configuration_error(connect: Connect) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        await answer(connect("postgresql://ada@127.0.0.1:1/shop?sslmode=certainly"))


def test_a_database_needs_a_url() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL must be set"):
        Database(PostgresSettings())


async def test_a_closed_database_says_so(connect: Connect, settings: PostgresSettings) -> None:
    database = connect(settings)
    assert await answer(database) == 1

    await database.close()
    await database.close()

    with pytest.raises(RepositoryUnavailable, match="closed by this program"):
        await answer(database)


async def test_no_search_path_is_relied_on_and_limits_are_set_without_session_state(
    database: Database, sql: asyncpg.Connection
) -> None:
    async with database.transaction() as session:
        inside = await session.row(
            "SELECT current_setting('search_path'), current_setting('statement_timeout'), "
            "current_setting('idle_in_transaction_session_timeout')"
        )

    assert inside is not None
    assert tuple(inside) == ('""', "5s", "30s")
