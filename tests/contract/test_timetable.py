"""Where schedules stand, and how their ticks become jobs: every promise of `jobqueue.broker.timetable.Timetable`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.broker.base import Broker, Consumer
from jobqueue.broker.timetable import Fired, Standing
from jobqueue.clock import to_ms
from jobqueue.errors import ConfigError
from jobqueue.job import Job, JobState, Priority
from jobqueue.outcome import COMPLETED, Retrying
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, Schedule, tick_id
from jobqueue.tick import Decision, Reason, Step, TickRecord
from tests.contract.scene import FAILURE, Q, promoted, settle, take_one
from testutil.eventually import eventually

NAME = "digest"
DAY_MS = 86_400_000


def schedule(
    *, name: str = NAME, overlap: str = "allow", max_catchup: int = 100, jitter: timedelta = timedelta(0), **job: Any
) -> Schedule:
    made = Job("digest.send", {"n": 1}, **{"queue": Q, **job})
    return Schedule.of(name, "@hourly", made, overlap=overlap, max_catchup=max_catchup, jitter=jitter)


def due(*ticks: int, reason: Reason = Reason.ON_TIME) -> list[Step]:
    return [Step(fires=True, reason=reason, tick_ms=tick, first_ms=tick) for tick in ticks]


def skip(first_ms: int, last_ms: int, count: int | None, reason: Reason = Reason.MISSED) -> Step:
    return Step(fires=False, reason=reason, tick_ms=last_ms, first_ms=first_ms, count=count)


class Scene:
    """One schedule that counts from a minute ago, and how far it has come."""

    def __init__(self, broker: Broker, of: Schedule, standing: Standing, now_ms: int) -> None:
        self.broker = broker
        self.timetable = broker.timetable
        self.of = of
        self.standing = standing
        self.start_ms = standing.last_ms
        self.now_ms = now_ms

    @classmethod
    async def begun(cls, broker: Broker, of: Schedule | None = None) -> "Scene":
        of = of or schedule()
        now_ms = (await broker.timetable.look(of.queue, [])).now_ms
        standing = await broker.timetable.begin(of.queue, of.name, version=1, at_ms=now_ms - 60_000)
        return cls(broker, of, standing, now_ms)

    def tick(self, second: int) -> int:
        return self.start_ms + second * 1000

    async def fire(self, *steps: Step) -> list[TickRecord]:
        fired = await self.timetable.fire(self.of, self.standing, steps)
        assert fired.done
        assert fired.standing is not None
        self.standing = fired.standing
        return list(fired.records)

    async def at(self, *seconds: int) -> list[tuple[str, str, int]]:
        """What is decided about ticks at these seconds: decision, reason, second."""
        return [
            (each.decision, each.reason, (each.tick_ms - self.start_ms) // 1000)
            for each in await self.fire(*due(*map(self.tick, seconds)))
        ]

    async def look(self) -> Standing | None:
        return (await self.timetable.look(self.of.queue, [self.of.name])).standings.get(self.of.name)

    async def end_job(self, worker: Consumer) -> None:
        await settle(worker, COMPLETED, await take_one(worker))


@pytest.fixture
async def scene(broker: Broker) -> Scene:
    return await Scene.begun(broker)


async def recorded(broker: Broker, queue: str = Q, **where: Any) -> list[TickRecord]:
    found, cursor = await broker.timetable.records(queue, limit=1_000, **where)
    assert cursor is None
    return found


# begin and look


async def test_a_schedule_stands_nowhere_until_it_is_begun(broker: Broker) -> None:
    look = await broker.timetable.look(Q, [NAME])

    assert look.standings == {}
    assert look.now_ms > 0
    assert await broker.queues() == []


async def test_a_begun_schedule_counts_from_the_given_instant(broker: Broker) -> None:
    standing = await broker.timetable.begin(Q, NAME, version=3, at_ms=5_000)

    assert standing == Standing(version=3, last_ms=5_000)
    assert (await broker.timetable.look(Q, ["other", NAME])).standings == {NAME: standing}
    assert await broker.queues() == [Q]


async def test_begin_changes_nothing_where_the_version_or_a_newer_one_stands(broker: Broker) -> None:
    first = await broker.timetable.begin(Q, NAME, version=3, at_ms=5_000)

    for version in (3, 2, 1):
        assert await broker.timetable.begin(Q, NAME, version=version, at_ms=9_000, waiting=[1], job_id="a") == first


async def test_a_newer_version_counts_from_the_later_of_instant_and_newest_decided_tick(scene: Scene) -> None:
    await scene.at(10)

    early = await scene.timetable.begin(Q, NAME, version=2, at_ms=scene.tick(5))
    late = await scene.timetable.begin(Q, NAME, version=3, at_ms=scene.tick(20))

    assert (early.version, early.last_ms) == (2, scene.tick(10))
    assert (late.version, late.last_ms) == (3, scene.tick(20))


# fire


async def test_a_tick_fires_its_job(scene: Scene) -> None:
    at = scene.tick(10)
    (record,) = await scene.fire(*due(at))
    worker = await scene.broker.join([Q])
    delivery = await take_one(worker)
    job = delivery.job()

    assert (delivery.job_id, job.type, job.payload) == (tick_id(NAME, at), "digest.send", {"n": 1})
    assert job.headers[SCHEDULE_HEADER] == NAME
    assert TICK_HEADER in job.headers
    assert scene.standing == Standing(version=1, last_ms=at, job_id=delivery.job_id, busy=True)
    assert (record.decision, record.reason, record.tick_ms, record.job_id) == ("fired", "on_time", at, job.id)
    assert await recorded(scene.broker) == [record]
    await settle(worker, COMPLETED, delivery)
    assert await scene.look() == Standing(version=1, last_ms=at, job_id=job.id, busy=False)


async def test_of_many_who_fire_the_same_one_does(scene: Scene) -> None:
    steps = due(scene.tick(10), scene.tick(11))
    answers: Sequence[Fired] = await asyncio.gather(
        *(scene.timetable.fire(scene.of, scene.standing, steps) for _ in range(20))
    )

    assert sorted(each.done for each in answers) == [False] * 19 + [True]
    assert {each.standing for each in answers if not each.done} == {each.standing for each in answers if each.done}
    assert [each for each in answers if not each.done and each.records] == []
    assert (await scene.broker.stats(Q)).enqueued == 2
    assert len(await recorded(scene.broker)) == 2


async def test_a_tick_that_the_brokers_clock_has_not_reached_is_refused(scene: Scene) -> None:
    ahead = scene.now_ms + DAY_MS
    fired = await scene.timetable.fire(scene.of, scene.standing, due(scene.tick(10), ahead))

    assert (fired.done, fired.standing, list(fired.records)) == (False, scene.standing, [])
    assert fired.now_ms < ahead
    assert await recorded(scene.broker) == []
    assert (await scene.broker.stats(Q)).enqueued == 0
