"""Keys and audit log in Postgres: what lies there, what cannot be changed, what finds its rows."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from jobqueue.access.base import AuditEntry
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind, Scope
from jobqueue.bootstrap import wire
from jobqueue.config import Settings
from jobqueue.errors import ConfigError, RepositoryUnavailable
from jobqueue.repository.postgres import Database, PostgresApiKeys, PostgresAuditLog
from jobqueue.repository.postgres.queries import AUDIT
from tests.integration.postgres.conftest import Connect

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(**options: object) -> AuditEntry:
    return AuditEntry(**{"at": NOW, "actor": "a", "action": "do", "target": "t", **options})  # type: ignore[arg-type]


async def test_s10_no_file_of_the_database_has_a_secret(database: Database, sql: asyncpg.Connection) -> None:
    secret, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    keys = PostgresApiKeys(database)
    await keys.add(key)
    await keys.revoke(key.id, at=NOW)
    await keys.used({key.id: NOW})
    await sql.execute("CHECKPOINT")
    folder = Path(await sql.fetchval("SHOW data_directory"))

    found = {"id": 0, "secret": 0}
    for path in (Path(place) / name for place, _, names in os.walk(folder) for name in names):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # the server removes files of its own
            continue
        found["id"] += key.id.encode() in content
        found["secret"] += secret[17:].encode() in content

    assert found["id"] >= 1
    assert found["secret"] == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobqueue.audit SET actor = 'nobody'",
        "DELETE FROM jobqueue.audit",
        "TRUNCATE jobqueue.audit",
        "INSERT INTO jobqueue.audit (entry_id, namespace, at, actor, action, target, detail, address, request_id) "
        "VALUES (1, 'jq', now(), '', '', '', '{}', '', '')",
        "BEGIN; SELECT jobqueue.drop_audit('2 days'); DELETE FROM jobqueue.audit; COMMIT",
        "SET jobqueue.audit_before = '2100-01-01'; UPDATE jobqueue.audit SET actor = 'nobody'",
    ],
)
async def test_s34_the_audit_log_only_grows_for_its_owner_too(
    database: Database, sql: asyncpg.Connection, statement: str
) -> None:
    log = PostgresAuditLog(database)
    await log.append(entry(at=datetime.now(UTC)))

    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.GeneratedAlwaysError)):
        await sql.execute(statement)

    if sql.is_in_transaction():
        await sql.execute("ROLLBACK")
    assert await sql.fetchval("SELECT count(*) FROM jobqueue.audit WHERE actor = 'a'") == 1


async def test_s34_old_entries_go_by_one_function_only(database: Database, sql: asyncpg.Connection) -> None:
    log, now = PostgresAuditLog(database), datetime.now(UTC)
    for n in range(5):
        await log.append(entry(at=now - n * 10 * DAY, target=str(n)))

    dropped = await sql.fetchval("SELECT jobqueue.drop_audit('25 days')")

    left, _ = await log.list(actor=None, action=None, target=None, limit=9, after=None)
    assert dropped == 2
    assert sorted(each.target for each in left) == ["0", "1", "2"]
    for keep in ("'1 hour'", "NULL", "'-1 day'"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="at least a day"):
            await sql.execute(f"SELECT jobqueue.drop_audit({keep})")


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "audit_newest"),
        ({"actor": "a20"}, "audit_of_actor"),
        ({"action": "do.20"}, "audit_of_action"),
        ({"target": "t20"}, "audit_of_target"),
    ],
)
async def test_each_filter_of_the_log_has_its_index(
    sql: asyncpg.Connection, filters: dict[str, str], index: str
) -> None:
    await sql.execute(
        "INSERT INTO jobqueue.audit (namespace, at, actor, action, target, detail, address, request_id) "
        "SELECT (ARRAY['jq', 'other'])[least(n % 20, 1) + 1], now(), 'a' || n % 1000, 'do.' || n % 900, "
        "'t' || n % 1100, '{}', '', '' "
        "FROM generate_series(1, 20000) AS n"
    )
    await sql.execute("ANALYZE jobqueue.audit")

    wanted = [filters.get(name) for name in ("actor", "action", "target")]
    plan = await sql.fetch(f"EXPLAIN {AUDIT.page}", "jq", *wanted, 15_000, 51)

    assert any(index in row[0] for row in plan), "\n".join(row[0] for row in plan)


async def test_namespaces_do_not_see_each_other(database: Database) -> None:
    mine, theirs = (PostgresApiKeys(database, namespace=name) for name in ("mine", "theirs"))
    logs = [PostgresAuditLog(database, namespace=name) for name in ("mine", "theirs")]
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    await mine.add(key)
    await logs[0].append(entry())

    assert not await theirs.any()
    assert await theirs.get(key.id) is None
    assert not await theirs.revoke(key.id, at=NOW)
    assert await logs[1].list(actor=None, action=None, target=None, limit=9, after=None) == ([], None)


async def test_a_scope_of_a_newer_version_is_no_right_here(database: Database, sql: asyncpg.Connection) -> None:
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW, scopes=[Scope.JOBS_READ])
    keys = PostgresApiKeys(database)
    await keys.add(key)
    await sql.execute("UPDATE jobqueue.api_keys SET scopes = scopes || ARRAY['moon:land']")

    assert await keys.get(key.id) == key


async def test_names_with_what_postgres_cannot_hold_are_kept_readable(database: Database) -> None:
    _, key = mint("billing \ud800", kind=Kind.CLIENT, created_by="cli:a\x00b", now=NOW)
    keys = PostgresApiKeys(database)

    await keys.add(key)

    kept = await keys.get(key.id)
    assert kept is not None
    assert (kept.name, kept.created_by) == ("billing \\ud800", "cli:a\\x00b")


async def test_postgres_away_is_said_as_such(connect: Connect) -> None:
    database = connect("postgresql://nobody@127.0.0.1:1/none")

    for ask in (PostgresApiKeys(database).get("abcd1234"), PostgresAuditLog(database).append(entry())):
        with pytest.raises(RepositoryUnavailable):
            await ask


async def test_a_cursor_of_another_store_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="cursor"):
        await PostgresAuditLog(database).list(actor=None, action=None, target=None, limit=1, after="1763812800000-0")


async def test_keys_that_were_made_before_postgres_came_are_void_and_not_forgotten(
    database_url: str, redis_url: str, namespace: str
) -> None:
    """Otherwise an API on loopback that had keys would be open to everybody once DATABASE_URL is set."""
    given = {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace}
    before, after = (
        wire(Settings.load({}, overrides=each)) for each in (given, {**given, "DATABASE_URL": database_url})
    )
    assert before.access is not None
    assert after.access is not None
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    at_first = await after.access.keys.any()
    await before.access.keys.add(key)

    assert not at_first
    assert await after.access.keys.any()
    assert await after.access.keys.get(key.id) is None
    assert await after.access.keys.list() == []
    await before.close()
    await after.close()
