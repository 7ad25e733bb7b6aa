"""Every broker that must keep the contract, by name; the tests ask for one and do not see which."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.bootstrap import Parts, wire
from jobqueue.broker import consumer
from jobqueue.broker.base import Broker
from jobqueue.broker.dead_letters import RedisDeadLetters
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.config import PostgresSettings, Settings
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.repository.base import DeadLetters, LetterFilter
from jobqueue.repository.postgres import Database, PostgresArchive, PostgresDeadLetters
from jobqueue.scheduler.letters import FreshDeadLetters
from jobqueue.testing.memory import MemoryBroker, MemoryDeadLetters
from testutil.acl import acl_args, restricted
from testutil.strict import strict_keys
from testutil.topology import Topology, start_topology

_numbers = itertools.count()
BLOCK = timedelta(milliseconds=40)
LEASE = timedelta(seconds=15)
SERVER_OF = {"redis": "redis_server", "guarded": "guarded_server", "sentinel": "sentinel", "cluster": "cluster"}

MakeBroker = Callable[..., Any]


@asynccontextmanager
async def wired_parts(kind: str, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Parts]:
    """What `wire` makes of settings: on this kind of Redis, or on Valkey with a Postgres database of its own."""
    url = request.getfixturevalue(SERVER_OF.get(kind, "valkey")).url
    given: dict[str, object] = {
        "REDIS_URL": restricted(url) if kind == "guarded" else url,
        "JOBQUEUE_NAMESPACE": namespace,
    }
    if kind == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("database_url")
    parts = wire(Settings.load({}, overrides=given))
    try:
        with strict_keys() if kind == "guarded" else nullcontext():
            yield parts
    finally:
        await parts.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if find_redis_server() is None:
        pytest.skip("no redis-server on PATH")
    with start_redis(binary="redis-server", appendonly=False) as server:
        yield server


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For the user of docs/how-to/restrict-redis-user.md, and for scripts that touch declared keys only."""
    with start_redis(appendonly=False, extra_args=acl_args(tmp_path_factory.mktemp("acl"))) as server:
        yield server


# Idle nodes cost, too: these end with the last contract test of a process.
@pytest.fixture(scope="package")
def sentinel() -> Iterator[Topology]:
    with start_topology("sentinel") as topology:
        yield topology


@pytest.fixture(scope="package")
def cluster() -> Iterator[Topology]:
    with start_topology("cluster") as topology:
        yield topology


@pytest.fixture(params=["memory", "valkey", "redis", "guarded", "sentinel", "cluster"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make_broker(
    kind: str, request: pytest.FixtureRequest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeBroker]:
    """Brokers of one kind; afterwards, every queue of theirs must obey the invariants."""
    monkeypatch.setattr(consumer, "BLOCK_MS", BLOCK // timedelta(milliseconds=1))
    made: list[MemoryBroker | RedisStreamsBroker] = []
    server: RedisServer | Topology | None = None
    if kind != "memory":
        server = request.getfixturevalue(SERVER_OF.get(kind, "valkey"))

    def make(*, lease: timedelta = LEASE, max_crashes: int = 3, history: bool = True, keep_payload: int = 0) -> Broker:
        options = {"lease": lease, "max_crashes": max_crashes, "history": history, "keep_payload": keep_payload}
        if server is None:
            made.append(MemoryBroker(block=BLOCK, **options))
        else:
            url = restricted(server.url) if kind == "guarded" else server.url
            made.append(RedisStreamsBroker(url, namespace=namespace, **options))
        return made[-1]

    with strict_keys() if kind == "guarded" else nullcontext():
        yield make
    for broker in made:
        for queue in await broker.queues():
            stats = await broker.stats(queue)
            assert stats.drift == 0
            if kind == "postgres":
                continue  # the letters have left the broker; `letters` asks the store for their account
            assert stats.died - stats.requeued - stats.purged == stats.dead
            if isinstance(broker, RedisStreamsBroker):
                assert await check_queue(broker, queue) == []
        await broker.close()


@pytest.fixture
async def broker(make_broker: MakeBroker) -> Broker:
    made: Broker = make_broker()
    return made


@pytest.fixture
async def letters(
    kind: str, broker: Broker, namespace: str, request: pytest.FixtureRequest
) -> AsyncIterator[DeadLetters]:
    """The dead-letter queue over *broker*'s own store, or in Postgres, as `bootstrap` wires it."""
    if isinstance(broker, MemoryBroker):
        yield MemoryDeadLetters(broker)
        return
    assert isinstance(broker, RedisStreamsBroker)
    if kind != "postgres":
        yield RedisDeadLetters(broker)
        return
    async with Database(PostgresSettings(url=request.getfixturevalue("database_url"))) as database:
        stored = PostgresDeadLetters(database, broker, namespace=namespace)
        archive = PostgresArchive(database, namespace=namespace)
        fresh = FreshDeadLetters(stored, RedisDeadLetters(broker), broker, archive)
        yield fresh
        await fresh.count(LetterFilter())
        for queue in await broker.queues():
            assert await check_queue(broker, queue, letters=await stored.accounted(queue)) == []
