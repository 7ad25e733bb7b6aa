"""History is searched: newest first, by pages, by words."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue.errors import ConfigError
from jobqueue.record import Execution
from jobqueue.repository.base import ExecutionFilter
from jobqueue.repository.postgres import executions as executions_module
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database, Session
from jobqueue.repository.postgres.executions import PostgresExecutions
from jobqueue.repository.postgres.queries import EXECUTIONS as SQL
from tests.integration.postgres.journal import NOW_MS, execution


@pytest.fixture
async def executions(database: Database) -> PostgresExecutions:
    return PostgresExecutions(database)


async def ship(archive: PostgresArchive, *executions: Execution) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")


def numbers(found: Any) -> list[int]:
    return [int(each.job_id[-12:], 16) for each in found]


async def found(executions: PostgresExecutions, *, limit: int = 50, **where: Any) -> list[int]:
    page, _ = await executions.search(ExecutionFilter(**where), limit=limit)
    return numbers(page)


async def test_an_execution_comes_back_with_its_payload(
    archive: PostgresArchive, executions: PostgresExecutions
) -> None:
    kept = execution(1, payload='{"to":"ada@example.org","naïve":"\\u0000 \\ud800"}'.encode())
    await ship(archive, kept)

    assert (await executions.search(ExecutionFilter(), limit=5)) == ([kept], None)
    assert await executions.of_job(kept.job_id) == [kept]


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
async def test_pages_join_without_gap_or_overlap_though_all_ended_at_one_instant(
    archive: PostgresArchive, executions: PostgresExecutions, limit: int
) -> None:
    await ship(archive, *(execution(n, queue=("mail", "report")[n % 2]) for n in range(20)))

    for where in (ExecutionFilter(), ExecutionFilter(queues=("mail", "report")), ExecutionFilter(q="no such")):
        seen: list[int] = []
        after = None
        for _ in range(25):
            page, after = await executions.search(where, limit=limit, after=after)
            assert len(page) <= limit
            seen += numbers(page)
            if after is None:
                break
        assert after is None
        assert seen == ([] if where.q else sorted(range(20), reverse=True))


async def test_a_cursor_of_somebody_else_is_refused(executions: PostgresExecutions) -> None:
    with pytest.raises(ConfigError, match="cursor must be one that the page before returned"):
        await executions.search(ExecutionFilter(), limit=5, after="nonsense")


async def test_executions_are_found_by_what_they_are(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    await ship(
        archive,
        execution(1, started_ms=NOW_MS - 4000),
        execution(2, "report", started_ms=NOW_MS - 3000),
        execution(3, started_ms=NOW_MS - 2000, outcome="retrying", error_class="KeyError"),
        execution(3, started_ms=NOW_MS - 1000, outcome="dead", attempt=2, error_class="KeyError", type="report.build"),
    )
    middle = datetime.fromtimestamp((NOW_MS - 2500) / 1000, UTC)

    assert await found(executions) == [3, 3, 2, 1]
    assert await found(executions, queue="mail") == [3, 3, 1]
    assert await found(executions, queue="mail", queues=("report",)) == []
    assert await found(executions, queues=("report", "nobody", "report")) == [2]
    assert await found(executions, queues=()) == []
    assert await found(executions, type="report.build") == [3]
    assert await found(executions, outcome="dead") == [3]
    assert await found(executions, outcome="completed") == [2, 1]
    assert await found(executions, ended=True) == [3, 2, 1]
    assert await found(executions, outcome="retrying", ended=True) == []
    assert await found(executions, since=middle) == [3, 3]
    assert await found(executions, until=middle) == [2, 1]
    assert await found(executions, queue="no\x00such", type="'; DROP TABLE x; --", q="\ud800 \x00") == []


WORDS: dict[str, bool] = {
    "ada": True,
    "ADA": True,
    "example.org": True,
    "ada@example.org": True,
    "exam": True,
    "xample": False,
    "order 17": True,
    "17 order": True,
    "order 18": False,
    "2026-11-22": True,
    "second line": True,
    "naïve": True,
    "KeyError": True,
    "missing col": True,
    "missing colour": False,
    "report.pdf": True,
    "bold": True,
    "subject": True,
    "-5": True,
    "' | !(*:& \\": False,
    "": False,
    "***": False,
}


@pytest.mark.parametrize("by_index", [False, True], ids=["among the newest", "by the index"])
@pytest.mark.parametrize(("q", "matches"), WORDS.items(), ids=list(WORDS))
async def test_words_are_found_in_payload_and_error(
    archive: PostgresArchive,
    executions: PostgresExecutions,
    monkeypatch: pytest.MonkeyPatch,
    q: str,
    matches: bool,
    by_index: bool,
) -> None:
    payload = {
        "to": "ada@example.org",
        "order": 17,
        "n": -5,
        "day": "2026-11-22",
        "subject": "first\nsecond line, naïve <b>bold</b>",
        "file": "/srv/report.pdf",
    }
    wanted = execution(
        1,
        outcome="dead",
        error_class="KeyError",
        error_message="column missing",
        payload=json.dumps(payload, ensure_ascii=False).encode(),
    )
    await ship(archive, wanted, execution(2, payload=b"{}"), execution(3))
    if by_index:
        monkeypatch.setattr(executions_module, "_NEWEST", 0)

    assert await found(executions, q=q) == ([1] if matches else [])


async def test_a_payload_that_is_no_text_is_left_out_and_its_row_kept(
    archive: PostgresArchive, executions: PostgresExecutions
) -> None:
    await ship(archive, *(execution(n, payload=p) for n, p in enumerate([b'{"a":"\xff"}', b"\x00", b'{"a":1}'])))

    page, _ = await executions.search(ExecutionFilter(), limit=5)

    assert [each.payload for each in page] == [b'{"a":1}', None, None]


async def test_any_payload_can_be_indexed(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    odd = [b"[" * 100_000, b'{"a":"' + b"x" * 100_000 + b'"}', b'{"a":"\\u0000\\ud800"}', b"1 " * 50_000, b"{", b""]
    await ship(archive, *(execution(n, payload=payload) for n, payload in enumerate(odd)))

    page, _ = await executions.search(ExecutionFilter(), limit=50)

    assert {each.payload for each in page} == set(odd)


NONE = (None,) * 9


async def explained(sql: asyncpg.Connection, query: str, *args: object) -> str:
    async with sql.transaction():
        await sql.execute(SQL.plan_for_these)
        return "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}", *args))


async def test_every_search_is_answered_from_an_index(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    rare = {7: {"type": "rare"}, 8: {"queue": "report"}, 9: {"payload": b'{"to":"unique"}'}}
    day = [
        execution(n, **{"started_ms": NOW_MS - n, "payload": b'{"to":"ada","n":%d}' % n, **rare.get(n, {})})
        for n in range(5000)
    ]
    await ship(archive, *day)
    await sql.execute("ANALYZE jobqueue.executions")

    newest = await explained(sql, SQL.search, "jq", *NONE, None, 50)
    of_type = await explained(sql, SQL.search, "jq", "rare", *NONE[1:], None, 50)
    of_queue = await explained(sql, SQL.search, "jq", *NONE, "report", 50)
    words = await explained(sql, SQL.search_words, "jq", *NONE, None, 50, "unique")
    span = (datetime.now(UTC), datetime.now(UTC), timedelta(seconds=1))
    since = await explained(sql, SQL.series_of_rows, "jq", None, *span)
    errors = await explained(sql, SQL.errors, "jq", None, datetime.now(UTC), 20)

    assert "_namespace_finished_at_idx" in newest
    assert "_namespace_type_finished_at_idx" in of_type
    assert "_namespace_queue_finished_at_idx" in of_queue
    assert "_words_idx" in words
    assert "Bitmap Index Scan" in words
    for plan in (newest, of_type, of_queue, words, since, errors):
        assert "Seq Scan on executions_succeeded" not in plan, plan


async def test_the_newest_of_a_failure_are_looked_for_among_failures(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    await ship(archive, *(execution(n, outcome="dead" if n == 7 else "completed") for n in range(100)))

    plan = await explained(sql, SQL.search, "jq", None, ["dead"], True, *NONE[3:], None, 50)

    assert "executions_failed" in plan
    assert "executions_succeeded" not in plan


async def test_frequent_words_are_found_without_their_index(
    archive: PostgresArchive, executions: PostgresExecutions, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ship(archive, *(execution(n, started_ms=NOW_MS - n, payload=b'{"to":"ada"}') for n in range(100)))
    monkeypatch.setattr(executions_module, "_NEWEST", 30)
    asked: list[str] = []
    rows = Session.rows

    async def noted(self: Session, query: str, *args: object) -> list[asyncpg.Record]:
        asked.append(query)
        return await rows(self, query, *args)

    monkeypatch.setattr(Session, "rows", noted)

    first, after = await executions.search(ExecutionFilter(q="ada"), limit=20)
    second, _ = await executions.search(ExecutionFilter(q="ada"), limit=25, after=after)
    last, end = await executions.search(ExecutionFilter(q="ada"), limit=100)

    assert asked == [SQL.search_newest] * 3 + [SQL.search_words]
    assert numbers(first) + numbers(second) == list(range(45))
    assert (numbers(last), end) == (list(range(100)), None)


async def test_what_was_shipped_without_payload_costs_the_index_of_words_nothing(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    size = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname LIKE '%succeeded%words_idx'"
    await ship(archive, execution(1))
    before = await sql.fetchval(size)

    await ship(archive, *(execution(n) for n in range(2000)))

    assert await sql.fetchval(size) == before
