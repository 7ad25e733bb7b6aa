"""Crash points of schedules: whoever dies firing or changing one, each tick is decided once, and by one version."""

from itertools import pairwise
from pathlib import Path

import pytest

from jobqueue.errors import ScheduleNotFound
from jobqueue.job import Job
from jobqueue.schedule import Schedule
from jobqueue.tick import Decision, Reason, TickRecord
from tests.faults.crash_app import hold, ok
from tests.faults.crash_scene import WITHIN_S, CrashScene, Process
from testutil.eventually import eventually

POINTS = {
    "a firing": ["before_fire_send", "after_fire_send"],
    "a change": ["after_schedule_put", "after_schedule_end", "after_schedule_begin"],
}
NAME = "each"
EVERY_SECOND = ("* * * * * *", "--seconds", "--grace", "10m")  # however slow the machine is, no tick is missed
SECOND_MS = 1_000


def add(scene: CrashScene, job: Job, *options: str, queue: str = "here", crash_at: str = "") -> Process:
    """`jobqueue cron add`: make the schedule, or change it."""
    expression, *flags = EVERY_SECOND
    arguments = (NAME, expression, job.type, job.payload_json.decode(), "-q", queue, *flags, *options)
    return scene.run("cron", "add", *arguments, "--replace", crash_at=crash_at)


async def recorded(scene: CrashScene) -> list[TickRecord]:
    """What was decided and is shipped, oldest tick first."""
    found, cursor = await scene.queue.schedules.ticks(limit=1_000)
    assert cursor is None
    return sorted(found, key=lambda each: (each.tick_ms, each.at_ms))


async def fired(scene: CrashScene, count: int) -> list[TickRecord]:
    """Wait until so many ticks have fired."""

    async def enough() -> list[TickRecord]:
        records = [each for each in await recorded(scene) if each.decision is Decision.FIRED]
        return records if len(records) >= count else []

    return await eventually(enough, within_s=WITHIN_S, poll_s=0.05)


async def stopped(scene: CrashScene) -> list[TickRecord]:
    """Pause the schedule, and wait for the record of all ticks until then."""
    await scene.queue.schedules.pause(NAME)
    definition = await scene.queue.parts.schedules.get(NAME)
    assert definition is not None
    since_ms = definition.since_ms

    async def all_told() -> list[TickRecord]:
        records = await recorded(scene)
        return records if records and records[-1].tick_ms > since_ms - SECOND_MS else []

    return await eventually(all_told, within_s=WITHIN_S, poll_s=0.05)


def each_once(records: list[TickRecord]) -> bool:
    """Every second from the first tick to the last was decided once."""
    return all(later.tick_ms - earlier.tick_ms == SECOND_MS for earlier, later in pairwise(records))


async def run_all(scene: CrashScene, records: list[TickRecord], *queues: str) -> None:
    """Run the jobs of the ticks that fired; `CrashScene.close` then holds each of them to the promise."""
    made = [Schedule.of(NAME, "@hourly", ok.job()).tick_job(each.tick_ms).replace(queue=each.queue) for each in records]
    assert [job.id for job in made] == [each.job_id for each in records]
    scene.jobs += made
    scene.worker(*queues)
    await scene.all_over(*queues)
    assert sorted(each.job_id for each in scene.starts()) == sorted(job.id for job in made)


@pytest.mark.parametrize("passing", [1, 3])
@pytest.mark.parametrize("point", POINTS["a firing"])
async def test_a_scheduler_that_dies_firing_fires_each_tick_once(crashes: CrashScene, point: str, passing: int) -> None:
    """Killed around the call that queues a tick's job: the next scheduler goes on behind the last decided tick."""
    await crashes.ended(add(crashes, ok.job()))
    await crashes.died(crashes.scheduler(crash_at=f"{point}:{passing}"), point)
    calls = passing if point == "after_fire_send" else passing - 1
    assert (await crashes.queue.stats("here")).enqueued >= calls
    crashes.scheduler()
    await fired(crashes, passing + 3)
    records = await stopped(crashes)

    assert {(each.decision, each.reason) for each in records} == {(Decision.FIRED, Reason.ON_TIME)}
    assert each_once(records)
    await run_all(crashes, records, "here")


@pytest.mark.parametrize("point", POINTS["a change"])
async def test_a_change_that_dies_halfway_is_finished_by_the_next_scheduler(crashes: CrashScene, point: str) -> None:
    """Killed with the new version kept, ended on its old queue, or begun on the new one: no tick is lost or made twice,
    and none is made by both versions."""
    await crashes.ended(add(crashes, ok.job(1)))
    first = crashes.scheduler()
    await fired(crashes, 2)
    first.kill()
    first.wait()
    await crashes.died(add(crashes, ok.job(2), queue="there", crash_at=point), point)
    crashes.scheduler()
    await eventually(lambda: _has_fired(crashes, version=2), within_s=WITHIN_S, poll_s=0.05)
    records = await stopped(crashes)

    assert {each.decision for each in records} == {Decision.FIRED}
    assert each_once(records)
    assert [each.version for each in records] == sorted(each.version for each in records)
    assert {(each.version, each.queue) for each in records} == {(1, "here"), (2, "there")}
    await run_all(crashes, records, "here", "there")


async def _has_fired(scene: CrashScene, *, version: int) -> bool:
    return any(each.version == version for each in await recorded(scene))


@pytest.mark.parametrize("point", ["after_schedule_put", "after_schedule_begin"])
async def test_a_removal_that_dies_halfway_is_finished_by_the_next_scheduler(
    crashes: CrashScene, point: str, tmp_path: Path
) -> None:
    """Killed with ticks waiting for a job that runs: they are skipped, once each, and no tick fires any more."""
    go_on = tmp_path / "go on"
    await crashes.ended(add(crashes, hold.job(str(go_on)), "--overlap", "queue"))
    first = crashes.scheduler()
    await eventually(lambda: _waiting(crashes, 2), within_s=WITHIN_S, poll_s=0.05)
    first.kill()
    first.wait()
    await crashes.died(crashes.run("cron", "rm", NAME, "--yes", crash_at=point), point)
    with pytest.raises(ScheduleNotFound):
        await crashes.queue.schedules.get(NAME)
    crashes.scheduler()
    records = await eventually(lambda: _all_ended(crashes), within_s=WITHIN_S, poll_s=0.05)

    assert [each.decision for each in records[:1]] == [Decision.FIRED]
    waited = [each.tick_ms for each in records if each.decision is Decision.WAITING]
    skipped = [each for each in records if each.decision is Decision.SKIPPED]
    assert [each.tick_ms for each in skipped] == waited
    assert {(each.reason, each.version) for each in skipped} == {(Reason.ENDED, 2)}
    go_on.touch()
    await run_all(crashes, records[:1], "here")


async def _waiting(scene: CrashScene, count: int) -> bool:
    return sum(each.decision is Decision.WAITING for each in await recorded(scene)) >= count


async def _all_ended(scene: CrashScene) -> list[TickRecord]:
    """The record, once as many ticks were skipped as waited."""
    records = await recorded(scene)
    decisions = [each.decision for each in records]
    done = decisions.count(Decision.WAITING) == decisions.count(Decision.SKIPPED) > 0
    return records if done else []
