"""Many processes of one or two kinds: loops that fail, versions and applications side by side (F83 to F85)."""

import asyncio
import os
import re
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio

from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.errors import ConfigError
from jobqueue.job import PRIORITIES, Job
from jobqueue.outcome import COMPLETED
from tests.contract.scene import Q, enqueue, job, raised, settle, take_one
from tests.faults.conftest import MakeBroker
from tests.integration.redis.dump import dump
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

# loops


async def test_f83_a_reaper_that_raises_recovers_the_jobs_as_soon_as_it_can_again(scene: Scene) -> None:
    """Every loop of the scheduler raises for a while: each is counted, tried again, and then does its work."""
    queue = scene.queue()
    broker = queue.parts.broker
    await queue.enqueue(Job("t", {}, queue="new"), delay=timedelta(milliseconds=50))
    doomed = await broker.join(["new"])
    await queue.enqueue(Job("t", {}, queue="new"))
    await eventually(lambda: doomed.fetch(1))
    await doomed.close()
    broken = True
    failed: Counter[str] = Counter()

    def breaking(name: str) -> None:
        work = getattr(broker, name)

        async def verb(*args: object, **how: object) -> object:
            if broken:
                failed[name] += 1
                raise RuntimeError(f"{name} is broken")
            return await work(*args, **how)

        setattr(broker, name, verb)

    for name in ("promote", "reap"):
        breaking(name)
    scheduler = queue.parts.scheduler()
    work = asyncio.create_task(scheduler.run())
    await eventually(lambda: min(failed["promote"], failed["reap"]) >= 2)
    beats = {name: beat for name, beat in scheduler.heartbeats.items() if name.partition(":")[0] in ("promote", "reap")}
    assert all(beat.failures >= 1 for beat in beats.values())
    broken = False

    async def both_ready() -> bool:
        return (await queue.stats("new")).depth == 2

    await eventually(both_ready, within_s=30)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_f83_a_loop_that_hangs_is_seen_by_the_health_probe(scene: Scene) -> None:
    """A step that never returns: after three periods its heartbeat is unhealthy, and those of other loops are not."""
    queue = scene.queue()
    broker = queue.parts.broker
    await queue.enqueue(Job("t", {}, queue="new"))

    async def hang(name: str, **_: object) -> int:
        await asyncio.Event().wait()
        return 0

    broker.reap = hang  # type: ignore[method-assign]
    scheduler = queue.parts.scheduler()
    work = asyncio.create_task(scheduler.run())
    await eventually(lambda: "reap:new" in scheduler.heartbeats)

    def verdicts() -> dict[str, bool]:
        now = scheduler.clock.monotonic()
        return {name.partition(":")[0]: beat.healthy(now) for name, beat in scheduler.heartbeats.items()}

    # What hangs stays unhealthy; of the others, one may be late for a moment on a busy machine.
    others = dict.fromkeys(["promote", "listen", "queues", "schedules"], True)
    await eventually(lambda: verdicts() == {"reap": False, **others})
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


# versions


async def test_f84_scripts_of_two_versions_work_on_one_queue(redis_url: str, namespace: str, tmp_path: Path) -> None:
    """A worker whose scripts have other texts, so other shas, beside one of ours: 400 jobs, each run once."""
    scene = Scene(redis_url, namespace)
    ran: Counter[str] = Counter()

    @scene.registry.task("tell")
    async def tell(n: int) -> None:
        ran["ours"] += 1
        await asyncio.sleep(0.005)

    queue = scene.queue(lease=timedelta(seconds=15))
    told = tmp_path / "told"
    settings = {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace, "RUNS": str(told)}
    command = [sys.executable, "-m", "tests.faults.other_version", "worker", "-A", "tests.faults.clock_app"]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | settings)
    try:
        await eventually(lambda: _workers(queue.parts.redis, 1), within_s=30)
        async with scene.working(lease=timedelta(seconds=15)):
            await eventually(lambda: _workers(queue.parts.redis, 2))
            many = 0
            while many < 400 or not (ran["ours"] and told.exists()):
                await queue.enqueue_many([tell.job(n) for n in range(many, many + 20)])
                many += 20
                await asyncio.sleep(0.01)
            stats = await scene.ended(queue, many, within_s=30)
    finally:
        process.terminate()
        await process.wait()
    theirs = len(told.read_text().splitlines())

    assert (stats.completed, stats.drift) == (many, 0)
    assert ran["ours"] + theirs == many
    await scene.close()


async def _workers(broker: RedisStreamsBroker | None, count: int) -> bool:
    assert broker is not None
    return len(await broker.workers("default")) == count


async def test_f84_a_queue_of_another_protocol_is_refused_and_left_alone(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    """A queue made by a version that speaks another protocol: producer and worker refuse it and change nothing."""
    broker = make_broker()
    await enqueue(broker, job())
    await raw.hset(broker.keys(Q).meta, "version", "2")
    before = await dump(raw, namespace)

    for verb in (lambda: make_broker().join([Q]), lambda: enqueue(make_broker(), job())):
        error = await raised(verb)
        assert isinstance(error, ConfigError)
        assert "version 2" in str(error)

    assert await dump(raw, namespace) == before


# applications


async def test_f85_two_namespaces_on_one_redis_never_meet(
    redis_url: str, namespace: str, raw: "redis.asyncio.Redis"
) -> None:
    """Two applications with queues and jobs of one name on one Redis: what one does changes nothing of the other."""
    names = [f"{namespace}a", f"{namespace}ab"]
    one, two = (RedisStreamsBroker(redis_url, namespace=name, history=True) for name in names)
    same = job(1, unique_key="k")
    for broker in (one, two):
        await enqueue(broker, same, job(2), idempotency_key=None)
    before = await dump(raw, names[1])

    worker = await one.join([Q])
    await settle(worker, COMPLETED, await take_one(worker))
    await one.pause(Q)
    await one.promote(Q)
    await one.reap(Q)
    assert await one.purge(Q, PRIORITIES, delayed=True) == 1
    await worker.leave()

    assert await dump(raw, names[1]) == before
    assert (await two.stats(Q)).depth == 2
    assert (await two.queues(), await one.queues()) == ([Q], [Q])
    for broker in (one, two):
        await broker.close()


async def test_f85_two_databases_of_one_redis_never_meet(redis_url: str, namespace: str) -> None:
    """Two applications of one namespace in databases 0 and 3 of one Redis: each sees its own jobs."""
    one = RedisStreamsBroker(redis_url, namespace=namespace)
    two = RedisStreamsBroker(re.sub(r"/0$", "/3", redis_url), namespace=namespace)
    await enqueue(one, job())

    assert await two.queues() == []
    await enqueue(two, job(), job())

    assert ((await one.stats(Q)).depth, (await two.stats(Q)).depth) == (1, 2)
    await one.close()
    await two.close()


@pytest.mark.parametrize("number", [1, 15])
def test_f85_a_database_number_in_a_cluster_is_refused(number: int) -> None:
    """A cluster has database 0 alone: a URL that names another is a configuration error."""
    with pytest.raises(ConfigError, match="database"):
        RedisStreamsBroker(f"redis+cluster://127.0.0.1:7001,127.0.0.1:7002/{number}")
