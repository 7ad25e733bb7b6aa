"""A worker process that is told to end keeps nothing that another could start."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.app import count
from tests.acceptance.test_worker_processes import ROOT, Plant, exit_code
from tests.integration.worker.fairness_app import stop_its_worker
from testutil.eventually import eventually

MANY, STOPS_AT = 2_000, 500


class FairPlant(Plant):
    """Worker processes of `fairness_app` with a lease of an hour, each with a log of every settlement."""

    def start(self, *, concurrency: int = 4, **environment: str) -> "subprocess.Popen[bytes]":
        program = [sys.executable, "-m", "jobqueue", "worker", "-A", "tests.integration.worker.fairness_app:registry"]
        told = {"JOBQUEUE_LEASE": "1h", "LOG_LEVEL": "debug", "WORKER_SHUTDOWN_TIMEOUT": "60s", **environment}
        with (self.folder / f"log {len(self.workers)}").open("wb") as log:
            worker = subprocess.Popen(
                [*program, "-c", str(concurrency)], cwd=ROOT, env={**self._environment, **told}, stdout=log, stderr=log
            )
        self.workers.append(worker)
        return worker

    def given_back(self, worker: int) -> int:
        """How many jobs it has settled as released."""
        return (self.folder / f"log {worker}").read_text().count("released")

    async def enqueue_with_a_stop(self, go_on: Path, *, times: int) -> None:
        jobs = [count.job(n) for n in range(MANY)]
        jobs[STOPS_AT] = stop_its_worker.job(str(go_on), STOPS_AT, times)
        await self.queue.enqueue_many(jobs)


@pytest.fixture
async def plant(redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[FairPlant]:
    plant = FairPlant(redis_url, f"{namespace}_{os.getpid()}", tmp_path)
    yield plant
    await plant.close()


async def test_sigterm_gives_back_at_once_what_was_read_ahead(plant: FairPlant) -> None:
    go_on = plant.folder / "go on"
    await plant.enqueue_with_a_stop(go_on, times=1)
    first = plant.start(concurrency=1)

    async def only_the_running_one_is_held() -> bool:
        stats = await plant.queue.stats("default")
        return (stats.running, stats.depth, stats.completed) == (1, MANY - STOPS_AT - 1, STOPS_AT)

    await eventually(only_the_running_one_is_held, within_s=40)
    second = plant.start()
    await eventually(lambda: len(plant.told("end")) == MANY - 1, within_s=40)
    assert first.poll() is None
    go_on.touch()
    assert await exit_code(first) == 0
    await plant.ended(MANY)

    assert plant.given_back(0) >= 1
    assert len(plant.told("end", pid=second.pid)) == MANY - STOPS_AT - 1
    assert Counter(each.n for each in plant.told("start")) == Counter(range(MANY))
    assert {each.attempt for each in plant.told("start")} == {1}


async def test_a_second_sigterm_gives_back_at_once_what_runs_too(plant: FairPlant) -> None:
    go_on = plant.folder / "go on"
    await plant.enqueue_with_a_stop(go_on, times=2)
    first = plant.start(concurrency=1)
    assert await exit_code(first) == 0
    stats = await plant.queue.stats("default")
    assert (stats.running, stats.depth, stats.completed, stats.workers) == (0, MANY - STOPS_AT, STOPS_AT, 0)

    go_on.touch()
    plant.start()
    await plant.ended(MANY)

    assert plant.given_back(0) >= 2
    assert Counter(each.n for each in plant.told("end")) == Counter(range(MANY))
    assert {each.attempt for each in plant.told("start")} == {1}
