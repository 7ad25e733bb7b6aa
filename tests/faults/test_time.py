"""Clocks that are wrong or jump, and what must happen at one instant or not at all (F63, F64, F67 to F69)."""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio

from jobqueue.broker.base import Broker, Enqueued, QueueStats, Submission
from jobqueue.broker.invariants import check_queue
from jobqueue.embedded import RedisServer
from jobqueue.errors import BrokerError
from jobqueue.job import PRIORITIES, Job, JobState
from jobqueue.outcome import COMPLETED, Cancelled, Expired, Outcome
from tests.contract.scene import DEAD, SHORT, Q, enqueue, job, promoted, reap, settle, take, take_one
from tests.faults.conftest import MakeBroker
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.topology import start_topology
from testutil.topology.clock import FakeClock, fake_clock, faketime_obstacle

RACES = 1_000
"""10^4 in the catalogue."""
KILLS = 6


# a worker's clock


@pytest.fixture(params=[600, -600], ids=["ahead", "behind"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """This process's wall clock, wrong by ten minutes; its monotonic clock goes on as before."""
    skew_s: int = request.param
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + skew_s)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + skew_s * 10**9)
    return skew_s


async def test_f63_a_wall_clock_ten_minutes_wrong_changes_no_due_time_and_no_lease(
    wrong_clock: int, scene: Scene
) -> None:
    """Producer, worker and scheduler ten minutes ahead or behind: nothing is early, late, expired or run twice."""
    lease = seconds(3)
    started: dict[str, float] = {}
    runs: Counter[str] = Counter()

    @scene.registry.task("t")
    async def handler(name: str) -> None:
        runs[name] += 1
        started[name] = time.monotonic()
        await asyncio.sleep(1.2 * lease.total_seconds() if name == "long" else 0)

    queue = scene.queue(lease=lease)
    began = time.monotonic()
    await queue.enqueue(handler.job("soon"), delay=seconds(1))
    await queue.enqueue(handler.job("later"), delay=timedelta(minutes=9))
    await queue.enqueue(handler.job("mortal"), expires=timedelta(minutes=1))
    await queue.enqueue(handler.job("long"))
    async with scheduling(queue), scene.working(lease=lease) as one, scene.working(lease=lease) as two:

        async def three_completed() -> QueueStats:
            stats = await queue.stats("default")
            assert stats.completed == 3, stats
            return stats

        stats = await eventually(three_completed)
        lost = one.worker.metrics.leases_lost + two.worker.metrics.leases_lost

    assert started["soon"] - began >= 0.95
    assert runs == Counter(["soon", "mortal", "long"])
    assert (stats.completed, stats.delayed, stats.expired, lost) == (3, 1, 0, 0)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """The wall clock of a process that is started with its environment."""
    if obstacle := faketime_obstacle():
        pytest.skip(obstacle)
    with fake_clock() as clock:
        yield clock


@pytest.mark.parametrize("told", ["+600s x1", "-600s x1", "+0s x2"])
async def test_f63_a_worker_process_under_a_wrong_clock_works_on(
    redis_url: str, namespace: str, tmp_path: Path, clock: FakeClock, told: str
) -> None:
    """A worker process whose clock is ten minutes off, or runs twice as fast: jobs run once, none before its time."""
    scene = Scene(redis_url, namespace, lease=seconds(5))
    queue = scene.queue()
    clock.file.write_text(f"{told}\n")
    file = tmp_path / "runs"
    settings = {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace, "RUNS": str(file)}
    lease = {"JOBQUEUE_LEASE": "5s", "JOBQUEUE_REAP_INTERVAL": "1s"}
    await queue.enqueue_many([Job("tell", {"n": n}) for n in range(20)])
    began = time.monotonic()
    await queue.enqueue(Job("tell", {"n": 99}), delay=seconds(1.5))
    command = [sys.executable, "-m", "jobqueue", "worker", "-A", "tests.faults.clock_app"]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | settings | lease | clock.env)
    try:
        stats = await scene.ended(queue, 21, within_s=30)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    runs = [line.split() for line in file.read_text().splitlines()]
    assert sorted(int(n) for n, _ in runs) == [*range(20), 99]
    assert float(dict(runs)["99"]) - began >= 1.45
    assert stats.completed == 21
    await scene.close()


# the server's clock


@dataclass
class Faked:
    """A Valkey whose wall clock is what we say."""

    url: str
    clock: FakeClock

    async def jump(self, seconds: int) -> None:
        """Set its clock so far from the true one, and wait until it shows."""
        self.clock.shift(seconds)
        async with redis.asyncio.Redis.from_url(self.url) as raw:

            async def shown() -> bool:
                return abs((await raw.time())[0] - time.time() - seconds) < 10

            await eventually(shown)


@pytest.fixture
def faked(clock: FakeClock) -> Iterator[Faked]:
    with start_topology("standalone", env=clock.env) as topology:
        yield Faked(topology.url, clock)


async def test_f64_a_jump_of_the_servers_clock_costs_no_job_and_no_second_run(faked: Faked, namespace: str) -> None:
    """The server's clock jumps ten minutes under 40 long jobs: the living keep them, every job runs and ends once."""
    scene = Scene(faked.url, namespace, lease=seconds(2))
    runs: Counter[int] = Counter()
    go_on = asyncio.Event()

    @scene.registry.task("t")
    async def handler(n: int) -> None:
        runs[n] += 1
        if n < 40:
            await go_on.wait()

    queue = scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(40)])
    async with scene.working(concurrency=30) as one, scene.working(concurrency=30) as two:
        await eventually(lambda: len(runs) == 40)
        for jump in (600, -600, 0):
            await faked.jump(jump)
            await asyncio.sleep(1.5 * scene.lease.total_seconds())
        await queue.enqueue_many([handler.job(n) for n in range(40, 60)])
        await eventually(lambda: len(runs) == 60)
        go_on.set()
        stats = await scene.ended(queue, 60)
        lost = one.worker.metrics.leases_lost + two.worker.metrics.leases_lost
    await scene.close()

    assert (stats.completed, lost) == (60, 0)
    assert set(runs.values()) == {1}


async def test_f64_a_dead_worker_is_reaped_soon_though_the_servers_clock_went_back(
    faked: Faked, make_broker: MakeBroker
) -> None:
    """A worker dies and the server's clock goes back ten minutes: its lease, now far ahead, holds nothing up."""
    broker = make_broker(faked.url, lease=SHORT)
    await faked.jump(600)
    dead = await broker.join([Q])
    await enqueue(broker, job())
    await take_one(dead)

    await faked.jump(0)

    await reap(broker, 1)
    assert (await take_one(await broker.join([Q]))).crashes == 1


# promotion


async def test_f67_a_server_killed_in_the_midst_of_promotions_loses_and_doubles_nothing(
    make_broker: MakeBroker, own_server: RedisServer
) -> None:
    """Redis killed again and again while 3 000 due jobs are promoted: each is in one place, and is ready once."""
    broker = make_broker(own_server.url)
    ids = [job(n) for n in range(3_000)]
    await enqueue(broker, *ids, run_at_ms=1 + int((await broker.call(["TIME"]))[0]) * 1000 + 300)

    async def promote() -> None:
        with suppress(BrokerError):
            while (await broker.stats(Q)).delayed:
                await broker.promote(Q)

    for _ in range(KILLS):
        promoting = [asyncio.create_task(promote()) for _ in range(3)]
        await asyncio.sleep(random.uniform(0.0, 0.05))
        await asyncio.to_thread(own_server.kill)
        await asyncio.gather(*promoting)
        await asyncio.to_thread(own_server.restart)
        stats = await broker.stats(Q)
        assert (stats.depth + stats.delayed, stats.drift) == (3_000, 0)
        assert await check_queue(broker, Q) == []
    await promoted(broker, 3_000)

    worker = await broker.join([Q])
    taken = await take(worker, 3_000)
    assert sorted(each.job_id for each in taken) == sorted(each.id for each in ids)


async def test_f68_a_job_cancelled_as_it_falls_due_runs_or_is_cancelled(make_broker: MakeBroker) -> None:
    """1 000 jobs cancelled at the moment of their promotion: each was cancelled and never given out, or runs."""
    broker, other = make_broker(), make_broker()
    worker = await broker.join([Q])
    jobs = [job(n) for n in range(RACES)]
    given: set[str] = set()
    cancelled: dict[str, JobState | None] = {}

    async def promote() -> None:
        while len(cancelled) < RACES:
            await other.promote(Q)

    async def work() -> None:
        while len(cancelled) < RACES:
            given.update(each.job_id for each in await worker.fetch(50, wait=False))

    async def cancel(each: Job) -> None:
        await asyncio.sleep(random.uniform(0.0, 0.3))
        cancelled[each.id] = await broker.cancel(Q, each.id)

    await asyncio.gather(*(enqueue(broker, each, delay=seconds(random.uniform(0.1, 0.4))) for each in jobs))
    await asyncio.gather(promote(), work(), *(cancel(each) for each in jobs))
    given.update(each.job_id for each in await worker.adopt())

    gone = {job_id for job_id, state in cancelled.items() if state is JobState.CANCELLED}
    asked = {job_id for job_id, state in cancelled.items() if state is JobState.RUNNING}
    assert None not in cancelled.values()
    assert gone | asked == {each.id for each in jobs}
    assert asked == given
    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live, stats.drift) == (len(gone), len(asked), 0)
    assert gone
    assert asked


# unique keys


async def test_f69_a_unique_key_outlives_a_long_job_and_a_dead_holder_and_is_free_at_the_end(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """The holder of a unique key dies twice and runs past every lease: the key is held all along, and then free."""
    broker = make_broker(lease=SHORT, max_crashes=3)
    holder, other = job(1, unique_key="k"), job(2, unique_key="k")
    await enqueue(broker, holder)
    for crashes in (0, 1):
        dead = await broker.join([Q])
        assert (await take_one(dead)).crashes == crashes
        assert (await enqueue(broker, other))[0].job_id == holder.id
        await reap(broker, 1)
        assert (await enqueue(broker, other))[0].job_id == holder.id
    worker = await broker.join([Q])
    taken = await take_one(worker)
    assert await raw.pttl(broker.keys(Q).unique) == -1, "no key of a living job has a TTL"

    await settle(worker, COMPLETED, taken)

    assert (await enqueue(broker, other))[0].status is Enqueued.NEW


End = Callable[[Broker, Job], Awaitable[object]]


async def _settled(broker: Broker, holder: Job, outcome: Outcome) -> None:
    worker = await broker.join([Q])
    await settle(worker, outcome, await take_one(worker))


async def _crashed(broker: Broker, holder: Job) -> None:
    await take_one(await broker.join([Q]))
    await reap(broker, 1)


ENDS: dict[str, End] = {
    "completed": lambda broker, holder: _settled(broker, holder, COMPLETED),
    "dead": lambda broker, holder: _settled(broker, holder, DEAD),
    "cancelled while it ran": lambda broker, holder: _settled(broker, holder, Cancelled()),
    "expired": lambda broker, holder: _settled(broker, holder, Expired()),
    "cancelled while it waited": lambda broker, holder: broker.cancel(Q, holder.id),
    "purged": lambda broker, holder: broker.purge(Q, PRIORITIES, delayed=True),
    "dead of its crashes": _crashed,
}


@pytest.mark.parametrize("end", ENDS)
async def test_f69_a_unique_key_is_free_after_every_end(make_broker: MakeBroker, end: str) -> None:
    """Whatever ends the holder of a unique key frees it; a holder that ended before frees nobody else's."""
    broker = make_broker(lease=SHORT, max_crashes=1)
    holder = job(1, unique_key="k")
    await enqueue(broker, holder)

    await ENDS[end](broker, holder)

    (answer,) = await broker.enqueue([Submission(job=job(2, unique_key="k"))])
    assert answer.status is Enqueued.NEW
    assert (await broker.stats(Q)).drift == 0
