"""A disk that is full under Redis."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from jobqueue.broker.invariants import check_queue
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.errors import BrokerUnavailable, EnqueueUncertain
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
    acknowledged = {each.job_id for each in await enqueue(broker, *[job(n) for n in range(50)])}

    with fill_disk(disk):

        async def refused() -> BaseException | None:
            more = [job(n, headers={"x": "y" * 1_000}) for n in range(20)]
            error = await raised(lambda: enqueue(broker, *more))
            if error is None:
                acknowledged.update(each.id for each in more)
            return error

        errors = [await eventually(refused, within_s=30) for _ in range(3)]
        assert {type(each) for each in errors} <= {BrokerUnavailable, EnqueueUncertain}
        assert type(errors[-1]) is BrokerUnavailable
    if fsync == "always":
        cramped_server.kill()  # what may be left of it
        cramped_server.restart()

    (again,) = await eventually(lambda: enqueue(broker, job(99)))
    acknowledged.add(again.job_id)
    cramped_server.kill()
    cramped_server.restart()

    worker = await eventually(lambda: broker.join([Q]))
    depth = (await broker.stats(Q)).depth
    taken = await take(worker, depth)
    assert {each.job_id for each in taken} >= acknowledged
    await settle(worker, COMPLETED, *taken)
    assert await check_queue(broker, Q) == []
