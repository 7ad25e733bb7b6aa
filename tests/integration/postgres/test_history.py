"""Executions as they come back."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from jobqueue.record import Execution
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.executions import PostgresExecutions
from tests.integration.postgres.journal import NOW_MS, execution, job_id_of

pytestmark = pytest.mark.usefixtures("exact_minutes")


@pytest.fixture
async def executions(database: Database) -> PostgresExecutions:
    return PostgresExecutions(database)


async def ship(archive: PostgresArchive, *executions: Execution) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")


async def test_an_execution_comes_back_as_it_was(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    kept = execution(
        1,
        outcome="retrying",
        duration_ms=0.123456,
        error_class="SMTPError",
        error_message="no route",
        traceback="Traceback ...",
        generation=2,
        attempt=3,
    )
    await ship(archive, kept)

    assert await executions.of_job(kept.job_id) == [kept]


async def test_the_attempts_of_a_job_come_in_their_order(
    archive: PostgresArchive, executions: PostgresExecutions
) -> None:
    attempts = [
        execution(1, attempt=1, outcome="retrying"),
        execution(1, attempt=2, outcome="dead"),
        execution(1, attempt=1, generation=1),
    ]
    await ship(archive, attempts[2], attempts[0], execution(2), attempts[1])

    assert await executions.of_job(job_id_of(1)) == attempts
    assert await executions.of_job("no uuid") == []
    assert await executions.of_job(job_id_of(99)) == []


async def test_the_newest_come_first_and_filters_hold(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    batch = [
        execution(n, queue, type=f"type{n % 2}", outcome="dead" if n % 3 == 0 else "completed", started_ms=NOW_MS - n)
        for n in range(1, 13)
        for queue in ("mail", "report")
    ]
    await ship(archive, *batch)

    def numbers(found: object) -> list[int]:
        return [int(each.job_id[-12:], 16) for each in found]  # type: ignore[attr-defined]

    assert numbers(await executions.recent(limit=4)) == [1, 1, 2, 2]
    assert numbers(await executions.recent(queue="mail", limit=4)) == [1, 2, 3, 4]
    assert numbers(await executions.recent(queue="mail", type="type1", limit=3)) == [1, 3, 5]
    assert numbers(await executions.recent(queue="mail", outcome="dead", limit=9)) == [3, 6, 9, 12]
    assert numbers(await executions.recent(queue="no\x00such", type="'; DROP TABLE x; --", limit=9)) == []


async def test_outcomes_are_counted(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    day_ms = 86_400_000
    await ship(
        archive,
        execution(1),
        execution(2),
        execution(3, outcome="dead"),
        execution(4, "report"),
        execution(5, started_ms=NOW_MS - 2 * day_ms),
    )
    yesterday = datetime.now(UTC) - timedelta(days=1)

    assert await executions.count_by_outcome() == {"completed": 4, "dead": 1}
    assert await executions.count_by_outcome(queue="mail") == {"completed": 3, "dead": 1}
    assert await executions.count_by_outcome(queue="mail", since=yesterday) == {"completed": 2, "dead": 1}


async def test_namespaces_see_only_their_own(archive: PostgresArchive, database: Database) -> None:
    await ship(archive, execution(1))

    assert await PostgresExecutions(database, namespace="other").of_job(job_id_of(1)) == []
    assert await PostgresExecutions(database, namespace="other").recent(limit=9) == []


async def test_the_newest_are_read_from_the_index(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, *(execution(n, started_ms=NOW_MS - n) for n in range(3000)))
    await sql.execute("ANALYZE jobqueue.executions")

    plan = await sql.fetchval(
        "EXPLAIN (FORMAT TEXT) SELECT job_id FROM jobqueue.executions "
        "WHERE namespace = 'jq' AND queue = 'mail' ORDER BY finished_at DESC LIMIT 20"
    )
    rows = await sql.fetch(
        "EXPLAIN SELECT job_id FROM jobqueue.executions "
        "WHERE namespace = 'jq' AND queue = 'mail' ORDER BY finished_at DESC LIMIT 20"
    )

    assert "Limit" in plan
    assert not any("Sort" in row[0] and "Key" not in row[0] for row in rows), rows
