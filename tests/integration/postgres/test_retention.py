"""Days are made ahead, and dropped whole when their time is over."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue.config import PostgresSettings
from jobqueue.errors import RepositoryError, RepositoryUnavailable
from jobqueue.record import Execution
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from tests.integration.postgres.conftest import Connect
from tests.integration.postgres.journal import dead_letter, execution, now_ms

pytestmark = pytest.mark.usefixtures("exact_minutes")

DAY_MS = 86_400_000
WEEK, MONTH = timedelta(days=7), timedelta(days=30)


def day_of(days: int) -> str:
    return f"{datetime.now(UTC).date() + timedelta(days=days):%Y%m%d}"


async def partitions(sql: asyncpg.Connection) -> set[str]:
    rows = await sql.fetch(
        "SELECT relid::regclass::text AS name FROM pg_partition_tree('jobqueue.executions') WHERE isleaf AND level = 2"
    )
    return {row["name"].rpartition("executions_")[2] for row in rows}


def ended(days_ago: int, number: int = 1, **changes: Any) -> Execution:
    return execution(number, started_ms=now_ms() - days_ago * DAY_MS, duration_ms=0.0, **changes)


async def ship(archive: PostgresArchive, *executions: Execution) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")


async def test_the_coming_days_are_made_ahead(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    dropped = await archive.retire(keep_successes=WEEK, keep_failures=MONTH)

    assert dropped == 0
    assert await partitions(sql) == {f"{half}_{day_of(n)}" for half in ("succeeded", "failed") for n in range(4)}


async def test_rows_of_days_without_a_partition_are_accepted(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, ended(0), ended(3, 2), ended(400, 3, outcome="dead"))

    homes = await sql.fetch("SELECT tableoid::regclass::text AS home FROM jobqueue.executions ORDER BY job_id")
    assert [row["home"].rpartition("executions_")[2] for row in homes] == [
        f"succeeded_{day_of(0)}",
        f"succeeded_{day_of(-3)}",
        f"failed_{day_of(-400)}",
    ]


async def test_successes_go_before_failures_and_whole_days_only(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    for outcome in ("completed", "retrying"):
        await ship(archive, *(ended(days, outcome=outcome) for days in (1, 7, 8, 30, 31)))

    dropped = await archive.retire(keep_successes=WEEK, keep_failures=MONTH)

    left = {name for name in await partitions(sql) if name[-8:] < day_of(0)}
    assert dropped == 4  # successes of 8, 30 and 31 days ago, failures of 31
    assert left == {f"succeeded_{day_of(-n)}" for n in (1, 7)} | {f"failed_{day_of(-n)}" for n in (1, 7, 8, 30)}


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        ("completed", False),
        ("snoozed", False),
        ("released", False),
        ("retrying", True),
        ("dead", True),
        ("crashed", True),
        ("cancelled", True),
        ("expired", True),
        ("something of a later version", True),
    ],
)
async def test_every_outcome_but_success_is_kept_long(
    archive: PostgresArchive, sql: asyncpg.Connection, outcome: str, failed: bool
) -> None:
    await ship(archive, execution(1, outcome=outcome))

    assert await sql.fetchval("SELECT failed FROM jobqueue.executions") is failed


async def test_parallel_makers_and_droppers_do_not_collide(
    connect: Connect, settings: PostgresSettings, sql: asyncpg.Connection
) -> None:
    archives = [PostgresArchive(connect(settings), namespace=f"n{n}") for n in range(6)]

    await asyncio.gather(
        *(ship(archive, *(ended(days, days) for days in range(6))) for archive in archives),
        *(archive.retire(keep_successes=WEEK, keep_failures=MONTH) for archive in archives),
    )

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.executions") == 36


async def test_sessions_that_have_made_partitions_before_make_those_of_one_day_at_once(
    connect: Connect, settings: PostgresSettings, sql: asyncpg.Connection
) -> None:
    """As schedulers at midnight. One failed with "already exists": its cache did not know the other's table."""
    archives = [PostgresArchive(connect(replace(settings, pool_size=1)), namespace=f"n{n}") for n in range(6)]
    for archive in archives:
        await ship(archive, ended(0, 0))

    for day in range(1, 6):
        await asyncio.gather(*(ship(archive, ended(day, day)) for archive in archives))

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.executions") == 36


async def test_requeued_letters_are_dropped_in_their_time_and_dead_ones_never(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    async with archive.cursor("mail", "dead", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[], dead_letters=[dead_letter(n) for n in range(1, 2504)], upto="9-0")
    await sql.execute("UPDATE jobqueue.dead_letters SET died_at = now() - interval '1 year'")
    await sql.execute(
        "UPDATE jobqueue.dead_letters SET state = 'requeued', requeued_at = now() - interval '31 days' "
        "WHERE letter_id > 2"
    )
    await sql.execute("UPDATE jobqueue.dead_letters SET requeued_at = now() WHERE letter_id = 3")

    await archive.retire(keep_successes=WEEK, keep_failures=MONTH)

    states = await sql.fetch("SELECT state FROM jobqueue.dead_letters ORDER BY letter_id")
    assert [row["state"] for row in states] == ["dead", "dead", "requeued"]


async def test_a_long_reader_is_not_queued_up_behind(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, ended(8))

    async with sql.transaction():
        await sql.fetch("SELECT 1 FROM jobqueue.executions")
        with pytest.raises(RepositoryUnavailable, match="55P03"):
            await archive.retire(keep_successes=WEEK, keep_failures=MONTH)

    assert await archive.retire(keep_successes=WEEK, keep_failures=MONTH) == 1


async def test_nobody_drops_the_history_of_today(archive: PostgresArchive) -> None:
    with pytest.raises(RepositoryError, match="must be kept for at least a day"):
        await archive.retire(keep_successes=timedelta(0), keep_failures=MONTH)


async def test_tables_of_other_names_are_left_alone(
    archive: PostgresArchive, database: Database, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "CREATE TABLE jobqueue.executions_failed_old PARTITION OF jobqueue.executions_failed "
        "FOR VALUES FROM ('2001-01-01') TO ('2002-01-01')"
    )

    assert await archive.retire(keep_successes=WEEK, keep_failures=MONTH) == 0
    assert "failed_old" in await partitions(sql)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Los_Angeles"])
async def test_days_are_utc_whatever_the_zone_of_the_session(
    archive: PostgresArchive, sql: asyncpg.Connection, zone: str, database_url: str
) -> None:
    await sql.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET timezone = '{zone}'")
    await sql.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET datestyle = 'German'")
    start_of_day = now_ms() // DAY_MS * DAY_MS

    await ship(archive, *(execution(n, started_ms=start_of_day - n, duration_ms=0.0) for n in (0, 1)))

    homes = await sql.fetch("SELECT tableoid::regclass::text AS home FROM jobqueue.executions ORDER BY job_id")
    assert [row["home"][-8:] for row in homes] == [day_of(0), day_of(-1)]
