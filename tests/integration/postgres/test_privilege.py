"""Everything but migrating works under a role with the grants of the documentation, and that role can do no more."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from jobqueue.access.base import AuditEntry
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind
from jobqueue.config import PostgresSettings
from jobqueue.embedded import PostgresServer
from jobqueue.errors import RepositoryError
from jobqueue.repository.base import ExecutionFilter, LetterFilter
from jobqueue.repository.postgres import (
    PostgresApiKeys,
    PostgresAuditLog,
    PostgresScheduleStore,
    PostgresTickRecords,
)
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.executions import PostgresExecutions
from jobqueue.repository.postgres.migrate import migrate_up, migration_status
from jobqueue.repository.schedules import TickFilter
from tests.contract.test_schedule_store import changed, first
from tests.integration.postgres.conftest import Connect, dead_letters_of
from tests.integration.postgres.journal import FileJournal, dead_letter, execution, job_id_of, ship_all, tick
from tests.integration.postgres.test_dead_letters import FakeBroker

PAGE = Path(__file__).parents[3] / "docs/reference/sql-schema.md"


def documented_grants() -> str:
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    grants: str
    [grants] = [block for block in blocks if "CREATE ROLE jobqueue_run" in block]
    return grants


@pytest.fixture(scope="session")
def run_role(postgres: PostgresServer) -> str:
    """The role, made once: roles belong to the whole postgres."""

    async def make() -> None:
        admin = await asyncpg.connect(postgres.url)
        await admin.execute(next(line for line in documented_grants().splitlines() if "CREATE ROLE" in line))
        await admin.close()

    asyncio.run(make())
    return "jobqueue_run"


@pytest.fixture
async def run_url(run_role: str, database_url: str, sql: asyncpg.Connection) -> str:
    await sql.execute("\n".join(line for line in documented_grants().splitlines() if "CREATE ROLE" not in line))
    await sql.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    return database_url.replace("//jobqueue@", f"//{run_role}@")


@pytest.mark.parametrize("statement_cache", [100, 0], ids=["cached", "statement_cache=0"])
async def test_the_run_role_does_all_the_work(
    run_url: str, connect: Connect, tmp_path: Path, statement_cache: int
) -> None:
    database = connect(PostgresSettings(url=run_url, statement_cache=statement_cache))
    archive, broker = PostgresArchive(database), FakeBroker()
    letters, executions = dead_letters_of(database, broker), PostgresExecutions(database)

    await ship_all(archive, FileJournal(tmp_path / "journal", entries=30))
    await ship_all(archive, FileJournal(tmp_path / "dead", entries=30), kind="dead")
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[execution(99, started_ms=1)], dead_letters=[], upto="9-99")
        await cursor.ship(executions=[execution(98, attempt=2**40)], dead_letters=[], upto="9-98")
    dropped = await archive.retire(keep_successes=timedelta(days=7), keep_failures=timedelta(days=30))

    assert dropped > 0
    assert await letters.requeue(job_id_of(3))
    assert await letters.delete(job_id_of(4))
    assert (await letters.accounted("mail")).waiting == 28
    assert len((await letters.list(LetterFilter(), limit=10))[0]) == 10
    assert await letters.finish_requeues(older_than=timedelta(0)) == 0
    assert len(await executions.of_job(job_id_of(5))) == 1
    assert len(await executions.recent(limit=9)) == 9
    assert await executions.count_by_outcome() == {"completed": 31}
    assert len((await executions.search(ExecutionFilter(q="nothing"), limit=9))[0]) == 0
    assert len((await executions.search(ExecutionFilter(queues=("mail",)), limit=9))[0]) == 9
    day = timedelta(days=1)
    assert len(await executions.series(since=datetime.now(UTC) - day, bucket=2 * day)) == 1
    assert await executions.errors(since=datetime.now(UTC) - day, limit=9) == []
    assert await letters.requeue(job_id_of(5), payload=b"{}")
    assert (await letters.requeue_where(LetterFilter(), limit=2)).done == 2
    assert (await letters.delete_where(LetterFilter(), limit=2)).done == 2
    assert [each.count for each in await letters.groups(LetterFilter(), limit=9)] == [23]
    assert len(await migration_status(run_url)) > 0


async def test_the_run_role_keeps_keys_and_audit_log(run_url: str, connect: Connect) -> None:
    database, now = connect(run_url), datetime.now(UTC)
    keys, log = PostgresApiKeys(database), PostgresAuditLog(database)
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=now)

    await keys.add(key)
    assert await keys.get(key.id) == key
    assert len(await keys.list()) == 1
    assert await keys.any()
    await keys.used({key.id: now})
    assert await keys.revoke(key.id, at=now)
    await log.append(AuditEntry(at=now, actor="a", action="b", target="c"))
    assert len((await log.list(actor="a", action="b", target="c", limit=1, after=None))[0]) == 1


async def test_the_run_role_keeps_schedules_and_the_record_of_ticks(
    run_url: str, connect: Connect, tmp_path: Path
) -> None:
    database, now = connect(run_url), datetime.now(UTC)
    archive, store, records = PostgresArchive(database), PostgresScheduleStore(database), PostgresTickRecords(database)

    assert await store.put(first("a"), expected=0)
    assert await store.put(changed(first("a")), expected=1)
    await store.add_missing([first("a"), first("b")])
    assert [each.version for each in await store.list()] == [2, 1]
    assert await store.get("b") == first("b")
    assert await store.revision() > 0
    await ship_all(archive, FileJournal(tmp_path / "ticks", entries=30), kind="ticks")
    async with archive.cursor("mail", "ticks", "e1", "new") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[], dead_letters=[], ticks=[tick(1), tick(31)], upto="9-0")
    await archive.retire(keep_successes=timedelta(days=7), keep_failures=timedelta(days=30))
    assert len((await records.search(TickFilter(), limit=99))[0]) == 31
    assert len(await records.newest(["digest0", "digest1"])) == 2
    assert len(await records.fired("digest0", since=now - timedelta(days=1), until=now)) == 10


FORBIDDEN = [
    "DELETE FROM jobqueue.schedule_revisions",
    "UPDATE jobqueue.schedule_ticks SET decision = 'fired'",
    "DELETE FROM jobqueue.schedule_ticks",
    "DROP TABLE jobqueue.executions",
    "DELETE FROM jobqueue.executions",
    "UPDATE jobqueue.executions SET outcome = 'completed'",
    "TRUNCATE jobqueue.dead_letters",
    "DELETE FROM jobqueue.execution_minutes",
    "UPDATE jobqueue.execution_minutes SET minute = now()",
    "SELECT jobqueue.recount_minutes('2026-01-01', '2026-01-02')",
    "CREATE TABLE jobqueue.mine (id int)",
    "ALTER TABLE jobqueue.dead_letters ADD COLUMN mine int",
    "UPDATE jobqueue.migrations SET checksum = NULL",
    "DELETE FROM jobqueue.shipping_cursors",
    "UPDATE jobqueue.api_keys SET scopes = '{keys:admin}'",
    "UPDATE jobqueue.api_keys SET digest = decode(repeat('00', 32), 'hex')",
    "DELETE FROM jobqueue.api_keys",
    "UPDATE jobqueue.audit SET actor = 'nobody'",
    "DELETE FROM jobqueue.audit",
    "TRUNCATE jobqueue.audit",
    "ALTER TABLE jobqueue.audit DISABLE TRIGGER ALL",
    "SELECT jobqueue.drop_audit('1 day')",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_run_role_may_do_no_more(run_url: str, statement: str) -> None:
    connection = await asyncpg.connect(run_url)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)

    await connection.close()


async def test_the_run_role_cannot_migrate_and_hears_why(run_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("DELETE FROM jobqueue.migrations")

    with pytest.raises(RepositoryError, match=r"permission denied|must be owner"):
        await migrate_up(run_url)


async def test_a_role_without_grants_hears_where_they_are_listed(
    run_role: str, database_url: str, connect: Connect
) -> None:
    database = connect(database_url.replace("//jobqueue@", f"//{run_role}@"))

    with pytest.raises(RepositoryError, match=r"docs/reference/sql-schema\.md"):
        await dead_letters_of(database).count(LetterFilter())


async def test_the_makers_of_partitions_are_not_fooled_by_a_search_path(
    run_url: str, sql: asyncpg.Connection, connect: Connect
) -> None:
    await sql.execute("CREATE SCHEMA trap; GRANT ALL ON SCHEMA trap TO jobqueue_run")
    connection = await asyncpg.connect(run_url)
    await connection.execute(
        "CREATE FUNCTION trap.to_char(date, text) RETURNS text LANGUAGE sql AS $$ SELECT 'x; DROP TABLE y' $$"
    )
    await connection.execute("SET search_path = trap, pg_catalog")

    made = await connection.fetchval("SELECT jobqueue.ensure_partitions(ARRAY['2026-01-01'::date])")

    assert made == 2
    assert await sql.fetchval("SELECT to_regclass('jobqueue.executions_failed_20260101')") is not None
    await connection.close()
    async with PostgresArchive(connect(run_url)).cursor("mail", "dead", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[], dead_letters=[dead_letter(1)], upto="1-0")
