from collections.abc import AsyncIterator, Iterator

import pytest

from jobqueue.broker import consumer
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.registry import Registry
from tests.integration.worker.scene import Scene, seconds

# So that no stop of a second costs a worker its lease. Who waits for one to run out says so, with a shorter one.
LEASE = seconds(3)


@pytest.fixture(autouse=True)
def _short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BLOCK_MS", 200)


@pytest.fixture
async def scene(redis_url: str, namespace: str) -> AsyncIterator[Scene]:
    scene = Scene(redis_url, namespace, lease=LEASE)
    yield scene
    await scene.close()


@pytest.fixture
def registry(scene: Scene) -> Registry:
    return scene.registry


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be stopped, flushed or killed."""
    with start_redis(appendonly=True, appendfsync="always") as server:
        yield server


@pytest.fixture
async def own_scene(own_server: RedisServer, namespace: str) -> AsyncIterator[Scene]:
    scene = Scene(own_server.url, namespace, lease=LEASE)
    yield scene
    await scene.close()
