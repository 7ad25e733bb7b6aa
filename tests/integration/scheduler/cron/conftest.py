from collections.abc import AsyncIterator

import pytest

from tests.integration.worker.scene import Scene, seconds


@pytest.fixture
async def bare(redis_url: str, namespace: str) -> AsyncIterator[Scene]:
    """A namespace without Postgres: definitions and records are in Redis."""
    scene = Scene(redis_url, namespace, lease=seconds(15))
    yield scene
    await scene.close()
