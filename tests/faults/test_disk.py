"""A disk that is full under Redis."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio

from jobqueue.broker.invariants import check_queue
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.errors import BrokerUnavailable, EnqueueUncertain
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED
from tests.contract.scene import Q, enqueue, job, raised, settle, take
from tests.faults.conftest import MakeBroker
from testutil.eventually import eventually
from testutil.topology.disk import fill_disk, small_disk, small_disk_obstacle

BRIEF = timedelta(seconds=1)
Fsync = Literal["always", "everysec"]


@pytest.fixture
def disk() -> Iterator[Path]:
    if obstacle := small_disk_obstacle():
        pytest.skip(obstacle)
    with small_disk() as disk:
        yield disk


@pytest.fixture(params=["everysec", "always"])
def fsync(request: pytest.FixtureRequest) -> Fsync:
    return request.param


@pytest.fixture
def cramped_server(disk: Path, fsync: Fsync) -> Iterator[RedisServer]:
    """A server whose data is on the small disk."""
    with start_redis(data_dir=disk / "redis", appendfsync=fsync) as server:
        yield server


async def test_f08_a_full_disk_refuses_jobs_and_loses_none_that_was_acknowledged(
    make_broker: MakeBroker, cramped_server: RedisServer, disk: Path, fsync: Fsync
) -> None:
    """Enqueues fail as unavailable or uncertain; with space again, all that was acknowledged is there.

    With `appendfsync always` the server ends, and has to be started again; else it refuses writes meanwhile.
    """
    broker = make_broker(cramped_server.url, timeout=BRIEF, enqueue_timeout=BRIEF)
    acknowledged: set[str] = set()
    errors: list[type] = []

    async def accepted(*jobs: Job) -> bool:
        """Whether they are queued; an enqueue that fails does so as it should."""
        error = await raised(lambda: enqueue(broker, *jobs))
        assert type(error) in (type(None), BrokerUnavailable, EnqueueUncertain)
        errors.append(type(error))
        if error is None:
            acknowledged.update(each.id for each in jobs)
        return error is None

    async def refused() -> bool:
        await accepted(*[job(n, headers={"x": "y" * 1_000}) for n in range(20)])
        return errors[-1] is BrokerUnavailable

    first = [job(n) for n in range(50)]
    await eventually(lambda: accepted(*first))
    with fill_disk(disk):
        for _ in range(3):
            await eventually(refused)
    if fsync == "always":
        cramped_server.kill()  # what may be left of it
        cramped_server.restart()

    last = job(99)
    await eventually(lambda: accepted(last))
    await eventually(lambda: _is_written(cramped_server))
    cramped_server.kill()
    cramped_server.restart()

    broker = make_broker(cramped_server.url)
    worker = await broker.join([Q])
    depth = (await broker.stats(Q)).depth
    taken = await take(worker, depth)
    assert {each.job_id for each in taken} >= acknowledged
    await settle(worker, COMPLETED, *taken)
    assert await check_queue(broker, Q) == []


async def _is_written(server: RedisServer) -> bool:
    """While an fsync is under way, `everysec` may answer before it writes."""
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        return (await raw.info("persistence"))["aof_buffer_length"] == 0
