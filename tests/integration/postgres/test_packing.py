"""Executions that are packed for COPY by us become the same rows as those that asyncpg encodes."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from jobqueue.job import Priority
from jobqueue.record import Execution
from jobqueue.repository.postgres import archive as archive_module
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.packing import Packed, pack_executions
from tests.integration.postgres.journal import NOW_MS, execution
from tests.integration.postgres.minutes import differences

ALIKE: dict[str, dict[str, Any]] = {
    "a success": {},
    "a failure": {"outcome": "dead", "error_class": "E", "error_message": "no\nroute", "traceback": "t" * 5000},
    "an empty message": {"outcome": "retrying", "error_message": ""},
    "another type, priority, attempt": {"type": "b", "priority": Priority.LOW, "attempt": 7, "generation": 3},
    "names that are not ASCII": {"queue": "mäil", "type": "🦆", "worker": "naïve"},
    "what Postgres cannot hold": {"type": "\x00", "worker": "\ud800", "error_class": "\x00"},
    "an end that is ahead": {"started_ms": NOW_MS + 10**9},
    "another day": {"queued_ms": NOW_MS - 90_000_000, "started_ms": NOW_MS - 90_000_000, "duration_ms": 0.001},
    "before 2000": {"queued_ms": 1, "started_ms": 1},
}
ODD: dict[str, dict[str, Any]] = {
    "never started": {"outcome": "expired", "started_ms": 0, "duration_ms": 0.0},
    "no time of queueing": {"queued_ms": 0},
    "no uuid": {"job_id": "not-a-uuid"},
    "too short an id": {"job_id": "00"},
    "attempt out of range": {"attempt": 2**40},
    "times out of range": {"started_ms": 10**17},
    "no duration": {"duration_ms": float("nan")},
    "an endless duration": {"duration_ms": float("inf")},
}


def packed(executions: list[Execution]) -> Packed:
    return pack_executions(executions, namespace="jq", now=datetime.now(UTC))


async def rows_of(archive: PostgresArchive, sql: asyncpg.Connection, executions: list[Execution]) -> list[Any]:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")
    rows = await sql.fetch("SELECT *, tableoid::regclass::text AS part FROM jobqueue.executions ORDER BY job_id")
    assert await differences(sql) == []
    await sql.execute("TRUNCATE jobqueue.executions, jobqueue.execution_minutes")
    return [dict(row) for row in rows]


async def test_a_packed_execution_is_the_same_row(
    archive: PostgresArchive, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [execution(number, **changes) for number, changes in enumerate(ALIKE.values(), start=1)]
    assert packed(batch).odd == []

    by_us = await rows_of(archive, sql, batch)
    monkeypatch.setattr(archive_module, "pack_executions", lambda each, **_: Packed(b"", 0, set(), Counter(), each))
    by_asyncpg = await rows_of(archive, sql, batch)

    ahead = list(ALIKE).index("an end that is ahead")
    assert by_us[ahead].pop("finished_at") <= by_asyncpg[ahead].pop("finished_at")  # each the instant of its shipping
    assert by_us == by_asyncpg


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD.keys())
async def test_an_odd_execution_is_left_to_the_careful_way_and_arrives(
    archive: PostgresArchive, sql: asyncpg.Connection, changes: dict[str, Any]
) -> None:
    odd = execution(2, **changes)
    assert packed([execution(1), odd, execution(3)]).odd == [odd]

    rows = await rows_of(archive, sql, [execution(1), odd, execution(3)])

    assert len(rows) == 3


async def test_a_long_page_goes_in_many_chunks(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    assert len(await rows_of(archive, sql, [execution(n, worker="w" * 200) for n in range(6000)])) == 6000
