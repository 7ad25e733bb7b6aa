"""The broker's clock was years ahead once, and ticks until then count as decided."""

import pytest

from jobqueue.app import JobQueue
from jobqueue.job import Job
from tests.integration.scheduler.cron.timeline import check_each_once, fires, now_ms, schedule
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene

YEARS_MS = 10 * 365 * 86_400_000


async def ahead(queue: JobQueue) -> None:
    """A schedule that stands where such a clock has left it."""
    await queue.schedules.save(schedule())
    broker = queue.parts.redis
    assert broker is not None
    standing = f"1 {await now_ms(queue) + YEARS_MS} - - -"
    await broker.call(["HSET", broker.keys("default").cron, "s", standing])


@pytest.mark.parametrize("way", ["pause and resume", "move", "remove and make anew"])
async def test_a_change_lets_it_fire_again(bare: Scene, way: str) -> None:
    queue = bare.queue()
    await ahead(queue)

    if way == "pause and resume":
        await queue.schedules.pause("s")
        await queue.schedules.resume("s")
    elif way == "move":
        await queue.schedules.save(schedule(job=Job("t", queue="other")))
    else:
        await queue.schedules.remove("s")
        await queue.schedules.save(schedule())

    async with scheduling(queue):
        check_each_once(await fires(queue, 2))
