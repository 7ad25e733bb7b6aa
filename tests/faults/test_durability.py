"""What an enqueue waits for before it returns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.config import RedisSettings, Settings
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.errors import ConfigError, EnqueueUncertain
from jobqueue.job import Job
from tests.integration.worker.scene import seconds
from testutil.eventually import eventually
from testutil.proxy import fault_proxy

ENQUEUE_TIMEOUT_S = 2.5


class Pair:
    """A primary and a replica of it."""

    def __init__(self, primary: RedisServer, replica: RedisServer) -> None:
        self.primary = primary
        self.replica = replica


@pytest.fixture
def pair() -> Iterator[Pair]:
    # A primary waits 5 s for more replicas to copy itself to, unless told.
    with start_redis(extra_args=("--repl-diskless-sync-delay", "0")) as primary:
        options = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-timeout", "60")
        with start_redis(extra_args=options) as replica:
            yield Pair(primary, replica)


@pytest.fixture
async def connect(namespace: str) -> AsyncIterator[Any]:
    made: list[JobQueue] = []

    def connect(url: str, **options: Any) -> JobQueue:
        redis = RedisSettings(url=url, namespace=namespace, enqueue_timeout=seconds(ENQUEUE_TIMEOUT_S), **options)
        made.append(JobQueue.from_settings(Settings(redis=redis)))
        return made[-1]

    yield connect
    for queue in made:
        await queue.close()


def _job() -> Job:
    return Job("count", {"n": 1})


async def _calls(queue: JobQueue, command: str) -> int:
    assert queue.parts.redis is not None
    told = (await queue.parts.redis.call(["INFO", "commandstats"])).decode()
    line = next((line for line in told.splitlines() if line.startswith(f"cmdstat_{command}:")), "calls=0,")
    return int(line.split("calls=")[1].split(",")[0])


async def test_f31_fsync_waits_for_the_append_only_file(own_server: RedisServer, connect: Any) -> None:
    """With `fsync`, an enqueue returns when WAITAOF has confirmed the disk; `local` does not ask."""
    queue = connect(own_server.url)
    await queue.enqueue(_job())
    assert await _calls(queue, "waitaof") == 0
    await queue.enqueue(_job(), durability="fsync")
    await queue.enqueue_many([_job() for _ in range(1000)], durability="fsync")
    assert await _calls(queue, "waitaof") == 1 + 1 + 2  # a question first, then a batch and two batches
    assert (await queue.stats("default")).enqueued == 1002


async def test_f31_fsync_without_an_append_only_file_is_refused_before_anything_is_queued(
    redis_url: str, connect: Any
) -> None:
    """A server without an append-only file cannot keep `fsync`: the enqueue is refused and nothing is queued."""
    queue = connect(redis_url)
    with pytest.raises(ConfigError, match=r"durability fsync is not possible here: .*; set appendonly yes"):
        await queue.enqueue(_job(), durability="fsync")
    assert (await queue.stats("default")).enqueued == 0


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server on PATH")
@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_f31_fsync_before_waitaof_needs_a_server_that_writes_through(appendfsync: Any, connect: Any) -> None:
    """A Redis older than 7.2 keeps `fsync` only with `appendfsync always`; else the enqueue is refused."""
    with start_redis(binary="redis-server", appendfsync=appendfsync) as server:
        if not server.version.startswith("7.0"):
            pytest.skip(f"Redis {server.version} has WAITAOF")
        queue = connect(server.url)
        if appendfsync == "always":
            assert (await queue.enqueue(_job(), durability="fsync")).created
            return
        with pytest.raises(ConfigError, match=r"durability fsync needs WAITAOF .* or appendonly yes, appendfsync"):
            await queue.enqueue(_job(), durability="fsync")


async def test_f49_replicated_waits_for_the_replica(pair: Pair, connect: Any) -> None:
    """With `replicated:1`, an enqueue returns when a replica has the job."""
    queue = connect(pair.primary.url)
    await eventually(lambda: _is_linked(queue), within_s=30)
    for n in range(20):
        await queue.enqueue(Job("count", {"n": n}), durability="replicated:1")
        assert _live_on(pair.replica, queue) == n + 1


async def test_f49_without_its_replica_an_enqueue_is_uncertain_and_queued_once(pair: Pair, connect: Any) -> None:
    """When no replica confirms in time, `EnqueueUncertain` says so; the job is queued, once, and waits on its own."""
    queue = connect(pair.primary.url)
    await eventually(lambda: _is_linked(queue), within_s=30)
    pair.replica.pause()
    job = _job()
    with pytest.raises(EnqueueUncertain, match="queued, but not replicated:1: 0 of 1 replicas have it") as caught:
        await queue.enqueue(job, durability="replicated:1")
    assert caught.value.job_id == job.id
    await queue.enqueue(_job())  # others do not wait behind it
    assert (await queue.stats("default")).enqueued == 2
    pair.replica.resume()
    assert not (await queue.enqueue(job, durability="replicated:1")).created


async def test_f49_a_repeated_batch_is_not_taken_for_replicated(pair: Pair, connect: Any) -> None:
    """After a lost reply, the repeated enqueue on a new connection still waits for the replica."""
    async with fault_proxy(pair.primary.url) as proxy:
        queue = connect(proxy.url)
        await queue.enqueue(_job())
        await eventually(lambda: _is_linked(queue), within_s=30)
        await queue.enqueue(_job(), durability="replicated:1")
        pair.replica.pause()
        proxy.drop_reply(b"EVAL")
        with pytest.raises(EnqueueUncertain, match="0 of 1 replicas have it"):
            await queue.enqueue(_job(), durability="replicated:1")
        assert proxy.faults == 1
        assert (await queue.stats("default")).enqueued == 3


async def test_f49_a_replica_that_confirms_late_is_waited_for(pair: Pair, connect: Any) -> None:
    """A replica that confirms late, but in time, is waited for by the same call."""
    queue = connect(pair.primary.url)
    await eventually(lambda: _is_linked(queue), within_s=30)
    await queue.enqueue(_job(), durability="replicated:1")
    pair.replica.pause()
    waiting = asyncio.create_task(queue.enqueue(_job(), durability="replicated:1"))
    await asyncio.sleep(1.2)
    assert not waiting.done()
    pair.replica.resume()
    assert (await waiting).created


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server on PATH")
async def test_f31_a_server_that_stops_writing_through_is_noticed(connect: Any) -> None:
    """Where WAITAOF is missing, every enqueue looks whether the server still writes through."""
    with start_redis(binary="redis-server", appendfsync="always") as server:
        if not server.version.startswith("7.0"):
            pytest.skip(f"Redis {server.version} has WAITAOF")
        queue = connect(server.url)
        assert (await queue.enqueue(_job(), durability="fsync")).created
        await queue.parts.redis.call(["CONFIG", "SET", "appendfsync", "no"])
        with pytest.raises(EnqueueUncertain, match="does not write through any more"):
            await queue.enqueue(_job(), durability="fsync")


async def test_f01_an_enqueue_takes_no_longer_than_it_may(own_server: RedisServer, connect: Any) -> None:
    """A server that says nothing holds an enqueue up for its own timeout, not for that of a connection."""
    queue = connect(own_server.url, timeout=seconds(30))
    await queue.enqueue(_job())
    own_server.pause()
    try:
        async with asyncio.timeout(30):
            with pytest.raises(EnqueueUncertain, match="no answer from the broker"):
                await queue.enqueue(_job())
    finally:
        own_server.resume()


async def test_the_settings_decide_where_a_call_does_not(redis_url: str, connect: Any) -> None:
    from jobqueue.durability import read_durability

    queue = connect(redis_url, durability=read_durability("fsync"))
    with pytest.raises(ConfigError, match="durability fsync"):
        await queue.enqueue(_job())
    assert (await queue.enqueue(_job(), durability="local")).created


async def test_a_server_that_forgot_the_script_waits_after_it_was_loaded(pair: Pair, connect: Any) -> None:
    queue = connect(pair.primary.url)
    await eventually(lambda: _is_linked(queue), within_s=30)
    await queue.enqueue(_job(), durability="replicated:1")
    assert queue.parts.redis is not None
    for _ in range(5):
        await queue.parts.redis.call(["SCRIPT", "FLUSH"])
        await queue.enqueue(_job(), durability="replicated:1")
    assert _live_on(pair.replica, queue) == 6


async def _is_linked(queue: JobQueue) -> bool:
    assert queue.parts.redis is not None
    return b"state=online" in await queue.parts.redis.call(["INFO", "replication"])


def _live_on(replica: RedisServer, queue: JobQueue) -> int:
    import redis

    assert queue.parts.redis is not None
    with redis.Redis.from_url(replica.url) as client:
        return int(client.hlen(queue.parts.redis.keys("default").jobs))  # type: ignore[arg-type]
