"""Backfills while other things happen to the schedule."""

import asyncio
from datetime import timedelta

from jobqueue.clock import from_ms
from jobqueue.planning.backfill import backfill
from tests.integration.scheduler.cron.timeline import fired, now_ms, schedule
from tests.integration.worker.scene import Scene


async def test_a_backfill_that_an_edit_overtakes_fires_no_tick_of_the_former_version(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule())
    former = await queue.parts.schedules.get("s")
    assert former is not None
    yearly = schedule(expression="0 0 0 1 1 *")
    edited_ms = round((await queue.schedules.save(yearly)).changed_at.timestamp() * 1000)
    while await now_ms(queue) < edited_ms + 2_000:
        await asyncio.sleep(0.05)

    since = from_ms(edited_ms) - timedelta(hours=1)
    await backfill(queue.parts, former, since=since, until=since + timedelta(seconds=5), limit=5, dry_run=False)

    assert [each for each in await fired(queue) if each.tick_ms > edited_ms] == []
