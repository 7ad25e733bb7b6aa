"""Enqueueing while replies get lost, Redis is away, full or about to forget, and jobs are not fit to be queued."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobqueue.broker.base import Enqueued, Submission
from jobqueue.broker.connection import NoReply
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.keys import GROUP
from jobqueue.broker.scripts import ENQUEUE
from jobqueue.embedded import RedisServer
from jobqueue.errors import BrokerUnavailable, ConfigError, EnqueueUncertain, IdempotencyConflict, InvalidJob
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED
from tests.contract.scene import Q, enqueue, job, raised, settle, take_one
from tests.faults.conftest import MakeBroker
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually
from testutil.proxy import FaultProxy

BRIEF = timedelta(seconds=1)
ENQUEUED = ENQUEUE.sha.encode()


async def test_f01_an_idempotency_key_closes_what_was_uncertain(make_broker: MakeBroker, proxy: FaultProxy) -> None:
    """With an idempotency key the enqueue may be repeated even after the job has ended."""
    broker, direct = make_broker(proxy.url, enqueue_timeout=BRIEF), make_broker()
    worker = await direct.join([Q])
    await enqueue(broker, job(0))
    await settle(worker, COMPLETED, await take_one(worker))
    sent = job(1)
    proxy.drop_reply(ENQUEUED, times=1000)
    assert isinstance(await raised(lambda: enqueue(broker, sent, idempotency_key="k")), EnqueueUncertain)
    await settle(worker, COMPLETED, await take_one(worker))

    (again,) = await enqueue(direct, job(1), idempotency_key="k")

    assert (again.status, again.job_id) == (Enqueued.EXISTS, sent.id)
    stats = await direct.stats(Q)
    assert (stats.enqueued, stats.completed, stats.live) == (2, 2, 0)


async def test_f02_no_command_is_sent_twice_behind_our_back(
    make_broker: MakeBroker, proxy: FaultProxy, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    """The client library's own retries are off: a command without a reply has been sent once."""
    broker = make_broker(proxy.url)
    counter = f"{{{namespace}:counter}}"
    proxy.drop_reply(b"INCR", times=10)

    for _ in range(3):
        assert isinstance(await raised(lambda: broker.call(["INCR", counter])), NoReply)

    assert int(await raw.get(counter)) == proxy.faults == 3


async def test_f04_a_hundred_enqueues_fail_in_time_and_succeed_when_redis_is_back(
    make_broker: MakeBroker, own_server: RedisServer
) -> None:
    """Every enqueue fails at its deadline; the same jobs are queued, once each, when Redis is back."""
    broker = make_broker(own_server.url, enqueue_timeout=BRIEF)
    await enqueue(broker, job(0))
    own_server.kill()
    jobs = [job(n) for n in range(100)]

    async with asyncio.timeout(30):
        errors = await asyncio.gather(*(raised(lambda each=each: enqueue(broker, each)) for each in jobs))
    own_server.restart()

    # What was on its way when the connection broke may have arrived, for all that the producer knows.
    assert {type(each) for each in errors} <= {BrokerUnavailable, EnqueueUncertain}
    assert sum(type(each) is BrokerUnavailable for each in errors) >= 99

    async def queued() -> bool:
        """A second may be too short on a busy machine, and what was uncertain then is there already."""
        return await raised(lambda: enqueue(broker, *jobs)) is None

    await eventually(queued)
    stats = await broker.stats(Q)
    assert (stats.depth, stats.enqueued) == (101, 101)


async def test_f04_one_who_was_cancelled_while_waiting_leaves_no_deadline_to_those_who_come_later(
    make_broker: MakeBroker,
) -> None:
    """An enqueue that is cancelled behind another is not queued late, and its deadline fails no later one."""
    broker = make_broker(enqueue_timeout=BRIEF)
    for n in range(3):
        await enqueue(broker, job(n))  # the next goes in its caller's own task
    alone = asyncio.create_task(enqueue(broker, job(3)))
    await asyncio.sleep(0)
    behind = asyncio.create_task(enqueue(broker, job(4)))
    await asyncio.sleep(0)
    behind.cancel()
    await asyncio.wait([alone, behind])
    await asyncio.sleep(BRIEF.total_seconds() * 1.2)

    (later,) = await enqueue(broker, job(5))

    assert later.status is Enqueued.NEW
    assert (await broker.stats(Q)).enqueued == 5


async def test_f05_each_job_of_a_batch_has_an_answer_of_its_own(make_broker: MakeBroker) -> None:
    """A conflict or a job that is there already is one job's answer; the others are queued."""
    broker = make_broker()
    first = job(1)
    await enqueue(broker, first, idempotency_key="k")
    others = [job(n) for n in range(10, 16)]

    results = await broker.enqueue(
        [
            *(Submission(job=each) for each in others[:3]),
            Submission(job=job(2), idempotency_key="k"),
            Submission(job=first),
            *(Submission(job=each) for each in others[3:]),
        ]
    )

    new, conflict, exists = Enqueued.NEW, Enqueued.CONFLICT, Enqueued.EXISTS
    assert [each.status for each in results] == [new, new, new, conflict, exists, new, new, new]
    assert [each.job_id for each in results if each.status is new] == [each.id for each in others]
    assert (await broker.stats(Q)).depth == 7
    assert await check_queue(broker, Q) == []


async def test_f05_f09_a_job_that_is_too_big_is_refused_before_anything_is_sent(scene: Scene) -> None:
    """An oversize job is refused when it is made, so none of its batch is sent."""
    queue = scene.queue()

    async def batch() -> None:
        await queue.enqueue_many(Job("t", {"x": "y" * size}) for size in (1, 300_000, 1))

    assert isinstance(await raised(batch), InvalidJob)
    assert await queue.queues() == []


async def test_f07_a_worker_refuses_a_server_that_evicts(
    own_server: RedisServer, own_raw: "redis.asyncio.Redis", own_scene: Scene
) -> None:
    """A worker does not start on a server that may evict keys."""
    await own_raw.config_set("maxmemory-policy", "allkeys-lru")
    await own_raw.config_set("maxmemory", "100mb")

    error = await raised(own_scene.worker().run)

    assert isinstance(error, ConfigError)
    assert "allkeys-lru" in str(error)
    assert "JOBQUEUE_ALLOW_EVICTION" in str(error)


@pytest.mark.parametrize(("evicted", "broken"), [("medium", {"I1", "I3"}), ("jobs", {"I1", "I3"}), ("meta", {"I1"})])
async def test_f07_what_an_evicting_server_has_forgotten_is_reported(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", evicted: str, broken: set[str]
) -> None:
    """Where eviction was allowed all the same, the check reports what is gone."""
    broker = make_broker()
    await enqueue(broker, job(1), job(2))
    assert await check_queue(broker, Q) == []

    await raw.delete(getattr(broker.keys(Q), evicted))  # to evict a key is to delete it

    assert {each.rule for each in await check_queue(broker, Q)} == broken


@pytest.mark.parametrize(
    "payload",
    [
        {"x": float("nan")},
        {"x": object()},
        {"x": "y" * 300_000},
        {"x": ["\ud800"]},
        msgspec.json.decode(b'{"x":' + b"[" * 100 + b"]" * 100 + b"}"),
    ],
    ids=["nan", "object", "too big", "no text", "too deep"],
)
def test_f09_a_payload_that_cannot_be_kept_is_refused_where_it_is_made(payload: dict[str, object]) -> None:
    """Such a job cannot be made: InvalidJob says why."""
    with pytest.raises(InvalidJob):
        Job("t", payload)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(st.text(max_size=10), _VALUES, max_size=5))
def test_f09_any_payload_is_refused_or_comes_back_as_it_was(payload: dict[str, object]) -> None:
    """Whatever is accepted comes back from the wire as it was."""
    try:
        made = Job("t", payload)
    except InvalidJob:
        return

    back = Job.from_wire(made.to_wire(), id=made.id, queue=made.queue, priority=made.priority)

    assert back == made
    assert back.payload == made.payload


async def test_f10_a_key_that_stands_for_another_body_is_a_conflict(scene: Scene) -> None:
    """The enqueue raises IdempotencyConflict with the first job's id; the same body gives the first job."""
    queue = scene.queue()
    first = await queue.enqueue(Job("t", {"n": 1}), idempotency_key="k")

    error = await raised(lambda: queue.enqueue(Job("t", {"n": 2}), idempotency_key="k"))
    again = await queue.enqueue(Job("t", {"n": 1}), idempotency_key="k")

    assert isinstance(error, IdempotencyConflict)
    assert error.job_id == again.id == first.id
    assert (first.created, again.created) == (True, False)
    assert (await queue.stats("default")).depth == 1


@pytest.mark.parametrize("groups", ["kept", "lost"])
async def test_f11_the_first_worker_gets_all_that_was_queued_before_it(
    scene: Scene, raw: "redis.asyncio.Redis", groups: str
) -> None:
    """The group begins with the first entry, whoever makes it: the first worker gets everything."""
    ran: list[int] = []

    @scene.registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    for n in range(10):
        await queue.enqueue(handler.job(n))
    if groups == "lost":
        assert queue.parts.redis is not None
        for stream in queue.parts.redis.keys("default").streams:
            await raw.xgroup_destroy(stream, GROUP)
    async with scene.working(concurrency=1):
        await scene.ended(queue, 10)

    assert ran == list(range(10))
