"""Real servers, proxies in front of them, queues and workers on them: the scenes of the fault tests.

The session's servers (`redis_url`, `debian`, `postgres`) are shared: disturb only what is in your own namespace.
`own_server` is this test's alone.
"""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from jobqueue.broker import consumer
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.registry import Registry
from tests.faults.crash_scene import CrashScene
from tests.integration.worker.scene import Scene
from testutil.proxy import FaultProxy, fault_proxy

MakeBroker = Callable[..., RedisStreamsBroker]

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of nothing waits 200 ms in this process, not 2 s."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 200)


# servers


@pytest.fixture(scope="session")
def debian() -> Iterator[RedisServer]:
    """The session's other Redis: the machine's own redis-server."""
    if find_redis_server() is None:
        pytest.skip("no redis-server on PATH")
    with start_redis(binary="redis-server", appendonly=False) as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Valkey to be filled, flushed, stopped or killed; what it has acknowledged is on disk."""
    with start_redis(appendonly=True, appendfsync="always") as server:
        yield server


@pytest.fixture
async def crashes(redis_url: str, namespace: str, database_url: str, tmp_path: Path) -> AsyncIterator[CrashScene]:
    # A name that no process of another run knows, should one have outlived it.
    scene = CrashScene(redis_url, f"{namespace}_{os.getpid()}", database_url, tmp_path)
    yield scene
    await scene.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    """In front of the session's Valkey."""
    async with fault_proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def own_proxy(own_server: RedisServer) -> AsyncIterator[FaultProxy]:
    """In front of `own_server`."""
    async with fault_proxy(own_server.url) as proxy:
        yield proxy


# clients


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client of the session's Valkey, to look with and to disturb with."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def own_raw(own_server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(own_server.url) as client:
        yield client


@pytest.fixture
async def make_broker(namespace: str, redis_url: str) -> AsyncIterator[MakeBroker]:
    """Brokers on the session's Valkey, or on *url*; closed after the test."""
    made: list[RedisStreamsBroker] = []

    def make(url: str = redis_url, **options: Any) -> RedisStreamsBroker:
        made.append(RedisStreamsBroker(url, namespace=namespace, **options))
        return made[-1]

    yield make
    for broker in made:
        await broker.close()


# queues and workers; every queue is audited when its test is over


@pytest.fixture
async def scene(redis_url: str, namespace: str) -> AsyncIterator[Scene]:
    """On the session's Valkey."""
    scene = Scene(redis_url, namespace)
    yield scene
    await scene.close()


@pytest.fixture
async def own_scene(own_server: RedisServer, namespace: str) -> AsyncIterator[Scene]:
    """On `own_server`."""
    scene = Scene(own_server.url, namespace)
    yield scene
    await scene.close()


@pytest.fixture
async def stored_scene(redis_url: str, namespace: str, database_url: str) -> AsyncIterator[Scene]:
    """On the session's Valkey, with history and dead letters in a database of its own."""
    scene = Scene(redis_url, namespace, database_url=database_url)
    yield scene
    await scene.close()


@pytest.fixture
def registry(scene: Scene) -> Registry:
    """The tasks of `scene`'s workers."""
    return scene.registry
