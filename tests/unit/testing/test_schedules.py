"""`fire_due`: what a scheduler would decide now, on a queue in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.app import JobQueue
from jobqueue.context import JobContext
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.testing import ManualClock, drain, fire_due, memory_queue

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def queue(clock: ManualClock) -> JobQueue:
    return memory_queue(clock=clock)


async def decided(queue: JobQueue) -> list[tuple[str, str]]:
    records, _ = await queue.schedules.ticks()
    return [(record.decision.value, record.reason.value) for record in reversed(records)]


async def test_a_tick_that_has_come_makes_its_job_and_only_once(queue: JobQueue, clock: ManualClock) -> None:
    registry = Registry()
    ran: list[datetime | None] = []

    @registry.cron("0 * * * *")
    @registry.task("report.build")
    async def build(ctx: JobContext) -> None:
        ran.append(ctx.tick)

    await queue.schedules.declare(registry.schedules, app="shop")
    await fire_due(queue)
    assert await drain(queue, registry) == []

    clock.advance(timedelta(hours=1))
    await fire_due(queue)
    await fire_due(queue)
    await drain(queue, registry)

    assert ran == [NOON + timedelta(hours=1)]


async def test_what_was_missed_follows_the_schedules_rule(queue: JobQueue, clock: ManualClock) -> None:
    await queue.schedules.upsert("all", "*/10 * * * *", Job("a"), misfire="all", max_catchup=2)

    clock.advance(timedelta(minutes=35))
    await fire_due(queue)

    assert await decided(queue) == [("skipped", "max_catchup"), ("fired", "caught_up"), ("fired", "caught_up")]


async def test_a_paused_schedule_fires_nothing(queue: JobQueue, clock: ManualClock) -> None:
    await queue.schedules.upsert("hourly", "@hourly", Job("a"))
    await queue.schedules.pause("hourly")

    clock.advance(timedelta(hours=2))
    await fire_due(queue)

    assert await decided(queue) == []


async def test_a_tick_that_waits_fires_when_the_job_before_it_has_ended(queue: JobQueue, clock: ManualClock) -> None:
    registry = Registry()
    registry.task("a")(nothing)
    await queue.schedules.upsert("minutely", "* * * * *", Job("a"), overlap="queue")

    for _ in range(2):
        clock.advance(timedelta(minutes=1))
        await fire_due(queue)
    (first,) = await drain(queue, registry)
    await fire_due(queue)
    (second,) = await drain(queue, registry)

    assert first.delivery.job_id != second.delivery.job_id
    assert await decided(queue) == [("fired", "on_time"), ("waiting", "overlap"), ("fired", "waited")]


async def test_a_queue_on_a_server_is_refused() -> None:
    async with JobQueue.connect("redis://127.0.0.1:1") as queue:
        with pytest.raises(TypeError, match="memory_queue"):
            await fire_due(queue)


async def nothing() -> None: ...
