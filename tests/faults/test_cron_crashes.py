"""Schedulers and editors that die at the crash points around schedules: no tick is lost or fires twice (F61, F66)."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobqueue.broker import scripts
from jobqueue.status import ScheduleStatus
from tests.faults.crash_scene import WITHIN_S
from tests.faults.cron_scene import EACH_SECOND, CronScene, assert_each_fired_once
from testutil.eventually import eventually
from testutil.proxy import fault_proxy

# test_schedule_crashes.py passes all of them, with one scheduler after the other.
FIRING = (pytest.param("before_fire_send", marks=pytest.mark.long), "after_fire_send")
EDITING = (
    pytest.param("after_schedule_put", marks=pytest.mark.long),
    "after_schedule_end",
    pytest.param("after_schedule_begin", marks=pytest.mark.long),
)


@pytest.fixture
async def scene(redis_url: str, namespace: str, database_url: str, tmp_path: Path) -> AsyncIterator[CronScene]:
    scene = CronScene(redis_url, f"{namespace}_{os.getpid()}", database_url, tmp_path)
    yield scene
    await scene.close()


@pytest.mark.parametrize("point", FIRING)
async def test_f61_a_tick_whose_scheduler_dies_over_it_fires_once(scene: CronScene, point: str) -> None:
    """A scheduler killed before or after a tick was fired: the next one fires what was not, and nothing again."""
    began = await scene.upsert("each", misfire="all")
    await scene.died(scene.begin_scheduler(crash_at=f"{point}:2"), point)
    await scene.start_schedulers(1)
    await scene.for_seconds(1.5)
    ended_ms = await scene.remove("each")
    records = await scene.over()

    assert_each_fired_once("each", _ms(began), ended_ms, records, scene)


async def test_f61_a_tick_whose_scheduler_dies_before_the_answer_fires_once(scene: CronScene, redis_url: str) -> None:
    """A scheduler killed with the reply of a firing on the way: the tick was fired, and is not fired again."""
    async with fault_proxy(redis_url) as proxy:
        began = await scene.upsert("each", misfire="all")
        proxy.swallow_reply(scripts.FIRE.sha.encode())
        victim = scene.begin_scheduler(REDIS_URL=proxy.url)
        await eventually(lambda: proxy.faults, within_s=WITHIN_S)
        victim.kill()
    await scene.start_schedulers(1)
    await scene.for_seconds(1.5)
    ended_ms = await scene.remove("each")
    records = await scene.over()

    assert_each_fired_once("each", _ms(began), ended_ms, records, scene)


@pytest.mark.parametrize("point", EDITING)
async def test_f66_an_edit_that_dies_halfway_is_carried_out_by_a_scheduler(scene: CronScene, point: str) -> None:
    """An edit killed after the new version was kept: a scheduler lets it count, and every tick still fires once."""
    began = await scene.upsert("each", misfire="all", mark=1)
    await scene.start_schedulers(1)
    await scene.decided("each", _ms(began) + 1_000)
    move = ("cron", "add", "--replace", "--seconds", "--misfire", "all", "-q", "moved")
    scene.queues.add("moved")
    await scene.died(scene.run(*move, "each", EACH_SECOND, "tick", '{"mark": 2}', crash_at=point), point)
    await scene.decided("each", 1, "moved")  # it stands there
    await scene.decided("each", await scene.now_ms() + 1_000, "moved")
    ended_ms = await scene.remove("each")
    records = await scene.over()

    assert_each_fired_once("each", _ms(began), ended_ms, records, scene)
    moved = [record.queue == "moved" for record in records]
    assert moved == sorted(moved)
    assert {record.queue: record.version for record in records} == {"ticks": 1, "moved": 2}
    assert {record.version: scene.marks()[record.job_id or ""] for record in records} == {1: [1], 2: [2]}


def _ms(status: ScheduleStatus) -> int:
    return int(status.changed_at.timestamp() * 1000)
