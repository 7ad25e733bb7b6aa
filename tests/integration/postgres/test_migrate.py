"""The schema goes up and down, by the runner and by psql alike, by one runner at a time."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from jobqueue.embedded import PostgresServer
from jobqueue.errors import ConfigError, RepositoryError, RepositoryUnavailable
from jobqueue.repository.postgres.migrate import (
    MigrationState,
    migrate_down,
    migrate_up,
    migration_status,
    pending,
)
from jobqueue.repository.postgres.migration import Migration, Script, find_migrations
from tests.integration.postgres.conftest import sibling

NEWEST = len(find_migrations())
MIGRATIONS = Path(__file__).parents[3] / "migrations"

DUMP = """
    SELECT 'column' AS kind, format('%s.%s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)) AS what
    FROM pg_attribute WHERE attnum > 0 AND attrelid::regclass::text LIKE 'jobqueue.%'
    UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'jobqueue'
    UNION ALL SELECT 'function', pg_get_functiondef(oid) || coalesce(proacl::text, '')
    FROM pg_proc WHERE pronamespace = to_regnamespace('jobqueue')
    UNION ALL SELECT 'constraint', conrelid::regclass || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = to_regnamespace('jobqueue')
    ORDER BY 1, 2
"""


async def dump(url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(DUMP)
    finally:
        await connection.close()


async def states(url: str, migrations: list[Migration]) -> list[str]:
    return [each.state.value for each in await migration_status(url, migrations=migrations)]


def step(version: int, up: str = "", down: str = "", *, head: str = "") -> Migration:
    """A migration after ours that records itself as the rule demands."""
    name = f"step{version}"
    record = f"INSERT INTO jobqueue.migrations (version, name) VALUES ({version}, '{name}');"
    forget = f"DELETE FROM jobqueue.migrations WHERE version = {version};"
    return Migration(
        version,
        name,
        up=Script(f"{version:04d}_{name}.sql", f"{head}{up}\n{record}\n"),
        down=Script(f"{version:04d}_{name}.down.sql", f"{head}{down}\n{forget}\n"),
    )


@pytest.fixture
def more() -> list[Migration]:
    """Ours, and two more."""
    return [
        *find_migrations(),
        step(NEWEST + 1, "CREATE TABLE jobqueue.one (id int);", "DROP TABLE jobqueue.one;"),
        step(NEWEST + 2, "CREATE TABLE jobqueue.two (id int);", "DROP TABLE jobqueue.two;"),
    ]


async def test_up_and_down_and_up_again(empty_database_url: str) -> None:
    before = await dump(empty_database_url)
    ran = await migrate_up(empty_database_url)
    schema = await dump(empty_database_url)

    assert [each.version for each in ran] == list(range(1, NEWEST + 1))
    assert await migrate_up(empty_database_url) == []
    back = await migrate_down(empty_database_url, to=0)
    assert [each.version for each in back] == list(range(NEWEST, 0, -1))
    assert await dump(empty_database_url) == before == []
    await migrate_up(empty_database_url)
    assert await dump(empty_database_url) == schema


async def test_down_takes_partitions_and_data_with_it(database_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("SELECT jobqueue.ensure_partitions(ARRAY['2026-01-01'::date])")

    await migrate_down(database_url, to=0)

    assert await sql.fetchval("SELECT to_regnamespace('jobqueue')") is None


async def test_one_step_at_a_time_and_to_a_version(empty_database_url: str, more: list[Migration]) -> None:
    assert len(await migrate_up(empty_database_url, to=NEWEST, migrations=more)) == NEWEST
    assert [each.file for each in await migrate_up(empty_database_url, migrations=more)] == [
        more[-2].up.file,
        more[-1].up.file,
    ]
    assert [each.file for each in await migrate_down(empty_database_url, migrations=more)] == [more[-1].down.file]
    assert [each.file for each in await migrate_down(empty_database_url, to=NEWEST, migrations=more)] == [
        more[-2].down.file
    ]
    assert await migrate_down(empty_database_url, to=NEWEST, migrations=more) == []
    assert await states(empty_database_url, more) == ["applied"] * NEWEST + ["pending"] * 2


@pytest.mark.parametrize("to", [-1, 99])
async def test_an_unknown_version_is_refused(empty_database_url: str, to: int) -> None:
    with pytest.raises(ConfigError, match=f"no migration {to}; this jobqueue has 1 to {NEWEST}"):
        await migrate_up(empty_database_url, to=to)


async def test_status_tells_applied_from_pending(empty_database_url: str, more: list[Migration]) -> None:
    nothing = await migration_status(empty_database_url, migrations=more)
    await migrate_up(empty_database_url, to=NEWEST, migrations=more)
    some = await migration_status(empty_database_url, migrations=more)

    assert pending(nothing) == nothing
    assert [each.version for each in pending(some)] == [NEWEST + 1, NEWEST + 2]
    assert some[0].applied_at is not None
    assert not some[0].by_psql
    assert some[0].name == more[0].name


async def test_a_dry_run_shows_the_sql_and_changes_nothing(empty_database_url: str) -> None:
    shown = await migrate_up(empty_database_url, dry_run=True)

    assert "CREATE TABLE jobqueue.executions" in shown[0].sql
    assert await dump(empty_database_url) == []
    await migrate_up(empty_database_url)
    before = await dump(empty_database_url)
    assert "DROP TABLE jobqueue.executions" in (await migrate_down(empty_database_url, to=0, dry_run=True))[-1].sql
    assert await dump(empty_database_url) == before


async def test_a_changed_file_stops_everything(empty_database_url: str, more: list[Migration]) -> None:
    await migrate_up(empty_database_url, migrations=more)
    changed = list(more)
    changed[-2] = replace(more[-2], up=replace(more[-2].up, sql=more[-2].up.sql + "-- more\n"))

    assert await states(empty_database_url, changed) == ["applied"] * NEWEST + ["changed", "applied"]
    for migrate in (migrate_up, migrate_down):
        with pytest.raises(RepositoryError, match=r"step2 was changed after it was applied|bring the file back"):
            await migrate(empty_database_url, migrations=changed)
    assert await states(empty_database_url, more) == ["applied"] * (NEWEST + 2)


async def test_line_ends_are_no_change(empty_database_url: str, more: list[Migration]) -> None:
    await migrate_up(empty_database_url, migrations=more)
    windows = [replace(each, up=replace(each.up, sql=each.up.sql.replace("\n", "\r\n"))) for each in more]

    assert await migrate_up(empty_database_url, migrations=windows) == []


async def test_a_newer_database_is_left_alone(empty_database_url: str, more: list[Migration]) -> None:
    await migrate_up(empty_database_url, migrations=more)
    older = more[:-1]

    assert await states(empty_database_url, older) == ["applied"] * (NEWEST + 1) + ["unknown"]
    assert await migrate_up(empty_database_url, migrations=older) == []
    with pytest.raises(RepositoryError, match=f"migration {NEWEST + 2:04d} was applied by a newer jobqueue"):
        await migrate_down(empty_database_url, migrations=older)


async def test_a_failing_file_leaves_nothing_behind_and_names_its_line(
    empty_database_url: str, more: list[Migration]
) -> None:
    broken = [*more[:-1], step(NEWEST + 2, "CREATE TABLE jobqueue.two (id int);\n\nSELECT nonsense();")]

    with pytest.raises(
        RepositoryError, match=rf"{broken[-1].up.file} line 3 failed and left nothing behind: .*nonsense\(\)"
    ):
        await migrate_up(empty_database_url, migrations=broken)

    assert await states(empty_database_url, broken) == ["applied"] * (NEWEST + 1) + ["pending"]
    assert len(await migrate_up(empty_database_url, migrations=more)) == 1


async def test_a_file_that_does_not_record_itself_is_refused(empty_database_url: str, more: list[Migration]) -> None:
    silent = replace(more[-1], up=Script(more[-1].up.file, "CREATE TABLE jobqueue.two (id int);"))
    with pytest.raises(RepositoryError, match="does not record itself"):
        await migrate_up(empty_database_url, migrations=[*more[:-1], silent])
    assert await states(empty_database_url, more) == ["applied"] * (NEWEST + 1) + ["pending"]

    await migrate_up(empty_database_url, migrations=more)
    silent = replace(more[-1], down=Script(more[-1].down.file, "DROP TABLE jobqueue.two;"))
    with pytest.raises(RepositoryError, match="does not record itself"):
        await migrate_down(empty_database_url, migrations=[*more[:-1], silent])
    assert await states(empty_database_url, more) == ["applied"] * (NEWEST + 2)


async def test_a_file_may_run_without_a_transaction(empty_database_url: str) -> None:
    up = "-- a comment; with a semicolon;\nCREATE INDEX CONCURRENTLY extra\n ON jobqueue.dead_letters (type); "
    concurrent = step(NEWEST + 1, up, "DROP INDEX CONCURRENTLY jobqueue.extra;", head="-- jobqueue: no transaction\n")
    known = [*find_migrations(), concurrent]

    await asyncio.gather(
        migrate_up(empty_database_url, migrations=known), migrate_up(empty_database_url, migrations=known)
    )
    assert await states(empty_database_url, known) == ["applied"] * (NEWEST + 1)
    assert any("extra" in row["what"] for row in await dump(empty_database_url))

    await migrate_down(empty_database_url, migrations=known)
    assert not any("extra" in row["what"] for row in await dump(empty_database_url))


async def test_many_runners_at_once_apply_each_file_once(empty_database_url: str) -> None:
    ran = await asyncio.gather(*(migrate_up(empty_database_url) for _ in range(8)))

    assert sorted(len(each) for each in ran) == [0] * 7 + [NEWEST]
    assert await states(empty_database_url, find_migrations()) == ["applied"] * NEWEST


async def test_a_runner_waits_no_longer_than_it_is_told(empty_database_url: str) -> None:
    other = await asyncpg.connect(empty_database_url)
    await other.execute("SELECT pg_advisory_lock(7453010700000002)")

    with pytest.raises(RepositoryUnavailable, match="another migration runs"):
        await migrate_up(empty_database_url, wait=timedelta(milliseconds=100))

    await other.close()
    assert len(await migrate_up(empty_database_url)) == NEWEST


async def test_a_killed_runner_leaves_nothing_and_no_lock(empty_database_url: str) -> None:
    slow = [*find_migrations(), step(NEWEST + 1, "CREATE TABLE jobqueue.one (id int); SELECT pg_sleep(60);")]
    runner = asyncio.create_task(migrate_up(empty_database_url, migrations=slow))
    watcher = await asyncpg.connect(empty_database_url)
    async with asyncio.timeout(30):
        sleepers = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not await watcher.fetchval(sleepers):  # noqa: ASYNC110 - the server has no event for us
            await asyncio.sleep(0.01)

    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)

    assert await states(empty_database_url, slow) == ["applied"] * NEWEST + ["pending"]
    assert await migrate_up(empty_database_url, wait=timedelta(seconds=30)) == []
    await watcher.close()


async def test_a_connection_of_ones_own_may_be_used(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)

    await migrate_up(connection)

    assert [each.state for each in await migration_status(connection)] == [MigrationState.APPLIED] * NEWEST
    assert not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    await connection.close()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(RepositoryUnavailable, match=r"postgresql://ada:\*\*\*@127.0.0.1:1/x cannot be reached"):
        await migrate_up("postgresql://ada:hush@127.0.0.1:1/x")


def psql(url: str, file: Path) -> None:
    program = shutil.which("psql")
    if program is None:
        pytest.skip("psql is not on PATH")
    arguments = ["-XqAt", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", str(file)]
    subprocess.run([program, *arguments], check=True, capture_output=True, text=True, timeout=30)


async def test_psql_leaves_the_same_state_as_the_runner(postgres: PostgresServer, empty_database_url: str) -> None:
    by_runner = postgres.create_database(f"{empty_database_url.rpartition('/')[2]}_runner")
    await migrate_up(by_runner)

    for migration in find_migrations():
        psql(empty_database_url, MIGRATIONS / migration.up.file)

    assert await dump(empty_database_url) == await dump(by_runner)
    statuses = await migration_status(empty_database_url)
    assert [(each.state, each.by_psql) for each in statuses] == [(MigrationState.APPLIED, True)] * NEWEST
    assert await migrate_up(empty_database_url) == []


async def test_psql_takes_back_what_the_runner_did(empty_database_url: str) -> None:
    await migrate_up(empty_database_url)

    for migration in reversed(find_migrations()):
        psql(empty_database_url, MIGRATIONS / migration.down.file)

    assert await dump(empty_database_url) == []
    assert len(await migrate_up(empty_database_url)) == NEWEST


async def test_a_schema_made_beforehand_by_an_administrator_is_used(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE SCHEMA jobqueue")
    await connection.close()

    assert len(await migrate_up(empty_database_url)) == NEWEST


async def test_objects_of_others_stop_the_way_down(database_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("CREATE VIEW public.mine AS SELECT job_id FROM jobqueue.dead_letters")

    with pytest.raises(RepositoryError, match="other objects depend on it"):
        await migrate_down(database_url, to=0)

    assert await sql.fetchval("SELECT count(*) FROM mine") == 0


async def test_two_databases_are_two_worlds(postgres: PostgresServer, empty_database_url: str) -> None:
    assert len(await migrate_up(empty_database_url)) == NEWEST
    assert await states(sibling(postgres.url, "postgres"), find_migrations()) == ["pending"] * NEWEST
