"""Executions counted by the minute: always the count of the rows that are there."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from jobqueue.clock import from_ms
from jobqueue.errors import ConfigError, RepositoryError
from jobqueue.record import Execution
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.executions import PostgresExecutions
from jobqueue.repository.postgres.migrate import migrate_down, migrate_up
from jobqueue.repository.postgres.minute import LIMITS_MS, took
from jobqueue.repository.postgres.queries import EXECUTIONS as SQL
from tests.integration.postgres.journal import NOW_MS, execution, now_ms
from tests.integration.postgres.minutes import differences

pytestmark = pytest.mark.usefixtures("exact_minutes")

DAY_MS = 86_400_000
OUTCOMES = ("completed", "completed", "completed", "retrying", "dead", "snoozed", "expired")
ODD = ({"attempt": 2**40}, {"queued_ms": 0}, {"job_id": "no uuid"}, {"duration_ms": float("nan")}, {"type": "\x00"})


class CrashedHereError(Exception):
    """Where a test says so."""


def some(random: Random, number: int, queue: str) -> Execution:
    facts = {
        "outcome": random.choice(OUTCOMES),
        "duration_ms": random.lognormvariate(3, 2),
        "started_ms": NOW_MS - random.choice((1, 200_000, 5 * DAY_MS)) - random.randrange(100_000),
    }
    odd = random.choice(ODD) if random.random() < 0.03 else {}
    return execution(number, queue, **(facts | odd))


async def ship(archive: PostgresArchive, *executions: Execution, epoch: str = "e1", primary: str = "") -> None:
    async with archive.cursor("mail", "journal", epoch, primary) as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")


async def total(sql: asyncpg.Connection) -> tuple[int, int]:
    """Rows, and rows as counted."""
    row = await sql.fetchrow(
        "SELECT (SELECT count(*) FROM jobqueue.executions),"
        " (SELECT coalesce(sum(executions), 0) FROM jobqueue.execution_minutes)"
    )
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("seed", range(4))
async def test_minutes_are_right_after_crashes_failovers_and_poison(
    archive: PostgresArchive, sql: asyncpg.Connection, seed: int
) -> None:
    """Four queues are shipped at once; a shipper crashes in the middle of a page, or just before its commit."""
    random = Random(seed)

    async def ship_queue(queue: str, first: int) -> None:
        journal = [some(random, first + n, queue) for n in range(300)]
        primary, at = "p0", 0
        while at < len(journal):
            crash = random.random() < 0.3
            if random.random() < 0.1:
                primary = f"p{int(primary[1:]) + 1}"  # what was shipped is offered again
            try:
                async with archive.cursor(queue, "journal", "e1", primary) as cursor:
                    assert cursor is not None
                    at = int(cursor.position.partition("-")[0])
                    for size in (random.randrange(1, 40), random.randrange(1, 40)):
                        page = journal[at : at + size]
                        at += len(page)
                        await cursor.ship(executions=page, dead_letters=[], upto=f"{at}-0")
                    if crash:
                        raise CrashedHereError
            except CrashedHereError:
                at = 0

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ship_queue(f"q{number}", number * 1000))

    rows, counted = await total(sql)
    assert rows == counted
    assert rows >= 1_200
    assert await differences(sql) == []


async def test_two_lives_of_a_queue_count_into_the_same_minutes(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    batch = [execution(n, started_ms=NOW_MS - n * 20_000) for n in range(200)]

    await asyncio.gather(*(ship(archive, *batch[n::4], epoch=f"e{n}") for n in range(4)))

    assert await total(sql) == (200, 200)


async def test_a_rollback_takes_the_counts_back(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    async def crash() -> None:
        async with archive.cursor("mail", "journal", "e1") as cursor:
            assert cursor is not None
            await cursor.ship(executions=[execution(1)], dead_letters=[], upto="9-0")
            raise CrashedHereError

    with pytest.raises(CrashedHereError):
        await crash()

    assert await total(sql) == (0, 0)


async def test_names_that_no_index_holds_are_counted(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    random = Random(1)
    incompressible = "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(5000))

    await ship(archive, execution(1, outcome=incompressible), execution(2, incompressible), execution(3))

    assert await total(sql) == (3, 3)
    rows = await sql.fetch("SELECT DISTINCT queue FROM jobqueue.executions ORDER BY 1")
    assert rows == await sql.fetch("SELECT DISTINCT queue FROM jobqueue.execution_minutes ORDER BY 1")
    await sql.execute("TRUNCATE jobqueue.executions, jobqueue.execution_minutes")  # the outcomes are not the same


async def test_a_row_that_was_reduced_is_counted_as_it_was_written(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    await ship(archive, execution(1, attempt=2**40, duration_ms=float("inf")))

    assert await total(sql) == (1, 1)
    assert await sql.fetchval("SELECT took FROM jobqueue.execution_minutes") == 0


async def test_classes_of_duration_are_the_same_in_postgres(sql: asyncpg.Connection) -> None:
    edges = [each * near for each in LIMITS_MS for near in (0.999999, 1, 1.000001)]
    durations = [*edges, 0.0, -1.0, float("inf"), float("nan")]

    theirs = await sql.fetch(
        "SELECT jobqueue.duration_class(each) FROM unnest($1::float8[]) WITH ORDINALITY AS a(each, n) ORDER BY n",
        durations,
    )

    assert [row[0] for row in theirs] == [took("completed", each) for each in durations]


async def test_the_migration_counts_what_is_there(
    archive: PostgresArchive, database_url: str, sql: asyncpg.Connection
) -> None:
    random = Random(1)
    await ship(archive, *(some(random, n, "mail") for n in range(500)))
    await migrate_down(database_url, to=6)

    await migrate_up(database_url)

    assert await total(sql) == (500, 500)


async def test_minutes_are_recounted_by_hand(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, *(execution(n, started_ms=NOW_MS - n * 60_000) for n in range(10)))
    minute = from_ms(NOW_MS - NOW_MS % 60_000)
    since, until = minute - timedelta(minutes=5), minute - timedelta(minutes=2)
    await sql.execute("UPDATE jobqueue.execution_minutes SET executions = 7 WHERE minute = $1", since)
    await sql.execute("DELETE FROM jobqueue.execution_minutes WHERE minute > $1 AND minute < $2", since, until)

    assert await sql.fetchval("SELECT jobqueue.recount_minutes($1, $2)", since, until) == 3

    assert await total(sql) == (10, 10)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="only whole minutes can be counted"):
        await sql.fetchval("SELECT jobqueue.recount_minutes($1, $2)", since, until + timedelta(seconds=1))


async def test_counts_go_with_their_days(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    for days in (0, 7, 8, 30, 31):
        late: dict[str, Any] = {"started_ms": now_ms() - days * DAY_MS, "duration_ms": 0.0}
        await ship(archive, execution(1, **late), execution(2, outcome="dead", **late))

    await archive.retire(keep_successes=timedelta(days=7), keep_failures=timedelta(days=30))

    assert await total(sql) == (6, 6)
    with pytest.raises(RepositoryError, match="at least a day"):
        await archive.retire(keep_successes=timedelta(0), keep_failures=timedelta(days=30))


async def test_counts_go_in_bites(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO jobqueue.execution_minutes"
        " SELECT now() - interval '60 days', 'jq', 'q' || n, 'completed', 0, false, 1"
        " FROM generate_series(1, 25000) AS n"
    )
    assert await sql.fetchval("SELECT jobqueue.drop_minutes(false, '7 days')") == 10_000

    await archive.retire(keep_successes=timedelta(days=7), keep_failures=timedelta(days=30))

    assert await total(sql) == (0, 0)


async def test_counts_since_an_instant_are_exact(archive: PostgresArchive, database: Database) -> None:
    executions, minute_ms = PostgresExecutions(database), NOW_MS - NOW_MS % 60_000 - 600_000
    for n, at_ms in enumerate((-1, 0, 29_999, 30_000, 59_999, 60_000, 120_000)):
        await ship(archive, execution(n, started_ms=minute_ms + at_ms, duration_ms=0.0))

    async def since(ms: int) -> int:
        return (await executions.count_by_outcome(since=from_ms(minute_ms + ms))).get("completed", 0)

    assert [await since(ms) for ms in (-1, 0, 1, 30_000, 30_001, 60_000, 60_001, 300_000)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert await executions.count_by_outcome() == {"completed": 7}


async def test_statistics_read_minutes_and_no_rows(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, *(execution(n, started_ms=NOW_MS - n * 60_000) for n in range(5000)))
    await sql.execute("ANALYZE jobqueue.execution_minutes")
    now = datetime.now(UTC)

    for queues in (None, ["mail"]):
        args = ("jq", queues, now - timedelta(minutes=5), now, timedelta(minutes=1))
        plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {SQL.series}", *args))
        assert "execution_minutes_pkey" in plan
        assert "executions_" not in plan.replace("execution_minutes", "")


async def test_spans_that_are_not_whole_minutes_are_read_from_the_rows(
    archive: PostgresArchive, database: Database
) -> None:
    executions, until = PostgresExecutions(database), from_ms(NOW_MS)
    for n in range(4):
        await ship(archive, execution(n, started_ms=NOW_MS - 10_000 + n * 2_500, duration_ms=3.0))

    series = await executions.series(since=until - timedelta(seconds=10), until=until, bucket=timedelta(seconds=5))

    assert [(each.outcomes, each.p50_ms) for each in series] == [({"completed": 2}, 3.0)] * 2
    with pytest.raises(ConfigError, match="must be whole minutes, got 0:01:30"):
        await executions.series(since=until - timedelta(hours=1), until=until, bucket=timedelta(seconds=90))


async def test_a_series_begins_with_a_whole_minute(archive: PostgresArchive, database: Database) -> None:
    minute_ms = NOW_MS - NOW_MS % 60_000 - 600_000
    for n, at_ms in enumerate((-1, 5_000, 45_000, 60_000)):
        await ship(archive, execution(n, started_ms=minute_ms + at_ms, duration_ms=0.0))
    since = from_ms(minute_ms + 30_000)

    series = await PostgresExecutions(database).series(
        since=since, until=since + timedelta(minutes=1), bucket=timedelta(minutes=1)
    )

    assert [(each.at_ms - minute_ms, each.outcomes) for each in series] == [
        (0, {"completed": 2}),
        (60_000, {"completed": 1}),
    ]
