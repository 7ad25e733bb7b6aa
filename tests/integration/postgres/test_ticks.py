"""Records of ticks in Postgres: each once also after a failover, none lost for a bad one, and dropped in their time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from jobqueue.errors import RepositoryError
from jobqueue.repository.postgres import PostgresScheduleStore, PostgresTickRecords
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import TICKS
from jobqueue.repository.schedules import TickFilter
from jobqueue.tick import Decision, Reason, TickRecord
from tests.contract.test_schedule_store import first
from tests.integration.postgres.journal import NOW_MS, job_id_of, tick

DAY_MS = 86_400_000
WEEK, MONTH = timedelta(days=7), timedelta(days=30)


async def ship(archive: PostgresArchive, *ticks: TickRecord, upto: str = "9-0", primary: str = "") -> None:
    async with archive.cursor("mail", "ticks", "e1", primary) as cursor:
        assert cursor is not None
        await cursor.ship(executions=[], dead_letters=[], ticks=ticks, upto=upto)


async def jobs_of(sql: asyncpg.Connection) -> list[str]:
    rows = await sql.fetch("SELECT job_id FROM jobqueue.schedule_ticks ORDER BY record_id")
    return [str(row["job_id"]) for row in rows]


SKIPPED = tick(1, decision=Decision.SKIPPED, reason=Reason.MISSED, job_id=None, first_ms=NOW_MS - 5000, count=None)


@pytest.mark.parametrize("decision", Decision)
@pytest.mark.parametrize("reason", [Reason.ON_TIME, Reason.OVERLAP])
async def test_a_record_comes_back_as_it_was_shipped(
    archive: PostgresArchive, database: Database, decision: Decision, reason: Reason
) -> None:
    told = [
        tick(1, decision=decision, reason=reason),
        SKIPPED,
        tick(2, tick_ms=-DAY_MS, first_ms=-2 * DAY_MS, count=17, at_ms=NOW_MS - 1),
    ]

    await ship(archive, *told)

    assert await PostgresTickRecords(database).search(TickFilter(), limit=9) == ([told[1], told[0], told[2]], None)


async def test_what_was_shipped_before_a_failover_is_not_doubled(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    """The new primary has what was not trimmed there yet, and more under later ids."""
    before = [SKIPPED, *(tick(n) for n in range(2, 20))]
    await ship(archive, *before, upto="20-0", primary="old")

    await ship(archive, *before, tick(30), upto="21-0", primary="new")

    assert len(await jobs_of(sql)) == 20
    assert (await jobs_of(sql))[-1] == job_id_of(30)


RUN: dict[str, Any] = {"decision": Decision.RUN, "reason": Reason.ASKED, "tick_ms": NOW_MS, "first_ms": NOW_MS}
DIFFERENT = {
    "queue": {"queue": "other"},
    "name": {"name": "other"},
    "version": {"version": 2},
    "decision": {"decision": Decision.WAITING},
    "reason": {"reason": Reason.CAUGHT_UP},
    "tick": {"tick_ms": NOW_MS + 1},
    "first tick": {"first_ms": NOW_MS - 1},
    "job": {"job_id": job_id_of(99)},
    "no job": {"job_id": None},
    "instant": {"at_ms": NOW_MS + 1},
}


@pytest.mark.parametrize("changes", DIFFERENT.values(), ids=DIFFERENT.keys())
async def test_another_decision_after_a_failover_is_written_too(
    archive: PostgresArchive, sql: asyncpg.Connection, changes: dict[str, Any]
) -> None:
    """As two `run` in one ms, which only the job tells apart."""
    await ship(archive, tick(1, **RUN), upto="20-0", primary="old")

    await ship(archive, tick(1, **RUN), tick(1, **RUN | changes), upto="20-1", primary="new")

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.schedule_ticks") == 2


POISON: dict[str, dict[str, Any]] = {
    "a version out of range": {"version": 2**40},
    "a count out of range": {"count": -(2**70)},
    "no uuid": {"job_id": "not-a-uuid"},
    "nul": {"name": "nul\x00here"},
    "surrogate": {"queue": "half \ud800 a pair"},
    "no instant": {"tick_ms": 2**60, "first_ms": -(2**60), "at_ms": 2**60},
}


@pytest.mark.parametrize("changes", POISON.values(), ids=POISON.keys())
async def test_a_record_that_cannot_be_as_it_is_holds_up_none_of_the_others(
    archive: PostgresArchive, sql: asyncpg.Connection, changes: dict[str, Any]
) -> None:
    with capture_logs():
        await ship(archive, *(tick(n, **(changes if n == 7 else {})) for n in range(1, 20)))

    assert len(await jobs_of(sql)) == 19
    assert set(map(job_id_of, range(1, 20))) - set(await jobs_of(sql)) <= {job_id_of(7)}


async def test_what_was_decided_long_ago_is_dropped_in_bites_of_one_namespace(
    archive: PostgresArchive, database: Database, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "INSERT INTO jobqueue.schedule_ticks (namespace, queue, name, version, decision, reason, tick_at, first_at,"
        " decided_at) SELECT namespace, 'mail', 'digest', 1, 'fired', 'on_time', at, at, at"
        " FROM unnest('{jq,other}'::text[]) AS namespace,"
        " unnest(ARRAY[now() - interval '30 days 1 minute', now() - interval '29 days']) AS at,"
        " generate_series(1, 10500)"
    )

    await archive.retire(keep_successes=WEEK, keep_failures=MONTH)

    left = await sql.fetch("SELECT namespace, count(*) FROM jobqueue.schedule_ticks GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in left] == [("jq", 10_500), ("other", 21_000)]


async def test_at_least_a_day_is_kept(sql: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.DataError, match="at least a day"):
        await sql.fetchval("SELECT jobqueue.drop_ticks('jq', '23 hours')")


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (TickFilter(), "schedule_ticks_pkey"),
        (TickFilter(name="s7"), "schedule_ticks_of_name"),
        (TickFilter(queues=("q7",)), "schedule_ticks_of_queue"),
        (TickFilter(decision=Decision.SKIPPED), "schedule_ticks_not_fired"),
    ],
    ids=["all", "name", "queue", "decision"],
)
async def test_a_page_is_read_from_an_index_and_not_sorted(
    database: Database, sql: asyncpg.Connection, where: TickFilter, index: str
) -> None:
    await fill(sql)
    records = PostgresTickRecords(database)

    first_page, after = await records.search(where, limit=10)
    second_page, _ = await records.search(where, limit=10, after=after)

    assert len({each.job_id for each in [*first_page, *second_page]}) == 20
    rest = (where.name, where.queues[0] if where.queues else None, where.decision and where.decision.value)
    query = TICKS.page
    for n, value in enumerate(["jq", *rest, None, None, datetime.now(UTC), 5, 10], 1):
        literal = "NULL" if value is None else f"'{value}'" if not isinstance(value, int) else str(value)
        query = query.replace(f"${n}", literal)
    plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}"))
    assert index in plan, plan
    assert "Sort" not in plan, plan


async def test_who_asked_for_a_job_is_looked_for_in_an_index(sql: asyncpg.Connection) -> None:
    await fill(sql)
    query = TICKS.asked_for
    now = datetime.now(UTC)
    given = ["jq", "q7", "00000000-0000-7000-8000-000000000007", now - timedelta(minutes=1), now]
    for n, value in enumerate(given, 1):
        query = query.replace(f"${n}", f"'{value}'")

    plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}"))

    assert "Index Scan" in plan, plan
    assert re.search(r"Index Cond: .*decided_at", plan), plan


async def fill(sql: asyncpg.Connection) -> None:
    """20 000 records of 100 schedules on 10 queues, one in 50 skipped."""
    await sql.execute(
        "INSERT INTO jobqueue.schedule_ticks (namespace, queue, name, version, decision, reason, tick_at, first_at,"
        " ticks, job_id, decided_at) SELECT 'jq', 'q' || n % 10, 's' || n % 100, 1,"
        " CASE WHEN n % 50 = 0 THEN 'skipped' ELSE 'fired' END, 'on_time', at, at, 1, gen_random_uuid(), at"
        " FROM generate_series(1, 20000) AS n, LATERAL (SELECT now() - n * interval '1 second' AS at) AS ago"
    )
    await sql.execute("ANALYZE jobqueue.schedule_ticks")


async def test_a_definition_that_cannot_be_read_holds_up_none_of_the_others(
    database: Database, sql: asyncpg.Connection
) -> None:
    store = PostgresScheduleStore(database)
    for name in ("a", "b", "c"):
        await store.put(first(name), expected=0)
    later = """{"misfire": "of a later version"}"""
    await sql.execute("UPDATE jobqueue.schedules SET definition = $1 WHERE name = 'b'", later)

    with capture_logs() as logs:
        listed = await store.list()

    assert [each.name for each in listed] == ["a", "c"]
    assert [(each["event"], each["name"]) for each in logs] == [("schedule.unreadable", "b")]
    with pytest.raises(RepositoryError, match=r"'b' in jobqueue\.schedules cannot be read"):
        await store.get("b")


async def test_namespaces_do_not_share_schedules_or_records(archive: PostgresArchive, database: Database) -> None:
    store, other = (PostgresScheduleStore(database, namespace=each) for each in ("jq", "other"))
    await store.put(first(), expected=0)
    await ship(archive, tick(1, name="digest"))
    records = PostgresTickRecords(database, namespace="other")
    long_ago, some_day = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2100))

    assert await other.list() == []
    assert await other.revision() == 0
    assert await other.get("digest") is None
    assert await records.search(TickFilter(), limit=1) == ([], None)
    assert await records.newest(["digest"]) == {}
    assert await records.fired("digest", since=long_ago, until=some_day) == frozenset()
