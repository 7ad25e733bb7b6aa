"""Schedules that this version cannot read: a newer one wrote them, or their zone is not known here."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from jobqueue.app import JobQueue
from jobqueue.broker.keys import ScheduleKeys
from jobqueue.clock import from_ms
from jobqueue.errors import ScheduleNotFound
from tests.integration.scheduler.cron.timeline import begun, check_each_once, fires, now_ms, schedule
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene


async def foreign(queue: JobQueue) -> None:
    """A schedule that stands, with undecided ticks, in a zone that is not known here."""
    at = from_ms(await now_ms(queue)) - timedelta(seconds=10)
    await begun(queue, msgspec.structs.replace(schedule(), timezone="Mars/Olympus"), at)


async def test_it_can_be_removed_and_made_anew(bare: Scene) -> None:
    queue = bare.queue()
    await foreign(queue)

    await queue.schedules.remove("s")
    with pytest.raises(ScheduleNotFound):
        await queue.schedules.get("s")
    await queue.schedules.save(schedule())
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))


async def test_it_can_be_changed_to_what_is_known(bare: Scene) -> None:
    queue = bare.queue()
    await foreign(queue)

    await queue.schedules.save(schedule())
    async with scheduling(queue):
        check_each_once(await fires(queue, 2))


async def test_a_backfill_may_begin_before_all_ticks(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule(expression="0 3 * * *"))

    year_1 = datetime.min.replace(tzinfo=UTC)
    found = await queue.schedules.backfill("s", since=year_1, until=datetime(2000, 1, 1, tzinfo=UTC), limit=1)

    assert ([each.at.year for each in found.ticks], found.more) == ([1900], True)


async def test_one_that_a_newer_version_wrote_keeps_no_other_from_being_declared(bare: Scene) -> None:
    """A deploy was rolled back: its definition has a rule that this version does not know."""
    queue = bare.queue()
    await queue.schedules.declare([schedule("new")], app="shop")
    broker = queue.parts.redis
    assert broker is not None
    key = ScheduleKeys.of(bare.namespace).definitions
    kept: bytes = await broker.call(["HGET", key, "new"])
    await broker.call(["HSET", key, "new", kept.replace(b'"misfire":"once"', b'"misfire":"later"')])

    declared = await queue.schedules.declare([schedule("new"), schedule("other")], app="shop")

    assert {each.name: each.change for each in declared} == {"new": "refused", "other": "created"}
