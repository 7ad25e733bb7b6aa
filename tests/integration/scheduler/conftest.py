import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from jobqueue.broker import consumer
from jobqueue.embedded import PostgresServer, start_postgres
from jobqueue.repository.postgres.migrate import migrate_up
from tests.integration.worker.scene import Scene

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BLOCK_MS", 200)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        asyncio.run(migrate_up(server.create_database("migrated")))
        yield server


@pytest.fixture
async def scene(redis_url: str, namespace: str, postgres: PostgresServer) -> AsyncIterator[Scene]:
    """A namespace with history."""
    url = postgres.create_database(f"scene_{next(_numbers)}", template="migrated")
    scene = Scene(redis_url, namespace, database_url=url)
    yield scene
    await scene.close()
