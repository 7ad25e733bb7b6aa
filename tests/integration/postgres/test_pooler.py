"""Behind a transaction pooler: no session state, no named statement, no startup parameter that it refuses."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobqueue.config import PostgresSettings
from jobqueue.embedded.server import free_port
from jobqueue.repository.postgres.archive import PostgresArchive
from tests.integration.postgres.conftest import Connect, dead_letters_of
from tests.integration.postgres.journal import FileJournal, job_id_of, ship_all
from tests.integration.postgres.test_dead_letters import FakeBroker

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
async def pooled_url(url: str, tmp_path: Path) -> AsyncIterator[str]:
    if PROGRAM is None:
        pytest.skip("pgbouncer is not on PATH")
    server, port, name = urlsplit(url), free_port(), url.rpartition("/")[2]
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host=127.0.0.1 port={server.port} dbname={name} user=jobqueue\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    pooler = _start(PROGRAM, config)
    try:
        await _until_it_listens(port)
        yield f"postgresql://jobqueue@127.0.0.1:{port}/{name}"
    finally:
        pooler.kill()
        pooler.wait()


def _start(program: str, config: Path) -> "subprocess.Popen[bytes]":
    if os.geteuid() != 0:
        return subprocess.Popen([program, "-q", str(config)])
    for path in config.parents[:3]:
        path.chmod(0o755)  # pgbouncer refuses root and must become nobody, who has to come by here
    return subprocess.Popen([program, "-q", str(config)], user="nobody")


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def test_everything_works_behind_a_transaction_pooler(pooled_url: str, connect: Connect, tmp_path: Path) -> None:
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
