"""Every broker that must keep the contract, by name; the tests ask for one and do not see which."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.broker import consumer
from jobqueue.broker.base import Broker
from jobqueue.broker.dead_letters import RedisDeadLetters
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.repository.base import DeadLetters
from jobqueue.testing.memory import MemoryBroker, MemoryDeadLetters

BLOCK = timedelta(milliseconds=40)
LEASE = timedelta(seconds=15)

MakeBroker = Callable[..., Any]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if find_redis_server() is None:
        pytest.skip("no redis-server on PATH")
    with start_redis(binary="redis-server", appendonly=False) as server:
        yield server


@pytest.fixture(params=["memory", "valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make_broker(
    kind: str, request: pytest.FixtureRequest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeBroker]:
    """Brokers of one kind; afterwards, every queue of theirs must obey the invariants."""
    monkeypatch.setattr(consumer, "BLOCK_MS", BLOCK // timedelta(milliseconds=1))
    made: list[MemoryBroker | RedisStreamsBroker] = []
    server: RedisServer | None = None
    if kind != "memory":
        server = request.getfixturevalue("valkey" if kind == "valkey" else "redis_server")

    def make(*, lease: timedelta = LEASE, max_crashes: int = 3, history: bool = True) -> Broker:
        if server is None:
            made.append(MemoryBroker(lease=lease, max_crashes=max_crashes, history=history, block=BLOCK))
        else:
            options = {"lease": lease, "max_crashes": max_crashes, "history": history}
            made.append(RedisStreamsBroker(server.url, namespace=namespace, **options))
        return made[-1]

    yield make
    for broker in made:
        for queue in await broker.queues():
            stats = await broker.stats(queue)
            assert stats.drift == 0
            assert stats.died - stats.requeued - stats.purged == stats.dead
            if isinstance(broker, RedisStreamsBroker):
                assert await check_queue(broker, queue) == []
        await broker.close()


@pytest.fixture
async def broker(make_broker: MakeBroker) -> Broker:
    made: Broker = make_broker()
    return made


@pytest.fixture
async def letters(broker: Broker) -> DeadLetters:
    """The dead-letter queue over *broker*'s own store. Postgres's joins here."""
    if isinstance(broker, MemoryBroker):
        return MemoryDeadLetters(broker)
    assert isinstance(broker, RedisStreamsBroker)
    return RedisDeadLetters(broker)
