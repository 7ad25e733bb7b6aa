"""The checker finds what is broken, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis.asyncio

from jobqueue.broker.base import Consumer
from jobqueue.broker.invariants import Violation, check_queue
from jobqueue.broker.keys import GROUP
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.job import new_id
from jobqueue.outcome import COMPLETED, RELEASED
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, settle, take
from tests.integration.redis.conftest import MakeBroker
from testutil.eventually import eventually


@dataclass
class Scene:
    """A queue with a job in every place; the ids by place."""

    broker: RedisStreamsBroker
    raw: "redis.asyncio.Redis"
    running: str
    ready: str
    delayed: str
    dead: str
    entry: bytes


@pytest.fixture
async def scene(broker: RedisStreamsBroker, raw: "redis.asyncio.Redis") -> Scene:
    ids = [job(n) for n in range(4)]
    worker = await broker.join([Q])
    await enqueue(broker, ids[0], ids[3])
    running, dead = await take(worker, 2)
    await settle(worker, DEAD, dead)
    await enqueue(broker, ids[1])
    await enqueue(broker, ids[2], delay=timedelta(hours=1))
    await broker.timetable.begin(Q, "digest", version=1, at_ms=1_000, waiting=[500, 900])
    await broker.timetable.end(Q, "digest", version=2)
    return Scene(broker, raw, *(each.id for each in ids), entry=running.entry_id)


Break = Callable[[Scene], Awaitable[object]]

BREAKS: dict[str, tuple[str, Break, Callable[[Scene], str]]] = {
    "a job counted twice": (
        "I1",
        lambda s: s.raw.hincrby(s.broker.keys(Q).meta, "enqueued", 1),
        lambda s: "enqueued 5",
    ),
    "a dead letter lost": ("I2", lambda s: s.raw.delete(s.broker.keys(Q).dead), lambda s: "dead 1"),
    "a dead letter trimmed": ("I2", lambda s: s.raw.xtrim(s.broker.keys(Q).dead, maxlen=0), lambda s: "dead 1"),
    "an entry deleted by hand": ("I3", lambda s: s.raw.xdel(s.broker.keys(Q).medium, s.entry), lambda s: s.running),
    "a stream trimmed": ("I3", lambda s: s.raw.xtrim(s.broker.keys(Q).medium, maxlen=0), lambda s: s.ready),
    "an id gone from the index": ("I3", lambda s: s.raw.hdel(s.broker.keys(Q).jobs, s.ready), lambda s: s.ready),
    "an index that points elsewhere": (
        "I3",
        lambda s: s.raw.hset(s.broker.keys(Q).jobs, s.ready, "05-5"),
        lambda s: s.ready,
    ),
    "a job that is in two places": (
        "I3",
        lambda s: s.raw.xadd(s.broker.keys(Q).low, {"i": s.delayed, "b": "{}"}),
        lambda s: s.delayed,
    ),
    "a due time lost": ("I3", lambda s: s.raw.zrem(s.broker.keys(Q).delayed, s.delayed), lambda s: s.delayed),
    "a due time of no job": (
        "I3",
        lambda s: s.raw.zadd(s.broker.keys(Q).delayed, {"stranger": 1}),
        lambda s: "stranger",
    ),
    "a consumer deleted by hand": (
        "I4",
        lambda s: _delete_consumers(s.raw, s.broker.keys(Q).medium),
        lambda s: s.running,
    ),
    "a live key that expires": (
        "I6",
        lambda s: s.raw.expire(s.broker.keys(Q).jobs, 100),
        lambda s: s.broker.keys(Q).jobs,
    ),
    "a tick that fired twice": (
        "I7",
        lambda s: _fire_twice(s.raw, s.broker.keys(Q).ticks),
        lambda s: "digest at 5000",
    ),
    "ticks that wait in no order": (
        "I7",
        lambda s: s.raw.hset(s.broker.keys(Q).cron, "digest", "1 9000 - 7000,6000 -"),
        lambda s: "digest: 1 9000 - 7000,6000 -",
    ),
    "a tick that waits and was not decided": (
        "I7",
        lambda s: s.raw.hset(s.broker.keys(Q).cron, "digest", "1 9000 - 7000,9001 -"),
        lambda s: "digest: 1 9000 - 7000,9001 -",
    ),
    "a standing that is none": (
        "I7",
        lambda s: s.raw.hset(s.broker.keys(Q).cron, "digest", "x"),
        lambda s: "digest: x",
    ),
}


async def _fire_twice(raw: "redis.asyncio.Redis", ticks: str) -> None:
    for version in (1, 1):
        await raw.xadd(ticks, {"n": "digest", "d": f"{version} fired on_time 5000 5000 1 {new_id()}"})


async def _delete_consumers(raw: "redis.asyncio.Redis", stream: str) -> None:
    for consumer in await raw.xinfo_consumers(stream, GROUP):
        await raw.xgroup_delconsumer(stream, GROUP, consumer["name"])


async def test_a_sound_queue_has_no_violations(scene: Scene) -> None:
    assert await check_queue(scene.broker, Q) == []
    assert await check_queue(scene.broker, "nobody") == []


@pytest.mark.parametrize(("rule", "harm", "named"), BREAKS.values(), ids=BREAKS.keys())
async def test_a_broken_invariant_is_named(scene: Scene, rule: str, harm: Break, named: Callable[[Scene], str]) -> None:
    await harm(scene)

    found = await check_queue(scene.broker, Q)

    assert named(scene) in " ".join(each.message for each in found if each.rule == rule), found


async def test_letters_in_postgres_count_too(scene: Scene) -> None:
    @dataclass
    class Account:
        waiting: int
        purged: int

    await scene.raw.xtrim(scene.broker.keys(Q).dead, maxlen=0)

    assert await check_queue(scene.broker, Q, letters=Account(waiting=1, purged=0)) == []
    assert await check_queue(scene.broker, Q, letters=Account(waiting=0, purged=1)) == []
    assert [each.rule for each in await check_queue(scene.broker, Q, letters=Account(waiting=1, purged=1))] == ["I2"]


@pytest.mark.parametrize("reaping", [True, False])
async def test_a_dead_workers_jobs_break_i4_only_when_reapers_pass_them_by(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", reaping: bool
) -> None:
    broker = make_broker(lease=timedelta(milliseconds=200))
    worker = await broker.join([Q])
    await enqueue(broker, job())
    (taken,) = await take(worker, 1)
    await worker.leave()

    found = await (_check_beside_reapers(broker, raw, worker) if reaping else check_queue(broker, Q))

    assert {each.rule for each in found} == ({"I4"} if reaping else set())
    if found:
        named = " ".join(each.message for each in found)
        assert taken.entry_id.decode() in named
        assert worker.name in named


async def test_a_worker_that_left_and_is_still_on_the_roster_breaks_i4(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    broker = make_broker(lease=timedelta(milliseconds=200))
    worker = await broker.join([Q])
    kept = await raw.hgetall(broker.keys(Q).roster)
    await worker.leave()
    assert await _check_beside_reapers(broker, raw, worker) == []
    await raw.hset(broker.keys(Q).roster, mapping=kept)

    (found,) = await _check_beside_reapers(broker, raw, worker)

    assert (found.rule, found.message) == ("I4", f"on the roster, dead and not reaped: {worker.name}")


async def _check_beside_reapers(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", worker: Consumer
) -> list[Violation]:
    """As if reapers were at work, and did nothing; for a minute, so that none is late on a busy machine."""
    await raw.hset(broker.keys(Q).meta, "janitor_ms", worker.now_ms() + 60_000)
    return await check_queue(broker, Q)


async def test_a_busy_queue_has_no_violations(make_broker: MakeBroker) -> None:
    broker = make_broker(history=True)
    busy = True

    async def produce() -> None:
        while busy:
            await enqueue(broker, *[job(n) for n in range(20)])
            await enqueue(broker, *[job(n) for n in range(5)], delay=timedelta(milliseconds=20))
            await broker.cancel(Q, new_id())
            await broker.promote(Q)

    async def work() -> None:
        worker = await broker.join([Q])
        while busy:
            for n, each in enumerate(await worker.fetch(30)):
                await settle(worker, (COMPLETED, RETRY_NOW, DEAD, RELEASED, COMPLETED)[n % 5], each)

    tasks = [asyncio.create_task(each) for each in (produce(), work(), work())]
    checker = make_broker()
    found: list[Violation] = []

    async def checked_often() -> bool:
        found.extend([each for _ in range(4) for each in await check_queue(checker, Q)])
        return (await broker.stats(Q)).completed > 50

    await eventually(checked_often)
    busy = False
    await asyncio.gather(*tasks)

    assert found == []
    assert await check_queue(checker, Q) == []
