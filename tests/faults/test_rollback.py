"""An old copy of Redis's data is restored: workers and schedulers refuse to start until it is accepted (F48)."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobqueue.embedded import RedisServer
from jobqueue.repository.base import LetterFilter
from tests.faults.rollback_app import handler
from tests.faults.test_operator import about, doctor
from tests.integration.scheduler.test_shipping import shipped
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually
from testutil.topology import start_topology
from testutil.topology.clock import FakeClock, fake_clock, faketime_obstacle

pytestmark = pytest.mark.timeout(300)  # a dozen processes, one after the other

HOURS = 2 * 3600
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


@dataclass
class Site:
    """One Redis, one database, and the commands on them."""

    server: RedisServer
    scene: Scene
    folder: Path

    @property
    def runs(self) -> Counter[int]:
        file = self.folder / "runs"
        return Counter(map(int, file.read_text().split())) if file.exists() else Counter()

    def start(self, *arguments: str, told: Path, database_url: str | None) -> "subprocess.Popen[bytes]":
        environment = {
            "REDIS_URL": self.server.url,
            "JOBQUEUE_NAMESPACE": self.scene.namespace,
            "DATABASE_URL": database_url or self.scene.database_url or "",
            "RUNS": str(self.folder / "runs"),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "jobqueue", *arguments, "-A", "tests.faults.rollback_app"]
        with told.open("wb") as stderr:
            return subprocess.Popen(command, env=os.environ | environment, stderr=stderr)

    async def ended(self, *arguments: str, code: int = 0, database_url: str | None = None) -> str:
        """What a command says that ends by itself."""
        told = self.folder / "told by one that ends"
        process = self.start(*arguments, told=told, database_url=database_url)
        try:
            assert await asyncio.to_thread(process.wait, timeout=120) == code, told.read_text()
        finally:
            process.kill()
        return told.read_text()

    @contextmanager
    def scheduling(self, *, database_url: str | None = None) -> Iterator[Callable[[], str]]:
        """A scheduler; what it has said so far."""
        told = self.folder / "told by the scheduler"
        process = self.start("scheduler", told=told, database_url=database_url)
        try:
            yield told.read_text
            assert process.poll() is None, told.read_text()
        finally:
            process.terminate()
            process.wait(timeout=60)

    @property
    def _data(self) -> Path:
        return self.server.data_dir / "data" / "appendonlydir"

    def back_up(self) -> None:
        shutil.copytree(self._data, self.folder / "backup")

    async def restore(self) -> None:
        self.server.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self.folder / "backup", self._data)
        await asyncio.to_thread(self.server.restart)


@pytest.fixture
def site(own_server: RedisServer, namespace: str, database_url: str, tmp_path: Path) -> Site:
    return Site(own_server, Scene(own_server.url, namespace, database_url=database_url), tmp_path)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    if obstacle := faketime_obstacle():
        pytest.skip(obstacle)
    with fake_clock() as clock:
        yield clock


@pytest.fixture
def aged(clock: FakeClock, namespace: str, database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site whose Redis has a clock that can be set."""
    with start_topology("always", env=clock.env) as topology:
        (node,) = topology.nodes
        assert isinstance(node.server, RedisServer)
        yield Site(node.server, Scene(topology.url, namespace, database_url=database_url), tmp_path)


async def test_f48_an_old_backup_is_refused_until_it_is_accepted(aged: Site, clock: FakeClock) -> None:
    """Data of two hours ago restored: workers and schedulers refuse; once accepted, work and history go on."""
    queue = aged.scene.queue()
    clock.shift(-HOURS)
    await queue.enqueue_many([handler.job(n) for n in range(10)])
    await aged.ended("worker", "--burst")  # journalled, and not shipped yet
    await queue.enqueue_many([handler.job(n) for n in range(10, 20)])
    aged.back_up()
    clock.shift(0)
    with aged.scheduling():
        await aged.ended("worker", "--burst")
        await shipped(queue)
    await aged.restore()

    for command in (["worker"], ["worker", "--processes", "2"], ["scheduler"]):
        told = await aged.ended(*command, code=1)
        assert "queue 'default' up to 20" in told
        assert "--accept-rollback" in told
    assert set(aged.runs.values()) == {1}

    told = await aged.ended("worker", "--processes", "2", "--burst", "--accept-rollback")
    assert "rollback.accepted" in told
    with aged.scheduling() as told_so_far:  # accepted is accepted
        await eventually(lambda: "scheduler.started" in told_so_far(), within_s=40)
        await queue.enqueue_many([handler.job(n) for n in range(20, 30)])
        await aged.ended("worker", "--burst")
        await shipped(queue)

    assert aged.runs == Counter({n: 2 if 10 <= n < 20 else 1 for n in range(30)})
    by_outcome = await queue.executions.count_by_outcome(queue=None, since=None)
    assert (by_outcome["completed"], by_outcome["dead"]) == (32, 8)
    assert await queue.dead_letters.count(LetterFilter()) == 8
    findings = await doctor(aged.server.url, aged.scene.namespace, database_url=aged.scene.database_url or "")
    assert "set back" not in about(findings, "default", "failed")
    await queue.close()


async def test_f48_what_redis_lost_in_its_last_seconds_refuses_nobody(site: Site) -> None:
    """A crash that loses the last seconds, which Postgres has seen: worker and scheduler start, the jobs run again."""
    queue = site.scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(5)])
    await site.ended("worker", "--burst")
    await queue.enqueue_many([handler.job(n) for n in range(5, 10)])
    site.back_up()
    with site.scheduling():
        await site.ended("worker", "--burst")
        await shipped(queue)
    await site.restore()
    findings = await doctor(site.server.url, site.scene.namespace, database_url=site.scene.database_url or "")
    assert "set back" in about(findings, "default", "failed")

    with site.scheduling() as told:
        await eventually(lambda: "scheduler.started" in told(), within_s=40)
        assert "rollback." not in told()
        assert "rollback." not in await site.ended("worker", "--burst")
        await shipped(queue)

    assert site.runs == Counter({n: 2 if n >= 5 else 1 for n in range(10)})
    await queue.close()


async def test_f48_with_postgres_away_nothing_can_be_compared_and_they_start(site: Site) -> None:
    """An old backup while Postgres is away: worker and scheduler say that they cannot tell, and start."""
    queue = site.scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(10)])
    site.back_up()
    with site.scheduling():
        await site.ended("worker", "--burst")
        await shipped(queue)
    await site.restore()

    assert "nothing yet in Redis" in await site.ended("worker", code=1)
    with site.scheduling(database_url=AWAY) as told:
        await eventually(lambda: "scheduler.started" in told(), within_s=40)
        assert "rollback.unchecked" in told()
    assert "rollback.unchecked" in await site.ended("worker", "--burst", database_url=AWAY)
    assert site.runs == Counter(dict.fromkeys(range(10), 2))
    await queue.close()
