"""Definitions older than what stands at the broker: the store was emptied, or set back by a backup."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from jobqueue.app import JobQueue
from jobqueue.broker.keys import ScheduleKeys
from jobqueue.job import Job
from tests.integration.scheduler.cron.timeline import EVERY_SECOND, check_each_once, fires, schedule
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def edited(queue: JobQueue, times: int = 3) -> None:
    """Let the schedule stand at a version that is not its first."""
    for n in range(times):
        await queue.schedules.upsert("s", EVERY_SECOND, Job("t", {"n": n}), seconds=True)


async def test_a_schedule_made_again_after_its_definition_was_lost_fires(bare: Scene, raw: Redis) -> None:
    queue = bare.queue()
    await edited(queue)
    await raw.delete(ScheduleKeys.of(bare.namespace).definitions)

    await edited(queue, 1)
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))


async def test_a_schedule_declared_again_after_its_definition_was_lost_fires(bare: Scene, raw: Redis) -> None:
    queue = bare.queue()
    for n in range(3):
        await queue.schedules.declare([schedule(job=Job("t", {"n": n}))], app="shop")
    await raw.delete(ScheduleKeys.of(bare.namespace).definitions)

    await queue.schedules.declare([schedule()], app="shop")
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))


@pytest.mark.parametrize("verb", ["upsert", "declare", "resume"])
async def test_a_schedule_saved_again_after_the_store_was_set_back_fires(bare: Scene, raw: Redis, verb: str) -> None:
    """As the log tells who looks for the reason: save it again."""
    queue, definitions = bare.queue(), ScheduleKeys.of(bare.namespace).definitions
    if verb == "declare":
        await queue.schedules.declare([schedule()], app="shop")
    else:
        await queue.schedules.save(schedule())
    backup = await raw.hget(definitions, "s")
    await queue.schedules.pause("s")
    await queue.schedules.resume("s")
    await raw.hset(definitions, "s", backup)

    if verb == "declare":
        await queue.schedules.declare([schedule()], app="shop")
    elif verb == "upsert":
        await queue.schedules.save(schedule())
    else:
        await queue.schedules.resume("s")
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))


async def test_a_name_that_was_forgotten_fires_where_it_stood_before(bare: Scene) -> None:
    """Made anew on another queue, and moved to that of its forerunner, where a newer version stands than its own."""
    queue = bare.queue()
    await edited(queue)
    await queue.schedules.remove("s")
    removed = await queue.parts.schedules.get("s")
    assert removed is not None
    assert await queue.parts.schedules.forget("s", version=removed.version)

    await queue.schedules.save(schedule(job=Job("t", queue="other")))
    await queue.schedules.save(schedule())
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))
