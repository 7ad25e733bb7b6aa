"""Redis dies, loses its newest writes, stands still, forgets its scripts, cuts its clients (F31 to F36, F46, F47)."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio

from jobqueue.broker.base import Delivery
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.errors import JobQueueError
from jobqueue.outcome import COMPLETED
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, promoted, settle, take
from tests.faults.conftest import MakeBroker
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually

KILLS = 10
"""Of the server in one test; 50 in the catalogue."""
CUTS = (1, 2, 3, 7, 20, 47, 80, 110, 150, 200)
"""Bytes torn off the end of the AOF."""


# killed with SIGKILL under load


class Load:
    """Producers and a worker at full speed, and what each of them was promised."""

    def __init__(self, broker: RedisStreamsBroker) -> None:
        self.broker = broker
        self.acknowledged: list[str] = []
        self.settled: set[str] = set()
        self.in_doubt: set[str] = set()

    async def until(self, kill: "asyncio.Task[None]") -> None:
        async with asyncio.TaskGroup() as load:
            for _ in range(4):
                load.create_task(self._produce(kill))
            load.create_task(self._work(kill))

    async def _produce(self, kill: "asyncio.Task[None]") -> None:
        with suppress(JobQueueError):
            while not kill.done():
                jobs = [job(n) for n in range(20)]
                await enqueue(self.broker, *jobs)
                self.acknowledged += [each.id for each in jobs]

    async def _work(self, kill: "asyncio.Task[None]") -> None:
        with suppress(JobQueueError):
            worker = await self.broker.join([Q])
            while not kill.done():
                taken = await worker.fetch(20)
                ids = {each.job_id for each in taken}
                self.in_doubt |= ids
                await settle(worker, COMPLETED, *taken)
                self.settled |= ids
                self.in_doubt -= ids


async def kill_under_load(server: RedisServer, broker: RedisStreamsBroker) -> Load:
    """One round: the server is killed in the midst of the load, and started again."""

    async def kill_soon() -> None:
        await asyncio.sleep(random.uniform(0.02, 0.12))
        await asyncio.to_thread(server.kill)

    load = Load(broker)
    await load.until(asyncio.create_task(kill_soon()))
    await asyncio.to_thread(server.restart)
    return load


async def alive(server: RedisServer, broker: RedisStreamsBroker) -> set[str]:
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        return {job_id.decode() for job_id in await raw.hkeys(broker.keys(Q).jobs)}


@pytest.mark.parametrize("binary", ["valkey", "redis-server"])
async def test_f32_a_server_that_syncs_always_loses_nothing_it_acknowledged(
    make_broker: MakeBroker, binary: Literal["valkey", "redis-server"]
) -> None:
    """Redis with `appendfsync always`, killed again and again under load, loses nothing it acknowledged."""
    with start_redis(binary=binary, appendfsync="always") as server:
        broker = make_broker(server.url, enqueue_timeout=seconds(0.3))
        settled: set[str] = set()
        acknowledged: set[str] = set()
        in_doubt: set[str] = set()
        for kills in range(5 * KILLS):
            if kills >= KILLS and settled:
                break  # where disks are slow, some ten kills come before anything has been settled
            load = await kill_under_load(server, broker)
            acknowledged |= set(load.acknowledged)
            settled |= load.settled
            in_doubt |= load.in_doubt
            there = await alive(server, broker)

            assert acknowledged - there - settled - in_doubt == set()
            assert there & settled == set()
            assert await check_queue(broker, Q) == []
        assert acknowledged
        assert settled


async def test_f31_a_server_that_syncs_every_second_loses_at_most_its_newest_writes(make_broker: MakeBroker) -> None:
    """Redis with `appendfsync everysec`, killed again and again, loses the newest or nothing, in whole scripts."""
    with start_redis(appendfsync="everysec") as server:
        broker = make_broker(server.url, enqueue_timeout=seconds(0.3))
        for _ in range(KILLS):
            load = await kill_under_load(server, broker)
            there = await alive(server, broker) | load.settled | load.in_doubt

            lost = [job_id not in there for job_id in load.acknowledged]
            # The four producers share batches, so that acknowledgements come in the order of the writes.
            assert lost == sorted(lost), "a job was lost though a later one was kept"
            assert await check_queue(broker, Q) == []


# restarted with a torn file


Last = Literal["enqueue", "fetch", "settle", "promote"]


async def history_that_ends_with(broker: RedisStreamsBroker, last: Last) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, unique_key=f"k{n}") for n in range(6)])
    await settle(worker, COMPLETED, *await take(worker, 2))
    for_retry, for_dead = await take(worker, 2)
    if last in ("fetch", "promote"):
        await enqueue(broker, *[job(n) for n in range(3)], delay=seconds(0.01))
    match last:
        case "enqueue":
            await enqueue(broker, *[job(n) for n in range(3)], idempotency_key=None)
        case "fetch":
            await take(worker, 2)
        case "settle":
            await settle(worker, RETRY_NOW, for_retry)
            await settle(worker, DEAD, for_dead)
        case "promote":
            await promoted(broker, 5)


@pytest.mark.parametrize("last", ["enqueue", "fetch", "settle", "promote"])
async def test_f33_an_aof_without_its_last_bytes_holds_whole_scripts(
    make_broker: MakeBroker, tmp_path: Path, last: Last
) -> None:
    """Redis restarted on an AOF whose last 1 to 200 bytes are gone: each script is there as a whole or not at all."""
    with start_redis(appendfsync="always") as server:
        broker = make_broker(server.url)
        await history_that_ends_with(broker, last)
        whole = await alive(server, broker)
        server.kill()
        data = server.data_dir / "data" / "appendonlydir"
        shutil.copytree(data, tmp_path / "whole")
        changed = 0
        for cut in CUTS:
            shutil.rmtree(data)
            shutil.copytree(tmp_path / "whole", data)
            _tear(data, cut)
            await asyncio.to_thread(server.restart)

            assert await check_queue(broker, Q) == []
            changed += await alive(server, broker) != whole
            server.kill()
    assert changed or last in ("fetch", "promote"), "nothing was torn off that mattered"


def _tear(directory: Path, cut: int) -> None:
    (file,) = directory.glob("*.incr.aof")
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - cut)


# away, or standing still


@pytest.fixture
def stallable() -> Iterator[RedisServer]:
    with start_redis(appendfsync="always", extra_args=("--enable-debug-command", "local")) as server:
        yield server


@asynccontextmanager
async def outage(server: RedisServer, how: str, length_s: float) -> AsyncIterator[None]:
    """The server serves nobody for *length_s*."""
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        match how:
            case "killed":
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(length_s)
                await asyncio.to_thread(server.restart)
            case "paused":
                await raw.client_pause(int(length_s * 1000), all=True)
                await asyncio.sleep(length_s)
            case "asleep":
                await raw.execute_command("DEBUG", "SLEEP", str(length_s))
        yield


class LongJobs:
    """100 jobs on two workers. A run lasts until it is let go."""

    def __init__(self, scene: Scene) -> None:
        self.starts: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()
        self.running: Counter[int] = Counter()
        self.together = 0
        self.go_on = asyncio.Event()
        self.task = scene.registry.task("long")(self.run)

    async def run(self, n: int) -> None:
        self.starts[n] += 1
        self.running[n] += 1
        self.together = max(self.together, self.running[n])
        try:
            await self.go_on.wait()
        finally:
            self.running[n] -= 1
        self.ends[n] += 1


@pytest.mark.parametrize("how", ["killed", "paused", "asleep"])
async def test_f34_f35_an_outage_shorter_than_the_lease_costs_no_second_run(
    stallable: RedisServer, namespace: str, how: str
) -> None:
    """Redis away for over half a lease under 100 long jobs: the living renew first, and no job runs twice."""
    # Of what is left of it after the outage, one second is for a server that starts on a busy machine.
    lease = seconds(8 if how == "killed" else 5)
    scene = Scene(stallable.url, namespace, lease=lease)
    jobs = LongJobs(scene)
    queue = scene.queue()
    await queue.enqueue_many([jobs.task.job(n) for n in range(100)])
    async with scene.working(concurrency=50) as one, scene.working(concurrency=50) as two:
        await eventually(lambda: sum(jobs.running.values()) == 100)
        async with outage(stallable, how, 0.5 * lease.total_seconds()):
            await asyncio.sleep(0.5 * lease.total_seconds())  # in which a reaper without an amnesty would have judged
            jobs.go_on.set()
            stats = await scene.ended(queue, 100, within_s=30)
        lost = one.worker.metrics.leases_lost + two.worker.metrics.leases_lost
    await scene.close()

    assert (stats.completed, lost) == (100, 0)
    assert set(jobs.starts.values()) == {1}


@pytest.mark.parametrize("how", ["killed", "paused", "asleep"])
async def test_f34_f35_an_outage_of_two_leases_doubles_no_run(stallable: RedisServer, namespace: str, how: str) -> None:
    """Redis away for two leases under 100 long jobs: each is stopped before it runs again, and ends exactly once."""
    lease = seconds(1)
    scene = Scene(stallable.url, namespace, lease=lease)
    jobs = LongJobs(scene)
    queue = scene.queue()
    await queue.enqueue_many([jobs.task.job(n) for n in range(100)])
    async with scene.working(concurrency=50) as one, scene.working(concurrency=50) as two:
        await eventually(lambda: sum(jobs.running.values()) == 100)
        async with outage(stallable, how, 2 * lease.total_seconds()):
            await eventually(lambda: min(jobs.starts.values()) == 2, within_s=30)
            jobs.go_on.set()
            stats = await scene.ended(queue, 100, within_s=30)
    await scene.close()

    assert stats.completed == 100
    assert jobs.together == 1, "a job ran twice at once"
    # A lease may be lost between a handler's end and its settlement: what counts is what was confirmed.
    ends = Counter(each.delivery.job_id for worker in (one, two) for each in worker.settled)
    assert set(ends.values()) == {1}


# scripts forgotten, clients cut


async def disturb(
    raw: "redis.asyncio.Redis", command: str, every_s: float, recovered: Callable[[], Awaitable[bool]]
) -> None:
    while True:
        with suppress(redis.exceptions.ConnectionError):  # it may hit ourselves
            await raw.execute_command(command)
        await asyncio.sleep(every_s)
        await eventually(recovered)


@pytest.mark.parametrize(
    ("command", "every_s"),
    [
        pytest.param("SCRIPT FLUSH", 0.05, id="f36"),
        pytest.param("CLIENT KILL TYPE normal SKIPME yes", 0.2, id="f47"),
    ],
)
async def test_f36_f47_scripts_flushed_and_clients_killed_under_load_cost_no_job(
    own_scene: Scene, own_raw: "redis.asyncio.Redis", command: str, every_s: float
) -> None:
    """SCRIPT FLUSH every 50 ms, or CLIENT KILL of every client each 200 ms, under load: each job runs once."""
    runs: Counter[int] = Counter()

    @own_scene.registry.task("t")
    async def handler(n: int) -> None:
        runs[n] += 1
        await asyncio.sleep(0.02)

    lease = seconds(3)  # beats may fail again and again for a second or two
    queue = own_scene.queue(lease=lease)
    seen = 0

    async def recovered() -> bool:
        """A machine too slow for one job, or one beat, between two disturbances would never get anywhere."""
        nonlocal seen
        now_s, _ = await own_raw.time()
        leases = await own_raw.zrange(queue.parts.redis.keys("default").workers, 0, -1, withscores=True)  # type: ignore[union-attr]
        half_gone_ms = (now_s + lease.total_seconds() / 2) * 1000
        if len(runs) == seen < 1_500 or any(deadline < half_gone_ms for _, deadline in leases):
            return False
        seen = len(runs)
        return True

    async with (
        own_scene.working(lease=lease, concurrency=10) as one,
        own_scene.working(lease=lease, concurrency=10) as two,
    ):
        # A worker that cannot reach Redis when it starts says so and ends.
        await one.joined()
        await two.joined()
        disturbing = asyncio.create_task(disturb(own_raw, command, every_s, recovered))
        for first in range(0, 1_500, 50):
            await queue.enqueue_many([handler.job(n) for n in range(first, first + 50)])
        await asyncio.gather(
            eventually(lambda: len(runs) == 1_500, within_s=60),
            asyncio.sleep(1.2 * lease.total_seconds()),  # in which beats that never succeed would show
        )
        disturbing.cancel()
        stats = await own_scene.ended(queue, 1_500)
        lost = one.worker.metrics.leases_lost + two.worker.metrics.leases_lost

    assert (stats.completed, lost) == (1_500, 0)
    assert set(runs.values()) == {1}


# what reading one's own entries does


async def test_f46_adopting_again_and_again_counts_for_nothing(
    make_broker: MakeBroker, own_server: RedisServer
) -> None:
    """Reading one's own entries bumps Redis's delivery counts; attempts and crashes live in the entry and stay."""
    broker = make_broker(own_server.url)
    worker = await broker.join([Q])
    await enqueue(broker, job(1), job(2))
    await take(worker, 2)

    async def adopted() -> list[Delivery]:
        return await worker.adopt()

    for _ in range(20):
        assert [(each.attempt, each.crashes) for each in await adopted()] == [(1, 0), (1, 0)]
    await asyncio.to_thread(own_server.restart)
    again = await adopted()

    assert [(each.attempt, each.crashes) for each in again] == [(1, 0), (1, 0)]
    await settle(worker, COMPLETED, *again)
    assert (await broker.stats(Q)).completed == 2
