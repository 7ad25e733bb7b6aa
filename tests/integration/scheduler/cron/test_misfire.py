"""Schedulers that were down for hours: what they make up for is what the schedule says, and each tick once."""

from datetime import timedelta
from typing import Any

import pytest

from jobqueue.clock import from_ms
from jobqueue.schedule import Definition
from jobqueue.tick import Decision, Reason, TickRecord, due_steps
from tests.integration.scheduler.cron.timeline import (
    begun,
    check_each_once,
    check_without_gap,
    fires,
    now_ms,
    records,
    schedule,
)
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

AFTER_30_HOURS = timedelta(hours=30)
HOUR_MS = 3_600_000


async def after_an_outage(scene: Scene, outage: timedelta, **options: Any) -> list[TickRecord]:
    """What three schedulers decide that come back together. The ticks are hourly, and none comes within minutes."""
    queue = scene.queue()
    came_back_ms = await now_ms(queue)
    wanted = schedule(expression=f"{(from_ms(came_back_ms).minute + 30) % 60} * * * *", **options)
    began_ms = came_back_ms - round(outage.total_seconds() * 1000)
    definition = await begun(queue, wanted, from_ms(began_ms))

    async def all_decided() -> list[TickRecord]:
        look = await queue.parts.broker.timetable.look("default", ["s"])
        left = due_steps(wanted, after_ms=look.standings["s"].last_ms, now_ms=look.now_ms)
        assert not left, left
        return await records(queue)

    async with scheduling(queue, scene.queue(), scene.queue()):
        found = await eventually(all_decided, within_s=30)
    check_each_once(found)
    check_without_gap(wanted, found)
    await check_jobs(scene, found, definition)
    return found


async def check_jobs(scene: Scene, found: list[TickRecord], definition: Definition) -> None:
    """Each tick that fired has its job, and nothing else is queued."""
    queue = scene.queue()
    wanted = {definition.schedule.tick_job(each.tick_ms).id for each in found if each.decision is Decision.FIRED}
    assert {each.job_id for each in found if each.decision is Decision.FIRED} == wanted
    assert (await queue.stats("default")).enqueued == len(wanted)


def told(found: list[TickRecord]) -> list[tuple[str, int | None]]:
    return [(str(each.reason), each.count) for each in found]


async def test_skip_makes_up_for_nothing(bare: Scene) -> None:
    found = await after_an_outage(bare, AFTER_30_HOURS, misfire="skip")

    assert told(found) == [("missed", 30)]


async def test_once_fires_the_newest_for_all(bare: Scene) -> None:
    found = await after_an_outage(bare, AFTER_30_HOURS, misfire="once")

    assert told(found) == [("made_up", 29), ("caught_up", 1)]
    assert found[1].at_ms - found[1].tick_ms < HOUR_MS


async def test_all_fires_each(bare: Scene) -> None:
    found = await after_an_outage(bare, AFTER_30_HOURS, misfire="all")

    assert told(found) == [("caught_up", 1)] * 30


async def test_all_fires_the_newest_max_catchup_only(bare: Scene) -> None:
    found = await after_an_outage(bare, AFTER_30_HOURS, misfire="all", max_catchup=7)

    assert told(found) == [("max_catchup", 23)] + [("caught_up", 1)] * 7


async def test_all_fires_a_thousand_in_their_order(bare: Scene) -> None:
    found = await after_an_outage(bare, timedelta(hours=2_000), misfire="all", max_catchup=1_000)

    assert told(found) == [("max_catchup", 1_000)] + [("caught_up", 1)] * 1_000
    assert [each.tick_ms for each in found] == sorted(each.tick_ms for each in found)


async def test_of_a_month_of_seconds_the_skipped_ones_are_one_record(bare: Scene) -> None:
    queue = bare.queue()
    wanted = schedule(misfire="once", grace=timedelta(seconds=1))
    await begun(queue, wanted, from_ms(await now_ms(queue) - 30 * 24 * HOUR_MS))

    async with scheduling(queue, bare.queue()):
        await fires(queue, 4)
    found = await records(queue)

    assert told(found)[:2] == [("made_up", None), ("caught_up", 1)]
    check_each_once(found)
    check_without_gap(wanted, found)


@pytest.mark.parametrize("misfire", ["skip", "once", "all"])
async def test_a_tick_within_the_grace_is_on_time_whatever_the_rule(bare: Scene, misfire: str) -> None:
    """Of an hour of seconds with a grace of an hour, all are."""
    queue = bare.queue()
    wanted = schedule(expression="*/20 * * * * *", misfire=misfire, grace=timedelta(hours=1))
    await begun(queue, wanted, from_ms(await now_ms(queue) - HOUR_MS + 30_000))

    async with scheduling(queue, bare.queue()):
        found = await fires(queue, 178)

    assert {each.reason for each in found} == {Reason.ON_TIME}
    check_each_once(found)
    check_without_gap(wanted, found)
