"""Real servers and what disturbs them. Redis brokers here are asked directly, not through the port alone."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio

from jobqueue.broker import consumer
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, start_redis

MakeBroker = Callable[..., RedisStreamsBroker]


@pytest.fixture(autouse=True)
def _short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BLOCK_MS", 40)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be filled, flushed or killed."""
    with start_redis(appendonly=True, appendfsync="always") as server:
        yield server


@pytest.fixture
async def make_broker(namespace: str, redis_url: str) -> AsyncIterator[MakeBroker]:
    """Brokers on the session's server, or on *url*; closed after the test."""
    made: list[RedisStreamsBroker] = []

    def make(url: str = redis_url, **options: Any) -> RedisStreamsBroker:
        made.append(RedisStreamsBroker(url, namespace=namespace, **options))
        return made[-1]

    yield make
    for broker in made:
        await broker.close()


@pytest.fixture
async def broker(make_broker: MakeBroker) -> RedisStreamsBroker:
    return make_broker(history=True)


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client of its own, to look with and to disturb with."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def own_raw(own_server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(own_server.url) as client:
        yield client
