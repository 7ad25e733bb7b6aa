"""Workers as real processes: stopped, killed, suspended, in pairs and in crowds."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jobqueue.app import JobQueue
from jobqueue.broker.invariants import check_queue
from jobqueue.config import RedisSettings, Settings, WorkerSettings
from jobqueue.job import PRIORITIES
from tests.acceptance.app import count, hold
from tests.integration.worker.scene import seconds
from testutil.eventually import eventually

ROOT = Path(__file__).parents[2]
LEASE, REAP = seconds(1), seconds(0.2)
LONG_LEASE = {"JOBQUEUE_LEASE": "10m"}
"""Of workers that nobody kills: on a busy machine one may stand still for longer than `LEASE`."""


@dataclass(frozen=True, slots=True)
class Event:
    event: str
    job_id: str
    pid: int
    attempt: int
    n: int
    ns: int


class Plant:
    """A queue, the worker processes on it, and what they have told."""

    def __init__(self, url: str, namespace: str, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "events"
        self._log.touch()
        self._environment = {
            **os.environ,
            "REDIS_URL": url,
            "JOBQUEUE_NAMESPACE": namespace,
            "JOBQUEUE_LEASE": "1s",
            "JOBQUEUE_REAP_INTERVAL": "200ms",
            "JOBQUEUE_MAX_CRASHES": "100",
            "WORKER_QUEUES": "default",
            "ACCEPTANCE_LOG": str(self._log),
            "LOG_LEVEL": "warning",
        }
        self._environment.pop("DATABASE_URL", None)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.queue = JobQueue.from_settings(
            Settings(
                redis=RedisSettings(url=url, namespace=namespace, lease=LEASE),
                worker=replace(WorkerSettings(), reap_interval=REAP, max_crashes=100),
            )
        )

    def start(self, *, concurrency: int = 4, **environment: str) -> "subprocess.Popen[bytes]":
        program = [sys.executable, "-m", "jobqueue", "worker", "-A", "tests.acceptance.app:registry"]
        worker = subprocess.Popen(
            [*program, "-c", str(concurrency)], cwd=ROOT, env={**self._environment, **environment}
        )
        self.workers.append(worker)
        return worker

    def events(self) -> list[Event]:
        # A line that is being written may be there in part.
        lines = [line.split() for line in self._log.read_text().split("\n")[:-1]]
        return [Event(each[0], each[1], *map(int, each[2:])) for each in lines]

    def told(self, event: str, *, pid: int | None = None) -> list[Event]:
        return [each for each in self.events() if each.event == event and pid in (None, each.pid)]

    async def enqueue(self, many: int, ms: int = 0) -> None:
        await self.queue.enqueue_many([count.job(n, ms) for n in range(many)])

    async def ended(self, many: int, *, within_s: float = 30) -> None:
        async def look() -> bool:
            stats = await self.queue.stats("default")
            assert (stats.completed, stats.live) == (many, 0), stats
            return True

        await eventually(look, within_s=within_s, poll_s=0.05)

    async def alive(self, many: int) -> None:
        """Wait until so many workers have joined."""

        async def look() -> bool:
            return len({each.name for each in await self.queue.workers("default") if each.lease_ms > 0}) >= many

        await eventually(look, within_s=30, poll_s=0.05)

    async def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        broker = self.queue.parts.redis
        assert broker is not None
        for name in await broker.queues():
            assert (await broker.stats(name)).drift == 0
            assert await check_queue(broker, name) == []
        await self.queue.close()


@pytest.fixture
async def plant(redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Plant]:
    # A name that no worker of another run knows, should one have outlived it.
    plant = Plant(redis_url, f"{namespace}_{os.getpid()}", tmp_path)
    yield plant
    await plant.close()


def assert_each_ran_once(plant: Plant, many: int) -> None:
    for event in ("start", "end"):
        runs = Counter(each.n for each in plant.told(event))
        again = [each for each in plant.told(event) if runs[each.n] > 1]
        assert again == []
        assert set(range(many)) - set(runs) == set()


async def exit_code(worker: "subprocess.Popen[bytes]") -> int:
    await eventually(lambda: worker.poll() is not None, within_s=30)
    return worker.returncode


async def test_ten_thousand_jobs_run_exactly_once_each_when_nobody_dies(plant: Plant) -> None:
    plant.start(concurrency=50, **LONG_LEASE)
    plant.start(concurrency=50, **LONG_LEASE)
    await plant.alive(2)
    await plant.enqueue(10_000)
    await plant.ended(10_000)

    assert_each_ran_once(plant, 10_000)
    assert len({each.pid for each in plant.events()}) == 2


async def test_f20_sigterm_under_load_loses_and_doubles_nothing(plant: Plant) -> None:
    """A worker process ends in order: no job is lost, none runs twice, nothing waits for its lease."""
    first, second = plant.start(**LONG_LEASE), plant.start(**LONG_LEASE)
    await plant.alive(2)
    await plant.enqueue(3_000, ms=2)
    for worker, at in ((first, 300), (second, 1_000)):
        await eventually(lambda at=at: len(plant.told("end")) >= at)  # type: ignore[misc]
        worker.send_signal(signal.SIGTERM)
        assert await exit_code(worker) == 0
        # It left nothing behind that would wait for its lease to run out.
        left = [each.name for each in await plant.queue.workers("default") if f":{worker.pid}:" in each.name]
        assert left == []
        plant.start(**LONG_LEASE)
    await plant.ended(3_000)

    assert_each_ran_once(plant, 3_000)


async def test_a_killed_worker_costs_its_own_job_a_second_run_and_no_other(plant: Plant) -> None:
    go_on = plant.folder / "go on"
    first = plant.start(concurrency=1)
    await plant.alive(1)
    doomed = await plant.queue.enqueue(hold.job(str(go_on), 1))
    await eventually(lambda: plant.told("start", pid=first.pid))
    second = plant.start(concurrency=2, **LONG_LEASE)
    other = await plant.queue.enqueue(hold.job(str(go_on), 2))
    await eventually(lambda: plant.told("start", pid=second.pid), within_s=30)

    first.kill()
    await eventually(lambda: len(plant.told("start", pid=second.pid)) == 2)
    again = plant.told("start", pid=second.pid)[1]
    go_on.touch()
    await plant.ended(2)

    assert (again.job_id, again.attempt) == (doomed.id, 2)
    assert [each.attempt for each in plant.told("start") if each.job_id == other.id] == [1]
    assert len(plant.told("end")) == 2


async def test_f16_a_suspended_worker_settles_nothing_and_the_new_owners_outcome_stands(plant: Plant) -> None:
    """Another worker runs the job; the suspended one settles nothing when it wakes, and comes back under a new name."""
    go_on = plant.folder / "go on"
    first = plant.start(concurrency=1)
    await plant.alive(1)
    job = await plant.queue.enqueue(hold.job(str(go_on)))
    await eventually(lambda: plant.told("start", pid=first.pid))
    before = {each.name for each in await plant.queue.workers("default")}
    second = plant.start(concurrency=1)

    first.send_signal(signal.SIGSTOP)
    try:
        await eventually(lambda: plant.told("start", pid=second.pid), within_s=30)
        go_on.touch()
        await plant.ended(1)
    finally:
        first.send_signal(signal.SIGCONT)

    async def back_under_a_new_name() -> bool:
        names = {each.name for each in await plant.queue.workers("default") if each.lease_ms > 0}
        return any(f":{first.pid}:" in name for name in names - before)

    await eventually(back_under_a_new_name, within_s=30)
    stats = await plant.queue.stats("default")
    status = await plant.queue.get(job.id)

    assert (stats.completed, stats.live) == (1, 0)
    assert status is not None
    assert status.result == second.pid


async def test_two_workers_serve_priorities_strictly_in_order(plant: Plant) -> None:
    each = 100
    for n, priority in reversed(list(enumerate(PRIORITIES))):
        jobs = [count.job(n, 4).replace(priority=priority) for _ in range(each)]
        await plant.queue.enqueue_many(jobs)
    plant.start(concurrency=2, **LONG_LEASE)
    plant.start(concurrency=2, **LONG_LEASE)
    await plant.ended(4 * each)

    ranks = [event.n for event in sorted(plant.told("start"), key=lambda event: event.ns)]
    assert Counter(ranks) == dict.fromkeys(range(len(PRIORITIES)), each)
    # Higher ones that start later are those that ran at once or were read ahead; a worker that stands still starts
    # the few that it holds much later, but they are few.
    for place, rank in enumerate(ranks):
        assert sum(later < rank for later in ranks[place:]) <= 20, (place, rank)


async def test_whoever_is_killed_every_job_ends_once_and_runs_again_only_for_a_killed_worker(plant: Plant) -> None:
    rng = random.Random(20261122)
    killed: set[int] = set()
    lease = {"JOBQUEUE_LEASE": "2s"}  # whoever stands still for as long counts as dead
    for _ in range(3):
        plant.start(**lease)
    await plant.alive(3)
    many = 0
    while len(killed) < 8:
        if (await plant.queue.stats("default")).live < 200:
            await plant.enqueue(400, ms=40)
            many += 400
        victim = rng.choice([each for each in plant.workers if each.pid not in killed])
        seen = len(plant.events())
        await eventually(lambda seen=seen: len(plant.events()) > seen + 20, within_s=30)  # type: ignore[misc]
        victim.kill()
        killed.add(victim.pid)
        plant.start(**lease)
        await asyncio.sleep(rng.uniform(0.1, 0.6))
    await plant.ended(many, within_s=40)

    runs: dict[str, list[Event]] = defaultdict(list)
    for event in plant.told("start"):
        runs[event.job_id].append(event)
    finished = {(each.job_id, each.attempt) for each in plant.told("end")}
    assert len(runs) == many
    for job_id, starts in runs.items():
        *before, last = sorted(starts, key=lambda each: each.attempt)
        assert [each.attempt for each in starts] == sorted({each.attempt for each in starts})
        assert all(each.pid in killed for each in before), job_id
        assert (job_id, last.attempt) in finished
