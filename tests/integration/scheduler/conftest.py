from collections.abc import AsyncIterator

import pytest

from jobqueue.broker import consumer
from tests.integration.worker.scene import Scene, seconds


@pytest.fixture(autouse=True)
def _short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BLOCK_MS", 200)


@pytest.fixture
async def scene(redis_url: str, namespace: str, database_url: str) -> AsyncIterator[Scene]:
    """A namespace with history."""
    scene = Scene(redis_url, namespace, lease=seconds(15), database_url=database_url)
    yield scene
    await scene.close()
