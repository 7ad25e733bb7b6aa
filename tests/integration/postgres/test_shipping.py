"""Every record reaches Postgres exactly once, whatever dies, hangs or is cut off, and wherever."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobqueue.config import PostgresSettings
from jobqueue.errors import BrokerUnavailable, RepositoryUnavailable
from jobqueue.record import JournalKind
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database, Session
from tests.integration.postgres.conftest import Connect
from tests.integration.postgres.journal import FileJournal, execution, job_id_of, ship_all, ship_once
from tests.integration.postgres.proxy import CommitProxy, Cut

pytestmark = pytest.mark.usefixtures("exact_minutes")

ROOT = Path(__file__).parents[3]
TABLE = {"journal": "executions", "dead": "dead_letters", "ticks": "schedule_ticks"}
KINDS: list[JournalKind] = ["journal", "dead", "ticks"]


async def arrived(sql: asyncpg.Connection, kind: JournalKind, queue: str = "mail") -> list[str]:
    rows = await sql.fetch(f"SELECT job_id FROM jobqueue.{TABLE[kind]} WHERE queue = $1 ORDER BY job_id", queue)
    return [str(row["job_id"]) for row in rows]


def all_of(entries: int) -> list[str]:
    return [job_id_of(number) for number in range(1, entries + 1)]


@pytest.mark.parametrize("kind", KINDS)
async def test_everything_arrives_and_is_trimmed(
    archive: PostgresArchive, sql: asyncpg.Connection, tmp_path: Path, kind: JournalKind
) -> None:
    journal = FileJournal(tmp_path / "journal", entries=25)

    await ship_all(archive, journal, kind=kind)

    assert await arrived(sql, kind) == all_of(25)
    assert journal.remaining() == 0
    assert not await ship_once(archive, journal, kind=kind)


@pytest.mark.parametrize("step", ["locked", "read", "shipped", "committed", "trimmed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_f72_a_shipper_that_fails_between_two_steps_loses_and_doubles_nothing(
    archive: PostgresArchive, sql: asyncpg.Connection, tmp_path: Path, kind: JournalKind, step: str
) -> None:
    """A shipper that fails between any two steps loses and doubles nothing."""
    journal = FileJournal(tmp_path / "journal", entries=15)

    async def fail(name: str) -> None:
        if name == step:
            raise BrokerUnavailable("Redis went away here")

    with pytest.raises(BrokerUnavailable, match="Redis went away here"):
        await ship_once(archive, journal, kind=kind, step=fail)
    await ship_all(archive, journal, kind=kind)

    assert await arrived(sql, kind) == all_of(15)


@pytest.mark.parametrize("kind", ["dead", "ticks"])
@pytest.mark.parametrize("step", ["locked", "shipped", "committed"])
async def test_f72_a_shipper_killed_with_9_between_two_steps_loses_and_doubles_nothing(
    archive: PostgresArchive, sql: asyncpg.Connection, database_url: str, tmp_path: Path, kind: JournalKind, step: str
) -> None:
    """A shipper killed with SIGKILL between two steps, also between COMMIT and trim, loses and doubles nothing."""
    journal = FileJournal(tmp_path / "journal", entries=15)
    doomed = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.postgres.doomed_shipper", database_url, str(tmp_path / "journal"), kind, step),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert doomed.stdout is not None
    assert await doomed.stdout.readline() == f"{step}\n".encode()

    doomed.kill()
    await doomed.wait()
    await ship_all(archive, journal, kind=kind)

    assert await arrived(sql, kind) == all_of(15)


class Disturbance:
    """Lets operations on Postgres pass until the *at*-th, and then does something else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
        self._act = act
        self.left: int | None = None
        for owner, name in [
            (Session, "rows"),
            (Session, "row"),
            (Session, "value"),
            (Session, "copy_packed"),
            (Session, "_command"),
            (asyncpg.pool.PoolConnectionProxy, "execute"),  # BEGIN and COMMIT
        ]:
            monkeypatch.setattr(owner, name, self._disturbed(getattr(owner, name)))

    def _disturbed(self, real: Callable[..., Any]) -> Callable[..., Any]:
        async def method(*args: Any, **options: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left == 0:
                    self._act()
            return await real(*args, **options)

        return method


def lose_the_connection() -> None:
    raise ConnectionResetError("the connection was lost here")


def cancel_the_caller() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.mark.parametrize("act", [lose_the_connection, cancel_the_caller])
async def test_f71_a_shipper_that_dies_at_any_operation_on_postgres_loses_and_doubles_nothing(
    archive: PostgresArchive,
    sql: asyncpg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], None],
) -> None:
    """A connection that dies at any operation on Postgres loses and doubles nothing."""
    disturbance = Disturbance(monkeypatch, act)
    survived = False
    operation = 0

    while not survived:
        operation += 1
        queue = f"queue{operation}"
        journal = FileJournal(tmp_path / queue, entries=15)
        disturbance.left = operation
        result = await asyncio.gather(ship_once(archive, journal, queue=queue), return_exceptions=True)
        survived, disturbance.left = result[0] is True, None
        await ship_all(archive, journal, queue=queue)
        assert await arrived(sql, "journal", queue) == all_of(15), f"died at operation {operation}"

    assert operation > 8, "every operation from BEGIN to COMMIT had its turn"


@pytest.mark.parametrize("cut", ["before commit", "after commit"])
@pytest.mark.parametrize("kind", KINDS)
async def test_f71_a_connection_cut_during_commit_loses_and_doubles_nothing(
    connect: Connect, settings: PostgresSettings, sql: asyncpg.Connection, tmp_path: Path, cut: Cut, kind: JournalKind
) -> None:
    """A connection cut around COMMIT: the cursor in Postgres tells whether it happened; every row arrives once."""
    journal = FileJournal(tmp_path / "journal", entries=25)
    async with CommitProxy(settings.url or "").running() as proxy:
        database = connect(replace(settings, url=proxy.url))
        archive = PostgresArchive(database)
        await ship_once(archive, journal, kind=kind)

        proxy.arm(cut)
        with pytest.raises(RepositoryUnavailable):
            await ship_once(archive, journal, kind=kind)
        there = await arrived(sql, kind)
        await ship_all(archive, journal, kind=kind)
        await database.close()

    assert proxy.cuts == 1
    assert there == all_of(20 if cut == "after commit" else 10)
    assert await arrived(sql, kind) == all_of(25)


async def test_many_shippers_at_once_ship_each_entry_once(
    connect: Connect, settings: PostgresSettings, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    journal = FileJournal(tmp_path / "journal", entries=300)
    archives = [PostgresArchive(connect(settings)) for _ in range(5)]

    await asyncio.gather(*(ship_all(archive, journal) for archive in archives))

    assert await arrived(sql, "journal") == all_of(300)


async def test_only_one_shipper_holds_a_cursor_and_the_others_do_not_wait(archive: PostgresArchive) -> None:
    async with (
        archive.cursor("mail", "journal", "e1") as held,
        archive.cursor("mail", "journal", "e1") as refused,
        archive.cursor("mail", "dead", "e1") as other_kind,
        archive.cursor("mail", "journal", "e2") as other_epoch,
    ):
        assert held is not None
        assert refused is None
        assert other_kind is not None
        assert other_epoch is not None


async def test_a_cursor_deleted_by_hand_is_made_again(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[execution(1)], dead_letters=[], upto="7-0")
    await sql.execute("DELETE FROM jobqueue.shipping_cursors")

    async with archive.cursor("mail", "journal", "e1") as gone:
        assert gone is None
    async with archive.cursor("mail", "journal", "e1") as again:
        assert again is not None
        assert again.position == "0-0"


async def test_several_pages_may_go_in_one_transaction(archive: PostgresArchive, sql: asyncpg.Connection) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[execution(1)], dead_letters=[], upto="1-0")
        await cursor.ship(executions=[execution(2)], dead_letters=[], upto="2-0")
        assert cursor.position == "2-0"

    assert await arrived(sql, "journal") == all_of(2)
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        assert cursor.position == "2-0"


async def test_a_large_page_goes_in_bites_and_in_one_transaction(
    archive: PostgresArchive, sql: asyncpg.Connection
) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=[execution(n) for n in range(1, 12_001)], dead_letters=[], upto="1-0")
        assert await arrived(sql, "journal") == []

    assert await arrived(sql, "journal") == all_of(12_000)


async def test_namespaces_do_not_share_cursors(archive: PostgresArchive, database: Database) -> None:
    async with (
        archive.cursor("mail", "journal", "e1") as one,
        PostgresArchive(database, namespace="other").cursor("mail", "journal", "e1") as other,
    ):
        assert one is not None
        assert other is not None
