"""One bad row never holds up the others, and is not lost."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog
from structlog.testing import LogCapture

from jobqueue.embedded import PostgresServer
from jobqueue.errors import RepositoryError
from jobqueue.record import DeadLetter, Execution
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.migrate import migrate_up
from tests.integration.postgres.conftest import Connect, sibling
from tests.integration.postgres.journal import dead_letter, execution, job_id_of

pytestmark = pytest.mark.usefixtures("exact_minutes")


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


async def ship(
    archive: PostgresArchive, *, executions: list[Execution] | None = None, letters: list[DeadLetter] | None = None
) -> None:
    async with archive.cursor("mail", "journal" if executions else "dead", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions or [], dead_letters=letters or [], upto="9-0")


@pytest.mark.parametrize(
    ("poison", "stored"),
    [("nul\x00here", "nul\\x00here"), ("half \ud800 a pair", "half \\ud800 a pair"), ("naïve 🦆", "naïve 🦆")],
    ids=["nul", "surrogate", "unicode"],
)
async def test_text_that_postgres_cannot_hold_is_made_storable(
    archive: PostgresArchive, sql: asyncpg.Connection, logged: LogCapture, poison: str, stored: str
) -> None:
    await ship(archive, executions=[execution(1, error_message=poison, worker=poison, type=poison)])
    await ship(archive, letters=[dead_letter(1, error_message=poison, traceback=poison, unique_key=poison)])

    [row] = await sql.fetch("SELECT error_message, worker, type FROM jobqueue.executions")
    [letter] = await sql.fetch("SELECT error_message, traceback, unique_key FROM jobqueue.dead_letters")
    assert list(row) == list(letter) == [stored, stored, stored]
    assert logged.entries == []


POISONED_EXECUTIONS = {
    "no uuid": {"job_id": "not-a-uuid"},
    "attempt out of range": {"attempt": 2**40},
    "generation out of range": {"generation": -(2**70)},
}


@pytest.mark.parametrize("changes", POISONED_EXECUTIONS.values(), ids=POISONED_EXECUTIONS.keys())
async def test_a_refused_execution_is_stored_in_a_minimal_form_and_the_others_as_they_are(
    archive: PostgresArchive, sql: asyncpg.Connection, logged: LogCapture, changes: dict[str, Any]
) -> None:
    batch = [execution(number) for number in range(1, 30)]
    batch[13] = execution(14, error_message="ünlucky" * 100, **changes)

    await ship(archive, executions=batch)

    good = await sql.fetch("SELECT job_id FROM jobqueue.executions WHERE error_message IS NULL ORDER BY job_id")
    reduced = await sql.fetch("SELECT * FROM jobqueue.executions WHERE error_message IS NOT NULL")
    assert [str(row["job_id"]) for row in good] == [job_id_of(n) for n in range(1, 30) if n != 14]
    assert [row["error_message"] for row in reduced] == [("\\xfcnlucky" * 100)[:200]]
    assert [entry["event"] for entry in logged.entries] == ["archive.row_reduced"]
    assert logged.entries[0]["log_level"] == "error"


ABSURD_TIMES = [{"started_ms": 10**17}, {"started_ms": -5}, {"queued_ms": 10**30}, {"duration_ms": math.inf}]


@pytest.mark.parametrize("changes", ABSURD_TIMES, ids=str)
async def test_absurd_times_end_up_today(
    archive: PostgresArchive, sql: asyncpg.Connection, changes: dict[str, Any]
) -> None:
    await ship(archive, executions=[execution(1, **changes)])

    age = await sql.fetchval("SELECT now() - finished_at FROM jobqueue.executions")
    assert abs(age) < timedelta(days=1)


async def test_an_end_without_a_run_is_filed_under_now(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, executions=[execution(1, outcome="expired", attempt=0, started_ms=0, duration_ms=0.0)])

    [row] = await sql.fetch("SELECT failed, started_at, now() - finished_at AS age FROM jobqueue.executions")
    assert (row["failed"], row["started_at"]) == (True, None)
    assert abs(row["age"].total_seconds()) < 60


UNREADABLE_BODIES = {
    "empty": b"",
    "no json": b"\xff\x00\x01",
    "newer version": b'{"v":9,"type":"x","payload":{}}',
    "bad utf-8 in the payload": b'{"v":1,"type":"x","payload":{"a":"\xff\xfe"}}',
    "nul in the payload": b'{"v":1,"type":"x","payload":{"a":"\\u0000"}}',
    "surrogate in the payload": b'{"v":1,"type":"x","payload":{"a":"\\ud800"}}',
    "deep": b'{"v":1,"type":"x","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE_BODIES.values(), ids=UNREADABLE_BODIES.keys())
async def test_any_body_is_kept_to_the_byte(archive: PostgresArchive, sql: asyncpg.Connection, body: bytes) -> None:
    await ship(archive, letters=[dead_letter(1), dead_letter(2, body=body), dead_letter(3)])

    rows = await sql.fetch("SELECT body, payload FROM jobqueue.dead_letters ORDER BY job_id")
    assert [bytes(row["body"]) for row in rows] == [dead_letter(1).body, body, dead_letter(3).body]
    assert rows[0]["payload"] == '{"to":"ada@example.org","number":1}'


async def test_a_batch_of_nothing_but_poison_goes_through(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    await ship(archive, letters=[dead_letter(number, attempts=2**40) for number in range(50)])

    assert await sql.fetchval("SELECT count(*) FROM jobqueue.dead_letters") == 50


async def test_a_database_in_another_encoding_takes_what_it_can(postgres: PostgresServer, connect: Connect) -> None:
    admin = await asyncpg.connect(postgres.url)
    await admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    await admin.close()
    url = sibling(postgres.url, "latin")
    await migrate_up(url)

    await ship(
        PostgresArchive(connect(url)),
        letters=[dead_letter(1, error_message="naïve"), dead_letter(2, error_message="🦆")],
    )

    looking = await asyncpg.connect(url)
    messages = await looking.fetch("SELECT error_message FROM jobqueue.dead_letters ORDER BY job_id")
    await looking.close()
    assert [row["error_message"] for row in messages] == ["naïve", "\\U0001f986"]


async def test_a_schema_that_refuses_even_the_minimal_form_is_named(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER TABLE jobqueue.dead_letters ADD COLUMN stranger integer NOT NULL")

    with pytest.raises(RepositoryError, match=r"jobqueue.dead_letters refuses the row of job .* constraints, triggers"):
        await ship(archive, letters=[dead_letter(1)])

    async with archive.cursor("mail", "dead", "e1") as cursor:
        assert cursor is not None
        assert cursor.position == "0-0"
