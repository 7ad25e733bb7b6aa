"""Requests and replies that the network loses."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from jobqueue.broker.base import Beat, Consumer, Delivery, Enqueued, Heartbeat
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.scripts import ENQUEUE, FETCH, SETTLE
from jobqueue.errors import BrokerUnavailable, EnqueueUncertain
from jobqueue.outcome import COMPLETED
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, raised, settle, settlement, take, take_one
from tests.integration.redis.conftest import MakeBroker
from testutil.eventually import eventually
from testutil.proxy import FaultProxy, fault_proxy

ENQUEUED, SETTLED = ENQUEUE.sha.encode(), SETTLE.sha.encode()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(redis_url) as proxy:
        yield proxy


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", ["drop_reply", "drop_request"])
async def test_f01_f02_a_lost_enqueue_is_repeated_and_queues_once(
    make_broker: MakeBroker, proxy: FaultProxy, fault: str, times: int
) -> None:
    """The enqueue is repeated under its number, and queues each job once."""
    broker = make_broker(proxy.url)
    await enqueue(broker, job())
    getattr(proxy, fault)(ENQUEUED, times=times)

    results = await enqueue(broker, *[job(n) for n in range(10)])

    assert proxy.faults == times
    assert {each.status for each in results} == {Enqueued.NEW}
    stats = await broker.stats(Q)
    assert (stats.enqueued, stats.depth) == (11, 11)


async def test_the_answers_of_a_lost_reply_come_again(make_broker: MakeBroker, proxy: FaultProxy) -> None:
    broker = make_broker(proxy.url)
    old, new = job(1), job(2)
    await enqueue(broker, old, idempotency_key="k")
    proxy.drop_reply(ENQUEUED)

    results = await enqueue(broker, new, old, job(3))

    assert [each.status for each in results] == [Enqueued.NEW, Enqueued.EXISTS, Enqueued.NEW]


async def test_f01_a_job_that_finished_before_the_repetition_is_not_queued_again(
    make_broker: MakeBroker, proxy: FaultProxy
) -> None:
    """A job that has ended before the repetition is not queued again."""
    broker, direct = make_broker(proxy.url), make_broker()
    worker = await direct.join([Q])
    await enqueue(broker, job(0))
    await settle(worker, COMPLETED, await take_one(worker))
    finished: list[str] = []

    async def finish() -> None:
        taken = await take_one(worker)
        await settle(worker, COMPLETED, taken)
        finished.append(taken.job_id)

    proxy.on_fault = finish
    proxy.drop_reply(ENQUEUED)
    sent = job(1)

    results = await enqueue(broker, sent)

    assert finished == [sent.id]
    assert results[0].status is Enqueued.NEW
    stats = await broker.stats(Q)
    assert (stats.enqueued, stats.completed, stats.live) == (2, 2, 0)


async def test_f01_an_enqueue_unanswered_to_the_end_is_uncertain(make_broker: MakeBroker, proxy: FaultProxy) -> None:
    """Without an answer until the deadline, EnqueueUncertain names the job, which may be enqueued again."""
    broker, direct = make_broker(proxy.url, enqueue_timeout=timedelta(seconds=1)), make_broker()
    # Two together: after one alone, the next goes alone, too, and the others of the three would wait behind it.
    await asyncio.gather(enqueue(broker, job(0)), enqueue(broker, job(4)))
    proxy.drop_reply(ENQUEUED, times=1000)
    jobs = [job(n) for n in range(1, 4)]

    errors = await asyncio.gather(*(raised(lambda each=each: enqueue(broker, each)) for each in jobs))

    for each, error in zip(jobs, errors, strict=True):
        assert isinstance(error, EnqueueUncertain)
        assert error.job_id == each.id
        assert "again" in str(error)
    assert [each.status for each in await enqueue(direct, *jobs)] == [Enqueued.EXISTS] * 3
    assert (await direct.stats(Q)).enqueued == 5


async def test_f01_an_enqueue_unanswered_and_then_refused_is_uncertain(
    make_broker: MakeBroker, proxy: FaultProxy, own_server: object
) -> None:
    """The refusal of a repetition says nothing of the first try: the enqueue is uncertain."""
    import redis.asyncio

    from jobqueue.embedded import RedisServer

    assert isinstance(own_server, RedisServer)
    async with fault_proxy(own_server.url) as mine, redis.asyncio.Redis.from_url(own_server.url) as raw:
        broker = make_broker(mine.url)
        await enqueue(broker, job(0))
        mine.on_fault = lambda: raw.config_set("maxmemory", 1)
        mine.drop_reply(ENQUEUED)

        error = await raised(lambda: enqueue(broker, job(1)))

        assert isinstance(error, EnqueueUncertain)
        assert (await broker.stats(Q)).enqueued == 2


async def test_no_job_is_uncertain_when_its_queue_could_not_even_be_made(
    make_broker: MakeBroker, proxy: FaultProxy
) -> None:
    broker = make_broker(proxy.url, enqueue_timeout=timedelta(milliseconds=150))
    proxy.drop_reply(b"EVALSHA", times=1000)

    error = await raised(lambda: enqueue(broker, job()))

    assert type(error) is BrokerUnavailable
    assert "nothing was queued" in str(error)


async def test_a_lost_settlement_is_repeated_and_counts_once(make_broker: MakeBroker, proxy: FaultProxy) -> None:
    broker, direct = make_broker(proxy.url, history=True), make_broker()
    worker = await broker.join([Q])
    await enqueue(direct, *[job(n, unique_key=f"k{n}") for n in range(3)], *[job(n) for n in range(3)])
    taken = await take(worker, 6)
    outcomes = [COMPLETED, DEAD, RETRY_NOW] * 2
    batch = [settlement(each, outcome) for each, outcome in zip(taken, outcomes, strict=True)]
    await worker.settle([])
    await direct.cancel(Q, taken[1].job_id)
    proxy.drop_reply(SETTLED)

    assert isinstance(await raised(lambda: worker.settle(batch)), BrokerUnavailable)
    await worker.settle(batch)

    assert proxy.faults == 1
    stats = await direct.stats(Q)
    assert (stats.completed, stats.died, stats.depth, stats.live, stats.journal) == (2, 2, 2, 2, 1)
    assert await check_queue(direct, Q) == []


async def test_a_settlement_that_never_arrived_is_carried_out_by_the_repetition(
    make_broker: MakeBroker, proxy: FaultProxy
) -> None:
    broker, direct = make_broker(proxy.url), make_broker()
    worker = await broker.join([Q])
    await enqueue(direct, job())
    taken = await take_one(worker)
    proxy.drop_request(SETTLED)

    assert isinstance(await raised(lambda: settle(worker, COMPLETED, taken)), BrokerUnavailable)
    assert (await direct.stats(Q)).running == 1
    await settle(worker, COMPLETED, taken)

    assert (await direct.stats(Q)).completed == 1


@pytest.mark.parametrize("fault", ["drop_reply", "swallow_reply"])
async def test_f22_jobs_of_a_lost_fetch_are_adopted(
    make_broker: MakeBroker, proxy: FaultProxy, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker asks for what is pending under its name, and gets it."""
    from jobqueue.broker import reader

    monkeypatch.setattr(reader, "READ_GRACE_S", 0.2)
    broker, direct = make_broker(proxy.url), make_broker()
    worker = await broker.join([Q])
    await enqueue(direct, job(0), job(1), job(2))
    (held,) = await worker.fetch(1)
    getattr(proxy, fault)(FETCH.sha.encode())

    with monkeypatch.context() as patch:
        patch.setattr(worker._readers[0]._line, "_timeout_s", 0.3)  # type: ignore[attr-defined]
        assert isinstance(await raised(lambda: worker.fetch(5)), BrokerUnavailable)

    async def adopted() -> list[Delivery]:
        mine = await worker.adopt()
        return mine if len(mine) == 3 else []

    mine = await eventually(adopted)
    assert proxy.faults == 1
    assert held.receipt in [each.receipt for each in mine]
    await settle(worker, COMPLETED, *mine)
    assert (await direct.stats(Q)).completed == 3


async def test_f03_f22_a_fetch_cancelled_at_any_moment_loses_nothing(make_broker: MakeBroker) -> None:
    """What a cancelled fetch has taken is adopted: no job is lost."""
    broker, rng = make_broker(), random.Random(3)
    worker = await broker.join([Q])
    taken: dict[bytes, str] = {}
    for n in range(60):
        fetching = asyncio.create_task(worker.fetch(3))
        queueing = asyncio.create_task(enqueue(broker, job(n), job(n)))
        await asyncio.sleep(rng.random() * 0.002)
        fetching.cancel()
        await queueing
        await asyncio.wait([fetching])
        if not fetching.cancelled():
            taken |= {each.entry_id: each.job_id for each in fetching.result()}

    async def all_there() -> bool:
        taken.update((each.entry_id, each.job_id) for each in [*await worker.adopt(), *await worker.fetch(200)])
        return len(set(taken.values())) == 120

    await eventually(all_there)


async def test_f03_random_cancellations_of_a_brokers_calls_never_cross_replies(make_broker: MakeBroker) -> None:
    """Calls, pipelines and enqueues of one broker are cancelled at random: each answer is its caller's."""
    broker, rng = make_broker(), random.Random(11)
    crossed: list[object] = []
    finished = cancelled = 0

    async def echo(n: int) -> None:
        nonlocal finished
        word = b"%d" % n
        answer = await broker.call(["ECHO", word])
        if answer != word:
            crossed.append((answer, word))
        finished += 1

    async def many(n: int) -> None:
        nonlocal finished
        words = [b"%d.%d" % (n, i) for i in range(5)]
        answer = await broker.call_each([["ECHO", word] for word in words])
        if answer != words:
            crossed.append((answer, words))
        finished += 1

    async def put(n: int) -> None:
        nonlocal finished
        sent = job(n)
        results = await enqueue(broker, sent)
        if [each.job_id for each in results] != [sent.id]:
            crossed.append((results, sent))
        finished += 1

    async def one(n: int) -> None:
        nonlocal cancelled
        task = asyncio.create_task((echo, many, put)[n % 3](n))
        await asyncio.sleep(rng.random() * 0.002)
        if rng.random() < 0.6:
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            cancelled += 1
        else:
            task.result()

    for n in range(0, 2_000, 20):
        await asyncio.gather(*(one(n + i) for i in range(20)))

    assert crossed == []
    assert finished > 300
    assert cancelled > 300
    assert (await broker.stats(Q)).drift == 0


async def test_cut_connections_are_dialled_again(make_broker: MakeBroker, proxy: FaultProxy) -> None:
    broker = make_broker(proxy.url)
    worker = await broker.join([Q])
    heartbeat = worker.heartbeat()
    for n in range(5):
        await enqueue(broker, job(n))
        proxy.cut()
        await enqueue(broker, job(n))
        taken = await eventually(lambda: _or_nothing(worker))
        proxy.cut()
        await eventually(lambda taken=taken: _settled(worker, taken))
        proxy.cut()
        beats = await eventually(lambda: _heard(heartbeat))
        assert all(beat.alive for beat in beats)
    heartbeat.close()

    assert (await broker.stats(Q)).enqueued == 10


async def _or_nothing(worker: Consumer) -> list[Delivery]:
    try:
        return await worker.fetch(10)
    except BrokerUnavailable:
        pass
    try:
        return await worker.adopt()
    except BrokerUnavailable:
        return []


async def _heard(heartbeat: Heartbeat) -> list[Beat]:
    try:
        return await asyncio.to_thread(heartbeat.beat, {})
    except BrokerUnavailable:
        return []


async def _settled(worker: Consumer, taken: list[Delivery]) -> bool:
    try:
        await settle(worker, COMPLETED, *taken)
    except BrokerUnavailable:
        return False
    return True
