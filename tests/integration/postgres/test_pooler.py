"""Behind a transaction pooler: no session state, no named statement, no startup parameter that it refuses."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobqueue.config import PostgresSettings
from jobqueue.repository.postgres.archive import PostgresArchive
from tests.integration.postgres.conftest import Connect, dead_letters_of
from tests.integration.postgres.journal import FileJournal, job_id_of, ship_all
from tests.integration.postgres.test_dead_letters import FakeBroker
from testutil.pgbouncer import pgbouncer_obstacle, start_pgbouncer


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    if obstacle := pgbouncer_obstacle():
        pytest.skip(obstacle)
    with start_pgbouncer(urlsplit(database_url).port or 0, pool_size=2) as pooler:
        yield pooler.through(database_url)


async def test_f74_everything_works_behind_a_transaction_pooler(
    pooled_url: str, connect: Connect, tmp_path: Path
) -> None:
    """Behind pgbouncer in transaction mode, shipping and requeueing work as without it."""
    databases = [connect(PostgresSettings(url=pooled_url, statement_cache=0)) for _ in range(3)]
    archives = [PostgresArchive(each) for each in databases]
    broker = FakeBroker()
    journal, dead = FileJournal(tmp_path / "journal", entries=200), FileJournal(tmp_path / "dead", entries=50)

    await asyncio.gather(*(ship_all(each, journal) for each in archives))
    await asyncio.gather(*(ship_all(each, dead, kind="dead") for each in archives))
    answers = await asyncio.gather(
        *(dead_letters_of(databases[n % 3], broker).requeue(job_id_of(7)) for n in range(20))
    )

    assert answers.count(True) == 1
    assert (await dead_letters_of(databases[0]).accounted("mail")).waiting == 49
    assert await journal_rows(databases[0]) == 200


async def journal_rows(database: object) -> int:
    async with database.transaction() as session:  # type: ignore[attr-defined]
        counted: int = await session.value("SELECT count(*) FROM jobqueue.executions")
        return counted
