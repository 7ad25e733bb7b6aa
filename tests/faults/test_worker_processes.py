"""Worker processes that are killed, suspended, blocked, or told to stop."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobqueue.repository.base import LetterFilter
from tests.acceptance.app import count, hold
from tests.acceptance.test_worker_processes import ROOT, Plant, exit_code
from tests.faults.worker_app import block, kill_its_worker, stubborn
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(180)
FOR_LONG = "60s"


class BadPlant(Plant):
    """Worker processes with the tasks of `tests/faults/worker_app.py`."""

    def start(self, *, concurrency: int = 4, **environment: str) -> "subprocess.Popen[bytes]":
        program = [sys.executable, "-m", "jobqueue", "worker", "-A", "tests.faults.worker_app:registry"]
        worker = subprocess.Popen(
            [*program, "-c", str(concurrency)], cwd=ROOT, env={**self._environment, **environment}
        )
        self.workers.append(worker)
        return worker

    async def started(self, worker: "subprocess.Popen[bytes]") -> None:
        """Wait until *worker* has begun a job."""
        await eventually(lambda: self.told("start", pid=worker.pid), within_s=40)

    async def waits(self, many: int) -> None:
        """All jobs have been given back, and no worker is left behind."""
        stats = await self.queue.stats("default")
        assert (stats.depth, stats.running, stats.workers) == (many, 0, 0)


@pytest.fixture
async def plant(redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[BadPlant]:
    plant = BadPlant(redis_url, f"{namespace}_{os.getpid()}", tmp_path)
    yield plant
    await plant.close()


async def test_f17_a_loop_blocked_for_longer_than_it_may_loses_its_jobs(plant: BadPlant) -> None:
    """A loop that is blocked for longer than `JOBQUEUE_MAX_BLOCK` loses its lease, and another worker runs the job."""
    go_on = plant.folder / "go on"
    blocked = plant.start(concurrency=1, JOBQUEUE_MAX_BLOCK="1s")
    await plant.alive(1)
    await plant.queue.enqueue(block.job(str(go_on)))
    await plant.started(blocked)
    names = {each.name for each in await plant.queue.workers("default")}
    other = plant.start(concurrency=1)

    await plant.started(other)
    await plant.ended(1)
    go_on.touch()

    async def back_under_a_new_name() -> bool:
        alive = {each.name for each in await plant.queue.workers("default") if each.lease_ms > 0}
        return any(f":{blocked.pid}:" in name for name in alive - names)

    await eventually(back_under_a_new_name, within_s=40)
    assert [each.attempt for each in plant.told("start")] == [1, 2]
    assert (await plant.queue.stats("default")).completed == 1


async def test_f18_f20_a_handler_that_swallows_everything_does_not_keep_its_worker_from_ending(
    plant: BadPlant,
) -> None:
    """A worker ends after its grace even with a handler that never returns, and the job is given back."""
    worker = plant.start(WORKER_SHUTDOWN_TIMEOUT="100ms", JOBQUEUE_CANCEL_GRACE="100ms")
    await plant.queue.enqueue(stubborn.job())
    await plant.started(worker)

    worker.send_signal(signal.SIGTERM)

    assert await exit_code(worker) == 0
    await plant.waits(1)
    await plant.queue.purge("default")


async def test_f19_a_job_that_kills_its_workers_dies_and_the_others_do_not(plant: BadPlant) -> None:
    """A job that kills its worker is a dead letter after three deaths; the jobs beside it are completed."""
    poison = kill_its_worker.job()
    await plant.queue.enqueue(poison)
    await plant.enqueue(6, ms=5)
    for death in range(1, 4):
        worker = plant.start(JOBQUEUE_MAX_CRASHES="3")
        await eventually(lambda worker=worker: worker.poll() is not None, within_s=40)  # type: ignore[misc]
        assert worker.returncode == -signal.SIGKILL
        assert len(plant.told("start", pid=worker.pid)) >= 1, f"death {death}"
    plant.start(JOBQUEUE_MAX_CRASHES="3")

    async def ended() -> bool:
        stats = await plant.queue.stats("default")
        assert (stats.died, stats.completed, stats.live) == (1, 6, 0), stats
        return True

    await eventually(ended, within_s=40)
    (stored,), _ = await plant.queue.dead_letters.list(LetterFilter(), limit=10)
    assert (stored.letter.job_id, stored.letter.reason, stored.letter.crashes) == (poison.id, "crashed", 3)
    assert f":{worker.pid}:" in f"{stored.letter.worker} {stored.letter.error_message}"
    assert [each.attempt for each in plant.told("start") if each.job_id == poison.id] == [1, 2, 3]


async def test_f21_a_second_signal_gives_back_at_once_what_runs(plant: BadPlant) -> None:
    """A second signal ends the worker process without waiting for its jobs, which are given back unblamed."""
    go_on = plant.folder / "go on"
    first = plant.start(WORKER_SHUTDOWN_TIMEOUT=FOR_LONG)
    await plant.queue.enqueue_many([hold.job(str(go_on), n) for n in range(3)])
    await plant.started(first)

    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGINT)

    assert await exit_code(first) == 0
    await plant.waits(3)
    go_on.touch()
    plant.start()
    await plant.ended(3)
    assert {each.attempt for each in plant.told("start")} == {1}


async def test_f21_a_worker_killed_while_it_shuts_down_leaves_nothing_behind(plant: BadPlant) -> None:
    """What a worker held that was killed during its shutdown comes back by its lease."""
    go_on = plant.folder / "go on"
    first = plant.start(WORKER_SHUTDOWN_TIMEOUT=FOR_LONG)
    await plant.queue.enqueue_many([hold.job(str(go_on), n) for n in range(6)])
    await eventually(lambda: len(plant.told("start")) == 4, within_s=40)

    first.send_signal(signal.SIGTERM)

    async def gave_back_what_it_had_read_ahead() -> bool:
        stats = await plant.queue.stats("default")
        return (stats.running, stats.depth) == (4, 2)

    await eventually(gave_back_what_it_had_read_ahead, within_s=30)
    first.kill()
    go_on.touch()
    plant.start()
    await plant.ended(6)
    attempts = {n: [each.attempt for each in plant.told("start") if each.n == n] for n in range(6)}
    assert sorted(attempts.values()) == [[1], [1], *[[1, 2]] * 4]


async def test_f23_a_worker_that_wakes_asks_before_it_gives_up(plant: BadPlant) -> None:
    """A suspended worker that nobody has reaped meanwhile keeps its job: it runs once."""
    go_on = plant.folder / "go on"
    only = plant.start(concurrency=1)
    await plant.alive(1)
    await plant.queue.enqueue(hold.job(str(go_on)))
    await plant.started(only)
    (before,) = await plant.queue.workers("default")

    async def lease_is_over() -> bool:
        (meanwhile,) = await plant.queue.workers("default")
        return meanwhile.lease_ms <= 0

    only.send_signal(signal.SIGSTOP)
    try:
        await eventually(lease_is_over)
    finally:
        only.send_signal(signal.SIGCONT)
    go_on.touch()
    await plant.ended(1)

    assert [each.attempt for each in plant.told("start")] == [1]
    assert [each.name for each in await plant.queue.workers("default")] == [before.name]


async def test_f20_jobs_of_a_stopped_worker_wait_for_no_lease(plant: BadPlant) -> None:
    """With a lease of an hour, what a stopped worker did not finish is run by the next one."""
    go_on = plant.folder / "go on"
    first = plant.start(WORKER_SHUTDOWN_TIMEOUT="100ms", JOBQUEUE_LEASE="1h")
    await plant.queue.enqueue_many([hold.job(str(go_on), n) for n in range(2)] + [count.job(9, 1)])
    await plant.started(first)

    first.send_signal(signal.SIGTERM)

    assert await exit_code(first) == 0
    go_on.touch()
    plant.start(JOBQUEUE_LEASE="1h")
    await plant.ended(3)
    assert {each.attempt for each in plant.told("end")} == {1}
