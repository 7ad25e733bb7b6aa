"""Backfills while other things happen to the schedule."""

from datetime import timedelta

from jobqueue.clock import from_ms
from jobqueue.planning.backfill import backfill
from tests.integration.scheduler.cron.timeline import fired, now_ms, schedule
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually


async def test_a_backfill_that_an_edit_overtakes_fires_no_tick_of_the_former_version(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule())
    former = await queue.parts.schedules.get("s")
    assert former is not None
    yearly = schedule(expression="0 0 0 1 1 *")
    edited_ms = round((await queue.schedules.save(yearly)).changed_at.timestamp() * 1000)

    async def two_ticks_later() -> bool:
        return await now_ms(queue) >= edited_ms + 2_000

    await eventually(two_ticks_later)

    since = from_ms(edited_ms) - timedelta(hours=1)
    await backfill(queue.parts, former, since=since, until=since + timedelta(seconds=5), limit=5, dry_run=False)

    assert [each for each in await fired(queue) if each.tick_ms > edited_ms] == []
