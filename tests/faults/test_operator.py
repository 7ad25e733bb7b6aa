"""What an operator does to live queues: FLUSHALL, XGROUP, DELCONSUMER, XTRIM, an old backup (F37 to F41, F48)."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import redis.asyncio

from jobqueue.app import JobQueue
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.keys import GROUP
from jobqueue.broker.repair import readd_stranded
from jobqueue.context import JobContext
from jobqueue.embedded import RedisServer
from jobqueue.outcome import COMPLETED
from jobqueue.repository.base import LetterFilter
from tests.contract.scene import SHORT, Q, enqueue, job, settle, take, take_one
from tests.faults.conftest import MakeBroker
from tests.integration.scheduler.test_shipping import scheduling, shipped
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually

INCARNATIONS = 500


async def doctor(url: str, namespace: str, *options: str, database_url: str = "") -> list[dict[str, Any]]:
    """The findings of `jobqueue doctor`."""
    env = os.environ | {"REDIS_URL": url, "JOBQUEUE_NAMESPACE": namespace, "DATABASE_URL": database_url}
    command = [sys.executable, "-m", "jobqueue", "doctor", "--output", "json", *options]
    ended = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, timeout=60)
    findings: list[dict[str, Any]] = json.loads(ended.stdout or ended.stderr)
    return findings


def about(findings: list[dict[str, Any]], queue: str, state: str) -> str:
    return "\n".join(each["what"] for each in findings if (each["about"], each["state"]) == (f"queue {queue}", state))


# groups and data destroyed under load


class Running:
    """300 jobs of a few milliseconds on two workers."""

    def __init__(self, scene: Scene, count: int = 300) -> None:
        self.count = count
        self.ends: Counter[int] = Counter()
        self.task = scene.registry.task("t")(self.run)

    async def run(self, ctx: JobContext, n: int) -> None:
        await asyncio.sleep(0.02)
        self.ends[n] += 1

    async def enqueue(self, queue: JobQueue) -> None:
        await queue.enqueue_many([self.task.job(n) for n in range(self.count)])

    async def at(self, part: float) -> None:
        await eventually(lambda: len(self.ends) >= part * self.count, within_s=30)


async def test_f37_f38_a_group_destroyed_under_load_costs_runs_and_no_job(
    own_scene: Scene, own_raw: "redis.asyncio.Redis"
) -> None:
    """XGROUP DESTROY under load, three times: the group is made again at 0; jobs may run twice, none is lost."""
    queue, load = own_scene.queue(), Running(own_scene)
    broker = queue.parts.redis
    assert broker is not None
    async with own_scene.working(concurrency=10), own_scene.working(concurrency=10):
        await load.enqueue(queue)
        before = await asked(own_raw)
        for part in (0.1, 0.3, 0.5):
            await load.at(part)
            for stream in broker.keys("default").streams:
                await own_raw.xgroup_destroy(stream, GROUP)
        stats = await own_scene.ended(queue, load.count, within_s=30)
        spent = await asked(own_raw) - before

    assert stats.completed == load.count
    assert set(load.ends) == set(range(load.count))
    assert spent < 10_000  # a loop without a pause makes tens of thousands


async def test_f37_flushall_under_load_ends_what_was_and_new_jobs_run(
    own_scene: Scene, own_raw: "redis.asyncio.Redis"
) -> None:
    """FLUSHALL under load: what was queued is gone, workers come back by themselves, and later jobs run once."""
    queue, load = own_scene.queue(), Running(own_scene)
    async with own_scene.working(concurrency=10) as one, own_scene.working(concurrency=10) as two:
        await load.enqueue(queue)
        await load.at(0.2)
        before = await asked(own_raw)
        await own_raw.flushall()
        await eventually(lambda: one.worker.metrics.leases_lost and two.worker.metrics.leases_lost)
        load.ends.clear()
        await load.enqueue(queue)
        stats = await own_scene.ended(queue, load.count, within_s=30)
        spent = await asked(own_raw) - before

    assert (stats.enqueued, stats.completed) == (load.count, load.count)
    assert set(load.ends) == set(range(load.count))
    assert spent < 10_000


async def test_f37_a_renamed_stream_is_made_again_and_the_check_names_what_went_with_it(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """A stream renamed under a worker: it is made again, new jobs run, and the check names the jobs that went."""
    broker = make_broker(own_server.url)
    worker = await broker.join([Q])
    gone = job(1)
    await enqueue(broker, gone)
    await own_raw.rename(broker.keys(Q).medium, "elsewhere")

    assert await worker.fetch(1) == []
    await enqueue(broker, job(2))
    await settle(worker, COMPLETED, await take_one(worker))

    (lost,) = [each for each in await check_queue(broker, Q) if each.rule == "I3"]
    assert gone.id in lost.message


async def asked(raw: "redis.asyncio.Redis") -> int:
    """How many scripts and reads it was asked for; what scripts call would count our own looks many times over."""
    stats = await raw.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval", "xreadgroup"))


# consumers and entries deleted by hand


async def test_f39_jobs_of_a_consumer_deleted_by_hand_are_named_and_repaired(
    make_broker: MakeBroker, redis_url: str, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    """XGROUP DELCONSUMER with running jobs: `doctor` names them, and with --repair queues them again."""
    broker = make_broker()
    worker = await broker.join([Q])
    jobs = [job(n, priority=priority) for n, priority in enumerate(["low", "medium", "medium", "critical"])]
    await enqueue(broker, *jobs)
    taken = await take(worker, 4)
    await settle(worker, COMPLETED, taken[0])
    stranded = [each.job_id for each in taken[1:]]
    for stream in broker.keys(Q).streams:
        await raw.xgroup_delconsumer(stream, GROUP, worker.name)
    await worker.leave()
    waiting, running = job(8), await broker.join([Q])
    held = job(9, priority="critical")
    await enqueue(broker, held)
    await take_one(running)
    await enqueue(broker, waiting)

    named = about(await doctor(redis_url, namespace), Q, "failed")
    assert all(job_id in named for job_id in stranded)
    assert held.id not in named
    repaired = about(findings := await doctor(redis_url, namespace, "--repair"), Q, "warning")

    assert all(job_id in repaired for job_id in stranded), findings
    assert held.id not in repaired
    assert waiting.id not in repaired
    assert about(findings, Q, "failed") == ""
    again = await take(await broker.join([Q]), 4)
    assert sorted(each.job_id for each in again) == sorted([*stranded, waiting.id])
    assert {each.attempt for each in again} == {1}
    stats = await broker.stats(Q)
    assert (stats.live, stats.running, stats.drift) == (5, 5, 0)


async def test_f39_a_repair_beside_a_living_worker_doubles_no_settlement(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """A repair while the deleted consumer's worker still runs the job: the job runs twice and is settled once."""
    broker = make_broker()
    one, two = await broker.join([Q]), await broker.join([Q])
    await enqueue(broker, job())
    old = await take_one(one)
    await raw.xgroup_delconsumer(broker.keys(Q).medium, GROUP, one.name)
    assert await readd_stranded(broker, Q) == [old.job_id]
    assert await readd_stranded(broker, Q) == []
    new = await take_one(two)

    await settle(one, COMPLETED, old)
    await settle(two, COMPLETED, new)

    stats = await broker.stats(Q)
    assert (stats.completed, stats.live, stats.drift) == (1, 0, 0)
    assert await check_queue(broker, Q) == []


async def test_f40_five_hundred_incarnations_leave_no_consumer(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """500 short-lived workers, each third of them killed with a job: no consumer and no lease is left, and no job."""
    broker = make_broker(lease=SHORT, max_crashes=1_000)

    async def live_and_die(n: int) -> None:
        worker = await broker.join([Q])
        await enqueue(broker, job(n))
        taken = await worker.fetch(1, wait=False)
        if n % 3:
            await settle(worker, COMPLETED, *taken)
            await worker.leave()
        await worker.close()

    for first in range(0, INCARNATIONS, 20):
        await asyncio.gather(*(live_and_die(n) for n in range(first, first + 20)))

    async def gone() -> bool:
        await broker.reap(Q)
        consumers = [await raw.xinfo_consumers(stream, GROUP) for stream in broker.keys(Q).streams]
        return consumers == [[], [], [], []] and await raw.zcard(broker.keys(Q).workers) == 0

    await eventually(gone, within_s=30, poll_s=0.03)
    stats = await broker.stats(Q)
    assert (stats.enqueued, stats.depth, stats.running) == (INCARNATIONS, stats.live, 0)
    assert await check_queue(broker, Q) == []


async def test_f41_the_doctor_names_the_jobs_that_xtrim_deleted(
    make_broker: MakeBroker, redis_url: str, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    """XTRIM on a job stream by hand: the index still knows the jobs, and `doctor` names each one that is lost."""
    broker = make_broker()
    jobs = [job(n) for n in range(6)]
    await enqueue(broker, *jobs)
    await raw.xtrim(broker.keys(Q).medium, maxlen=2, approximate=False)

    named = about(await doctor(redis_url, namespace), Q, "failed")

    assert [each.id in named for each in jobs] == [True] * 4 + [False] * 2


# an old backup


async def test_f48_an_old_backup_is_told_and_doubles_no_history(
    own_server: RedisServer, namespace: str, database_url: str, tmp_path: Path
) -> None:
    """An old AOF restored: finished jobs run again, their history is not doubled, and `doctor` tells of it."""
    scene = Scene(own_server.url, namespace, lease=seconds(5), database_url=database_url)
    ran: Counter[int] = Counter()

    @scene.registry.task("t", max_retries=0)
    async def handler(n: int) -> None:
        ran[n] += 1
        if n < 2:
            raise ValueError("always")

    queue = scene.queue()
    first, second = ([handler.job(n) for n in numbers] for numbers in (range(10), range(10, 20)))
    await queue.enqueue_many(first[:5])
    async with scene.working():
        await scene.ended(queue, 5)  # journalled, and not shipped yet
    await queue.enqueue_many(first[5:])
    data, backup = own_server.data_dir / "data" / "appendonlydir", tmp_path / "backup"
    shutil.copytree(data, backup)
    async with scheduling(queue), scene.working():
        await queue.enqueue_many(second)
        await scene.ended(queue, 20)
        await shipped(queue)

    own_server.kill()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    await asyncio.to_thread(own_server.restart)

    told = about(await doctor(own_server.url, namespace, database_url=database_url), "default", "failed")
    assert "set back: Postgres has history up to" in told
    async with scheduling(queue), scene.working():
        await scene.ended(queue, 10)
        await shipped(queue)
    findings = await doctor(own_server.url, namespace, database_url=database_url)
    assert "set back" not in about(findings, "default", "failed")
    assert ran == Counter({n: 2 if 5 <= n < 10 else 1 for n in range(20)})
    by_outcome = await queue.executions.count_by_outcome(queue=None, since=None)
    assert (by_outcome["completed"], by_outcome["dead"]) == (23, 2)
    assert await queue.dead_letters.count(LetterFilter()) == 2
    for each in scene._queues:
        await each.close()
