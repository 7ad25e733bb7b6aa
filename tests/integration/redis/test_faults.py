"""Redis refuses, forgets, fills up, dies and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import redis.asyncio

from jobqueue.broker import submit
from jobqueue.broker.base import Enqueued, Submission
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.keys import GROUP
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.errors import Backpressure, BrokerError, BrokerUnavailable, ConfigError, EnqueueUncertain
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Retrying
from tests.contract.scene import (
    DEAD,
    FAILURE,
    RETRY_NOW,
    Q,
    beat,
    enqueue,
    job,
    promoted,
    raised,
    settle,
    take,
    take_one,
)
from tests.integration.redis.conftest import MakeBroker
from tests.integration.redis.dump import dump
from testutil.eventually import eventually

BRIEF = timedelta(seconds=1)


async def until_queued(broker: RedisStreamsBroker, *jobs: Job) -> None:
    """Enqueue them, and again where a deadline of a second was too near, or Redis has no room yet."""

    async def queued() -> bool:
        return await raised(lambda: enqueue(broker, *jobs)) is None

    await eventually(queued)


# groups


async def test_f11_the_group_may_be_there_already(broker: RedisStreamsBroker, raw: "redis.asyncio.Redis") -> None:
    """A group that is there already is used."""
    for stream in broker.keys(Q).streams:
        await raw.xgroup_create(stream, GROUP, id="0", mkstream=True)

    await enqueue(broker, job())

    assert (await take_one(await broker.join([Q]))).attempt == 1


async def test_f37_a_flushed_server_is_used_anew_without_a_tight_loop(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """Groups are made again from the beginning, with a pause and a count, and the worker is fenced."""
    broker = make_broker(own_server.url)
    worker = await broker.join([Q])
    await enqueue(broker, job(1))
    await take_one(worker)
    heartbeat = worker.heartbeat()
    fetching = asyncio.create_task(worker.fetch(1))

    await own_raw.flushall()

    fetches = 0
    assert await fetching == []
    started = time.monotonic()
    while time.monotonic() - started < 0.3:
        assert await worker.fetch(1) == []
        fetches += 1
    assert 1 <= worker.groups_recreated <= 2
    assert fetches < 12
    assert not heartbeat.beat({})[0].alive
    anew = await broker.join([Q])
    await enqueue(broker, job(2))
    await settle(anew, COMPLETED, await take_one(anew))
    assert (await broker.stats(Q)).drift == 0
    assert await broker.queues() == [Q]
    assert await broker.journal.epoch(Q)
    assert await anew.adopt() == []
    heartbeat.close()


async def test_f37_jobs_enqueued_after_a_flush_wait_for_the_next_worker(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """Jobs queued after a flush wait for the next worker."""
    broker = make_broker(own_server.url)
    await enqueue(broker, job(1))
    await own_raw.flushall()

    await enqueue(broker, job(2))

    assert (await take_one(await broker.join([Q]))).attempt == 1


@pytest.mark.parametrize("which", [[2], [0, 1, 2, 3]], ids=["one", "all"])
async def test_f37_f38_a_destroyed_group_is_made_again_from_the_beginning(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", which: list[int]
) -> None:
    """The group is made again from its beginning: nothing is skipped, what runs may run twice, each job ends once."""
    worker = await broker.join([Q])
    jobs = [job(n) for n in range(3)]
    await enqueue(broker, *jobs)
    old = await take(worker, 2)
    for rank in which:
        await raw.xgroup_destroy(broker.keys(Q).streams[rank], GROUP)

    again = await take(worker, 3)

    assert worker.groups_recreated == 1
    assert [each.job_id for each in again] == [each.id for each in jobs]
    await settle(worker, COMPLETED, *old)
    await settle(worker, COMPLETED, *again)
    stats = await broker.stats(Q)
    assert (stats.completed, stats.live, stats.drift) == (3, 0, 0)
    assert await check_queue(broker, Q) == []


async def test_f38_a_run_that_outlived_its_group_settles_and_its_successor_does_not(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    """Of two runs of a job that was delivered again, the first settlement stands."""
    one, two = await broker.join([Q]), await broker.join([Q])
    await enqueue(broker, job())
    old = await take_one(one)
    await raw.xgroup_destroy(broker.keys(Q).medium, GROUP)
    again = await take_one(two)

    await settle(one, RETRY_NOW, old)
    await settle(two, COMPLETED, again)

    stats = await broker.stats(Q)
    assert (stats.completed, stats.depth, stats.live) == (0, 1, 1)
    assert await check_queue(broker, Q) == []


async def test_adopting_without_a_group_makes_it_again(broker: RedisStreamsBroker, raw: "redis.asyncio.Redis") -> None:
    worker = await broker.join([Q])
    await enqueue(broker, job())
    await take_one(worker)
    await raw.xgroup_destroy(broker.keys(Q).medium, GROUP)

    assert await worker.adopt() == []

    assert (await take_one(worker)).attempt == 1


# full


@pytest.fixture(params=["valkey", "redis-server"])
def full_server(request: pytest.FixtureRequest) -> AsyncIterator[RedisServer]:
    if request.param == "redis-server":
        from jobqueue.embedded import find_redis_server

        if find_redis_server() is None:
            pytest.skip("no redis-server on PATH")
    with start_redis(binary=request.param, appendonly=False) as server:
        yield server


async def test_f06_a_full_server_takes_no_jobs_and_still_drains(
    make_broker: MakeBroker, full_server: RedisServer
) -> None:
    """Enqueues are refused with Backpressure; settling, reaping, promoting and cancelling go on."""
    broker = make_broker(full_server.url, history=True, lease=BRIEF, max_crashes=1)
    jobs = [job(n) for n in range(8)]
    await enqueue(broker, *jobs)
    await enqueue(broker, job(), delay=timedelta(milliseconds=10))
    crasher = await broker.join([Q])
    await take(crasher, 2)
    async with redis.asyncio.Redis.from_url(full_server.url) as raw:
        await raw.config_set("maxmemory", 1)
        await raw.script_flush()

        for _ in range(2):
            assert type(await raised(lambda: enqueue(broker, job(), job()))) is Backpressure
        assert type(await raised(lambda: enqueue(make_broker(full_server.url), job(queue="new")))) is Backpressure
        stats = await broker.stats(Q)
        assert (stats.enqueued, stats.live) == (9, 9)

        worker = await broker.join([Q])
        heartbeat = worker.heartbeat()
        one, two, three = await take(worker, 3)
        await settle(worker, COMPLETED, one)
        await settle(worker, DEAD, two)
        await settle(worker, Retrying(5, FAILURE), three, result_ttl_ms=1_000)
        await promoted(broker, 5)

        async def reaped() -> bool:
            await beat(heartbeat, {Q: {jobs[0].id: b"1"}})
            await broker.reap(Q)
            return (await broker.stats(Q)).died == 3

        await eventually(reaped, poll_s=0.03)
        await broker.cancel(Q, jobs[-1].id)
        await settle(worker, COMPLETED, *await take(worker, 4))
        stats = await broker.stats(Q)
        assert (stats.live, stats.drift) == (0, 0)
        assert await check_queue(broker, Q) == []

        await raw.config_set("maxmemory", 0)
        assert (await enqueue(broker, job()))[0].status is Enqueued.NEW
    heartbeat.close()


async def test_f06_a_full_server_queues_all_of_a_batch_or_nothing(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """A batch is queued whole or not at all, and enqueueing works again when the queue has drained."""
    broker = make_broker(own_server.url)
    await enqueue(broker, job())
    info = await own_raw.info("memory")
    await own_raw.config_set("maxmemory", info["used_memory"] + 3_000_000)

    queued = 1
    while True:
        batch = [job(n, headers={"x": "y" * 1000}) for n in range(100)]
        error = await raised(lambda batch=batch: enqueue(broker, *batch))
        if error is not None:
            break
        queued += 100

    assert isinstance(error, Backpressure)
    assert "maxmemory" in str(error)
    assert (await broker.stats(Q)).enqueued == queued
    worker = await broker.join([Q])
    await settle(worker, COMPLETED, *await take(worker, queued))
    assert (await broker.stats(Q)).live == 0
    await until_queued(broker, job())


async def test_f06_a_batch_of_many_calls_that_is_refused_half_way_is_uncertain(
    make_broker: MakeBroker, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than 500 jobs, refused half way, EnqueueUncertain names the first in doubt; enqueue them again."""
    broker = make_broker()
    jobs = [job(n) for n in range(900)]
    send, calls = submit.Submitter._send, 0

    async def second_is_refused(self: submit.Submitter, batch: list[object]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Backpressure("full; nothing was queued")
        await send(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(submit.Submitter, "_send", second_is_refused)

    with pytest.raises(EnqueueUncertain) as caught:
        await enqueue(broker, *jobs)

    assert caught.value.job_id == jobs[500].id
    results = await enqueue(broker, *jobs)
    assert [each.status for each in results] == [Enqueued.EXISTS] * 500 + [Enqueued.NEW] * 400


async def test_f07_a_server_that_evicts_is_refused(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """A server that may evict keys is refused, unless that is allowed by a setting."""
    broker = make_broker(own_server.url)
    (await broker.server()).check(allow_eviction=False)

    await own_raw.config_set("maxmemory-policy", "allkeys-lru")
    (await broker.server()).check(allow_eviction=False)  # nothing is evicted without a limit
    await own_raw.config_set("maxmemory", "100mb")

    facts = await broker.server()
    with pytest.raises(ConfigError, match="allkeys-lru"):
        facts.check(allow_eviction=False)
    facts.check(allow_eviction=True)
    assert (facts.flavour, facts.role, facts.aof) == ("valkey", "master", True)


# not serving


@pytest.mark.parametrize(
    "refusal",
    [
        *("LOADING Valkey is loading the dataset in memory", "READONLY You can't write against a read only replica."),
        *("MISCONF Errors writing to the AOF file: No space left on device", "BUSY Redis is busy running a script."),
        *("MASTERDOWN Link with MASTER is down", "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request"),
        *("NOREPLICAS Not enough good replicas to write.",),
    ],
    ids=lambda text: text.split()[0],
)
async def test_f50_a_server_that_cannot_serve_now_is_unavailable_and_nothing_is_uncertain(
    make_broker: MakeBroker, refusal: str
) -> None:
    """A server that cannot serve now is unavailable; one that is no longer primary is dialled anew."""
    async with refusing_server(refusal) as (url, connections):
        broker = make_broker(url, enqueue_timeout=timedelta(milliseconds=500))

        error = await raised(lambda: enqueue(broker, job()))
        others = [await raised(lambda: broker.stats(Q)) for _ in range(2)]

    assert {type(each) for each in (error, *others)} == {BrokerUnavailable}
    assert "nothing was queued" in str(error)
    if refusal.startswith(("READONLY", "MASTERDOWN")):
        assert connections[0] > 2, "the primary may be another by now: dial again"


async def test_a_refusal_that_stays_is_no_outage(make_broker: MakeBroker) -> None:
    async with refusing_server("NOPERM this user has no permissions") as (url, _):
        broker = make_broker(url)

        assert type(await raised(lambda: enqueue(broker, job()))) is BrokerError


@asynccontextmanager
async def refusing_server(refusal: str) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that lets clients connect and refuses every command of theirs."""
    connections = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        while data := await reader.read(65536):
            for part in data.split(b"*")[1:]:
                writer.write(b"+OK\r\n" if b"CLIENT" in part or b"SELECT" in part else f"-{refusal}\r\n".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", connections


async def test_f50_a_replica_is_not_written_to_and_serves_when_promoted(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """A demoted primary is unavailable, and nothing is lost when it serves again."""
    broker = make_broker(own_server.url, enqueue_timeout=BRIEF)
    worker = await broker.join([Q])
    await until_queued(broker, job(), job())
    taken, _ = await take(worker, 2)
    await own_raw.execute_command("REPLICAOF", "127.0.0.1", "1")

    assert type(await raised(lambda: enqueue(broker, job()))) is BrokerUnavailable
    assert type(await raised(lambda: settle(worker, COMPLETED, taken))) is BrokerUnavailable
    assert type(await raised(lambda: worker.fetch(1))) is BrokerUnavailable
    assert type(await raised(lambda: broker.promote(Q))) is BrokerUnavailable
    heartbeat = worker.heartbeat()
    with pytest.raises(BrokerUnavailable):
        heartbeat.beat({})
    assert (await broker.stats(Q)).running == 2

    await own_raw.execute_command("REPLICAOF", "NO", "ONE")

    await settle(worker, COMPLETED, taken)
    assert heartbeat.beat({})[0].alive
    assert (await enqueue(broker, job()))[0].status is Enqueued.NEW
    heartbeat.close()


async def test_f04_a_killed_server_is_waited_for_and_keeps_what_it_promised(
    make_broker: MakeBroker, own_server: RedisServer
) -> None:
    """A Redis that is back before the deadline has the job queued."""
    broker = make_broker(own_server.url)
    worker = await broker.join([Q])
    jobs = [job(n) for n in range(20)]
    await enqueue(broker, *jobs)
    held = await take(worker, 5)

    own_server.kill()
    waiting = asyncio.create_task(enqueue(broker, job(99)))
    assert isinstance(await raised(lambda: settle(worker, COMPLETED, *held)), BrokerUnavailable)
    assert isinstance(await raised(lambda: worker.fetch(1)), BrokerUnavailable)
    assert not waiting.done()
    await asyncio.to_thread(own_server.restart)

    assert (await waiting)[0].status is Enqueued.NEW
    await settle(worker, COMPLETED, *held)
    rest = await take(worker, 16)
    assert [each.job_id for each in rest][:15] == [each.id for each in jobs[5:]]
    await settle(worker, COMPLETED, *rest)
    stats = await broker.stats(Q)
    assert (stats.completed, stats.live, stats.drift) == (21, 0, 0)


async def test_f04_enqueue_gives_up_at_its_deadline(make_broker: MakeBroker, own_server: RedisServer) -> None:
    """An enqueue fails with BrokerUnavailable at its deadline, and nothing was queued."""
    broker = make_broker(own_server.url, enqueue_timeout=BRIEF)
    await until_queued(broker, job())
    own_server.kill()
    assert isinstance(await raised(lambda: broker.stats(Q)), BrokerUnavailable)  # by now the news has arrived
    started = time.monotonic()

    async with asyncio.timeout(30):
        error = await raised(lambda: enqueue(broker, job()))

    assert type(error) is BrokerUnavailable
    assert "nothing was queued" in str(error)
    # It gives up when the next try would come too late: the pauses double, and vary by half.
    assert time.monotonic() - started > 0.3 * BRIEF.total_seconds()


async def test_a_server_that_answers_nothing_makes_an_enqueue_uncertain_in_time(
    make_broker: MakeBroker, own_server: RedisServer
) -> None:
    broker = make_broker(own_server.url, timeout=BRIEF, enqueue_timeout=BRIEF)
    await until_queued(broker, job())
    sent = job()
    own_server.pause()

    async with asyncio.timeout(30):
        error = await raised(lambda: enqueue(broker, sent))

    assert isinstance(error, EnqueueUncertain)
    assert error.job_id == sent.id
    own_server.resume()
    await until_queued(broker, sent)
    assert (await broker.stats(Q)).live == 2


async def test_f84_another_protocol_is_refused_and_left_alone(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    """A queue that was made by another version of the protocol is refused, and nothing in it is touched."""
    await raw.hset(broker.keys(Q).meta, "version", "2")
    before = await dump(raw, namespace)

    for verb in (lambda: enqueue(broker, job()), lambda: broker.join([Q])):
        error = await raised(verb)
        assert isinstance(error, ConfigError)
        assert "version 2" in str(error)

    assert await dump(raw, namespace) == before


async def test_one_queue_of_a_wrong_type_does_not_stop_the_others(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    await raw.set(broker.keys("broken").jobs, "x")

    error = await raised(lambda: broker.enqueue([Submission(job=job(queue="broken"))]))

    assert isinstance(error, BrokerError)
    assert "WRONGTYPE" in str(error)
    assert (await enqueue(broker, job()))[0].status is Enqueued.NEW


async def test_f37_a_living_producer_makes_its_queue_anew_after_a_flush(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """A producer makes its queue anew."""
    broker = make_broker(url=own_server.url)
    await enqueue(broker, job(1))
    await own_raw.flushall()

    (result,) = await enqueue(broker, job(2))

    assert result.status is Enqueued.NEW
    assert await broker.queues() == [Q]
    assert await broker.journal.epoch(Q) is not None
    assert (await broker.stats(Q)).depth == 1
    assert (await broker.stats(Q)).drift == 0


async def test_callers_that_wait_behind_a_dead_server_are_told_in_time(
    make_broker: MakeBroker, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A batch each. To make 500 jobs for each takes time, which the later ones would have left to try it, too.
    monkeypatch.setattr(submit, "MAX_BATCH_JOBS", 1)
    broker = make_broker(url=own_server.url, timeout=BRIEF, enqueue_timeout=BRIEF)
    await until_queued(broker, job())
    own_server.pause()
    try:
        async with asyncio.timeout(30):
            batches = [enqueue(broker, job(n)) for n in range(8)]
            answers = await asyncio.gather(*batches, return_exceptions=True)
    finally:
        own_server.resume()

    assert all(isinstance(each, BrokerUnavailable | EnqueueUncertain) for each in answers)
    # What was sent is uncertain. With one timeout after another, all would be.
    assert sum(isinstance(each, EnqueueUncertain) for each in answers) <= 2
