"""Where schedules stand, and how their ticks become jobs: every promise of `jobqueue.broker.timetable.Timetable`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from jobqueue.broker.base import Broker, Consumer, Submission
from jobqueue.broker.timetable import Fired, Standing
from jobqueue.clock import to_ms
from jobqueue.errors import ConfigError
from jobqueue.job import Job, JobState, Priority
from jobqueue.outcome import COMPLETED, Retrying
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, Schedule, tick_id
from jobqueue.tick import Decision, Reason, Step, TickRecord
from tests.contract.scene import FAILURE, Q, settle, take_one

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


async def test_what_a_wrong_clock_decided_far_ahead_holds_no_newer_version_up(broker: Broker) -> None:
    timetable = broker.timetable
    now_ms = (await timetable.look(Q, [])).now_ms
    hour_ms = 3_600_000
    await timetable.begin(Q, NAME, version=1, at_ms=now_ms + 23 * hour_ms)
    near = await timetable.begin(Q, NAME, version=2, at_ms=now_ms)
    far_ms = now_ms + 10_000 * hour_ms
    await timetable.begin(Q, NAME, version=3, at_ms=far_ms, waiting=[far_ms])
    back = await timetable.begin(Q, NAME, version=4, at_ms=now_ms)

    assert near.last_ms == now_ms + 23 * hour_ms
    assert (back.version, back.last_ms, back.waiting) == (4, now_ms, ())


async def test_a_newer_version_counts_from_the_later_of_instant_and_newest_decided_tick(scene: Scene) -> None:
    await scene.at(10)

    early = await scene.timetable.begin(Q, NAME, version=2, at_ms=scene.tick(5))
    late = await scene.timetable.begin(Q, NAME, version=3, at_ms=scene.tick(20))

    assert (early.version, early.last_ms) == (2, scene.tick(10))
    assert (late.version, late.last_ms) == (3, scene.tick(20))


async def test_many_are_looked_at_together(broker: Broker) -> None:
    names = [f"s{n}" for n in range(1_203)]
    for name in names[::400]:
        await broker.timetable.begin(Q, name, version=1, at_ms=5_000)

    look = await broker.timetable.look(Q, names)

    assert look.standings == {name: Standing(version=1, last_ms=5_000) for name in names[::400]}


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


async def test_a_schedule_that_stands_elsewhere_than_it_was_seen_does_not_fire(scene: Scene) -> None:
    await scene.at(10)
    here = scene.standing
    for seen in (
        Standing(version=2, last_ms=here.last_ms),
        Standing(version=1, last_ms=scene.start_ms),
        Standing(version=1, last_ms=here.last_ms, waiting=(scene.tick(5),)),
    ):
        fired = await scene.timetable.fire(scene.of, seen, due(scene.tick(20)))

        assert (fired.done, fired.standing) == (False, here)
    assert (await scene.broker.stats(Q)).enqueued == 1


async def test_a_schedule_that_stands_nowhere_does_not_fire(broker: Broker) -> None:
    fired = await broker.timetable.fire(schedule(), Standing(version=1, last_ms=5_000), due(6_000))

    assert (fired.done, fired.standing) == (False, None)
    assert await recorded(broker) == []


async def test_after_an_edit_the_old_version_fires_nothing(scene: Scene) -> None:
    new = await scene.timetable.begin(Q, NAME, version=2, at_ms=scene.tick(10))

    fired = await scene.timetable.fire(scene.of, scene.standing, due(scene.tick(11)))

    assert (fired.done, fired.standing) == (False, new)


async def test_steps_that_were_decided_or_do_not_ascend_are_refused(scene: Scene) -> None:
    for steps in (due(scene.start_ms), due(scene.tick(2), scene.tick(1)), due(scene.tick(1), scene.tick(1))):
        with pytest.raises(ValueError, match="ascend"):
            await scene.fire(*steps)
    with pytest.raises(ValueError, match="ascend"):
        await scene.fire(skip(scene.tick(5), scene.tick(4), 2))

    assert await recorded(scene.broker) == []


async def test_ticks_that_are_skipped_are_recorded_as_one_and_queue_nothing(scene: Scene) -> None:
    missed = skip(scene.tick(1), scene.tick(9), 9)
    many = skip(scene.tick(10), scene.tick(19), None, Reason.MADE_UP)
    records = await scene.fire(missed, many, *due(scene.tick(20), reason=Reason.CAUGHT_UP))

    assert [(each.decision, each.reason, each.first_ms, each.tick_ms, each.count) for each in records] == [
        (Decision.SKIPPED, Reason.MISSED, scene.tick(1), scene.tick(9), 9),
        (Decision.SKIPPED, Reason.MADE_UP, scene.tick(10), scene.tick(19), None),
        (Decision.FIRED, Reason.CAUGHT_UP, scene.tick(20), scene.tick(20), 1),
    ]
    assert {(each.name, each.queue, each.version) for each in records} == {(NAME, Q, 1)}
    assert scene.standing.last_ms == scene.tick(20)
    assert (await scene.broker.stats(Q)).enqueued == 1


async def test_a_record_tells_when_it_was_decided_by_the_brokers_clock(scene: Scene) -> None:
    (record,) = await scene.fire(*due(scene.tick(10)))

    later = (await scene.timetable.look(Q, [])).now_ms
    assert scene.now_ms <= record.at_ms <= later


async def test_firing_nothing_changes_nothing(scene: Scene) -> None:
    before = scene.standing

    assert await scene.fire() == []
    assert scene.standing == before
    assert await recorded(scene.broker) == []


async def test_a_job_that_is_live_counts_as_fired_and_is_not_queued_again(scene: Scene) -> None:
    await scene.broker.enqueue([Submission(job=scene.of.tick_job(scene.tick(10)))])

    assert await scene.at(10) == [("fired", "on_time", 10)]
    assert scene.standing.job_id == tick_id(NAME, scene.tick(10))
    assert scene.standing.busy
    assert (await scene.broker.stats(Q)).enqueued == 1


async def test_schedules_of_one_queue_do_not_know_of_each_other(scene: Scene) -> None:
    other = await Scene.begun(scene.broker, schedule(name="other"))
    await scene.at(10)

    assert await other.look() == other.standing
    assert await other.at(10) == [("fired", "on_time", 10)]
    assert (await scene.broker.stats(Q)).enqueued == 2


# the job of a tick


async def test_the_job_has_the_schedules_priority_and_expires(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(priority=Priority.HIGH, expires=timedelta(hours=1)))
    await scene.at(10)
    await broker.enqueue([Submission(job=Job("other", {}, queue=Q))])

    delivery = await take_one(await broker.join([Q]))

    assert delivery.rank == Priority.HIGH.rank
    assert 0 <= delivery.expires_ms - scene.now_ms - to_ms(timedelta(hours=1)) < 60_000


@pytest.mark.parametrize("expires", [None, timedelta(hours=21)])
async def test_with_jitter_the_job_is_delayed_until_it_is_due(broker: Broker, expires: timedelta | None) -> None:
    jittery = schedule(jitter=timedelta(hours=20), expires=expires)
    scene = await Scene.begun(broker, jittery)
    second = next(n for n in range(1, 60) if jittery.due_ms(scene.tick(n)) > scene.now_ms + 3_600_000)
    await scene.at(second)

    found = await broker.locate(Q, tick_id(NAME, scene.tick(second)))
    assert found is not None
    assert (found.state, found.due_ms) == (JobState.SCHEDULED, jittery.due_ms(scene.tick(second)))
    assert scene.standing.busy
    assert await broker.hasten(Q, found.job_id) == JobState.QUEUED
    delivery = await take_one(await broker.join([Q]))
    assert (delivery.expires_ms > 0) is (expires is not None)
    assert delivery.job().headers[SCHEDULE_HEADER] == NAME


async def test_with_a_little_jitter_who_listens_hears_of_the_job(broker: Broker) -> None:
    at = (await broker.timetable.look(Q, [])).now_ms - 10_000
    soon = range(at + 16_000, at + 19_000)
    # By its name a schedule's jitter is this or that: of so many, one is due soon, and not at once.
    jittery = (schedule(name=f"s{n}", jitter=timedelta(minutes=1)) for n in range(1_000))
    scene = await Scene.begun(broker, next(each for each in jittery if each.due_ms(at) in soon))
    heard: list[str] = []
    await scene.fire(*due(at))

    await broker.listen([Q], heard.append, wait=timedelta(milliseconds=100))

    assert heard == [Q]


async def test_a_job_that_is_due_while_it_fires_late_is_ready_at_once(broker: Broker) -> None:
    jittery = schedule(jitter=timedelta(seconds=1))
    scene = await Scene.begun(broker, jittery)
    await scene.at(10)

    assert (await broker.stats(Q)).depth == 1


# overlap


async def test_allow_fires_although_the_job_before_has_not_ended(scene: Scene) -> None:
    assert await scene.at(10, 11, 12) == [("fired", "on_time", n) for n in (10, 11, 12)]
    assert await scene.at(13) == [("fired", "on_time", 13)]
    assert (await scene.broker.stats(Q)).depth == 4


async def test_skip_skips_while_the_job_before_has_not_ended(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="skip"))
    first = tick_id(NAME, scene.tick(10))

    assert await scene.at(10, 11) == [("fired", "on_time", 10), ("skipped", "overlap", 11)]
    assert await scene.at(12) == [("skipped", "overlap", 12)]
    assert [each.job_id for each in await recorded(broker)] == [first] * 3
    assert scene.standing == Standing(version=1, last_ms=scene.tick(12), job_id=first, busy=True)
    worker = await broker.join([Q])
    delivery = await take_one(worker)
    assert await scene.at(13) == [("skipped", "overlap", 13)]
    await settle(worker, Retrying(3_600_000, FAILURE), delivery)
    assert await scene.at(14) == [("skipped", "overlap", 14)]
    assert await broker.cancel(Q, first) == JobState.CANCELLED
    assert await scene.at(15, 16) == [("fired", "on_time", 15), ("skipped", "overlap", 16)]


async def test_queue_lets_ticks_wait_and_fires_one_when_the_job_before_has_ended(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    worker = await broker.join([Q])

    assert await scene.at(10, 11, 12) == [
        ("fired", "on_time", 10),
        ("waiting", "overlap", 11),
        ("waiting", "overlap", 12),
    ]
    assert scene.standing.waiting == (scene.tick(11), scene.tick(12))
    assert await scene.at() == []
    await scene.end_job(worker)
    assert await scene.at() == [("fired", "waited", 11)]
    assert scene.standing == Standing(
        version=1,
        last_ms=scene.tick(12),
        waiting=(scene.tick(12),),
        job_id=tick_id(NAME, scene.tick(11)),
        busy=True,
    )
    assert await scene.at() == []
    await scene.end_job(worker)
    assert await scene.at(13) == [("fired", "waited", 12), ("waiting", "overlap", 13)]
    await scene.end_job(worker)
    assert await scene.at() == [("fired", "waited", 13)]
    await scene.end_job(worker)
    assert await scene.at(14) == [("fired", "on_time", 14)]
    await scene.end_job(worker)
    assert (await broker.stats(Q)).completed == 5


async def test_of_many_who_look_after_the_waiting_one_fires(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    worker = await broker.join([Q])
    await scene.at(10, 11, 12)
    await scene.end_job(worker)

    answers = await asyncio.gather(*(scene.timetable.fire(scene.of, scene.standing, []) for _ in range(20)))

    assert sorted(each.done for each in answers) == [False] * 19 + [True]
    assert (await broker.stats(Q)).depth == 1


async def test_no_more_ticks_wait_than_max_catchup(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue", max_catchup=2))

    assert await scene.at(10, 11, 12, 13) == [
        ("fired", "on_time", 10),
        ("waiting", "overlap", 11),
        ("waiting", "overlap", 12),
        ("skipped", "max_catchup", 13),
    ]
    assert await scene.at(14) == [("skipped", "max_catchup", 14)]
    assert scene.standing.waiting == (scene.tick(11), scene.tick(12))
    assert scene.standing.last_ms == scene.tick(14)


async def test_a_tick_that_was_waiting_has_the_options_of_the_schedule_as_it_is_now(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    worker = await broker.join([Q])
    await scene.at(10, 11)
    scene.of = schedule(overlap="skip", priority=Priority.LOW)
    scene.standing = await scene.timetable.begin(Q, NAME, version=2, at_ms=scene.now_ms)
    await scene.end_job(worker)

    assert scene.standing.waiting == (scene.tick(11),)
    assert await scene.at() == [("fired", "waited", 11)]
    assert (await take_one(worker)).rank == Priority.LOW.rank


# end, and the way to another queue


async def test_a_schedule_that_ended_here_fires_nothing_more_and_tells_what_it_left(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    await scene.at(10, 11)

    left = await scene.timetable.end(Q, NAME, version=2)
    again = await scene.timetable.end(Q, NAME, version=2)

    assert left.standings == again.standings == {NAME: scene.standing}
    assert left.now_ms >= scene.now_ms
    assert await scene.look() == Standing(version=2, last_ms=scene.tick(11))
    for seen in (scene.standing, Standing(version=2, last_ms=scene.tick(11))):
        fired = await scene.timetable.fire(scene.of, seen, due(scene.tick(12)))
        assert (fired.done, fired.standing) == (False, Standing(version=2, last_ms=scene.tick(11)))
    for version in (1, 2):
        standing = await scene.timetable.begin(Q, NAME, version=version, at_ms=scene.now_ms)
        assert standing == Standing(version=2, last_ms=scene.tick(11))
    assert await scene.timetable.drop(Q, NAME, version=1) == 0
    assert await scene.timetable.drop(Q, NAME, version=2) == 0


async def test_a_schedule_brings_its_job_and_what_waits_to_another_queue(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    await scene.at(10, 11)
    left = (await scene.timetable.end(Q, NAME, version=2)).standings[NAME]

    moved = await scene.timetable.begin(
        "other", NAME, version=2, at_ms=left.last_ms, waiting=left.waiting, job_id=left.job_id
    )
    again = await scene.timetable.begin("other", NAME, version=2, at_ms=left.last_ms)

    # The job that is live is on the queue that it came from.
    assert moved == again == Standing(version=2, last_ms=scene.tick(11), waiting=left.waiting, job_id=left.job_id)
    scene.of, scene.standing = schedule(overlap="queue", queue="other"), moved
    assert await scene.at(12) == [("fired", "waited", 11), ("waiting", "overlap", 12)]
    assert (await broker.stats("other")).depth == 1


async def test_a_schedule_may_come_back(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    await scene.at(10, 11)
    await scene.timetable.end(Q, NAME, version=2)

    back = await scene.timetable.begin(Q, NAME, version=3, at_ms=scene.tick(5), waiting=[scene.tick(8)], job_id="a")

    assert back == Standing(version=3, last_ms=scene.tick(11), waiting=(scene.tick(8),), job_id="a")
    assert await scene.look() == back


async def test_an_old_version_cannot_end_a_newer_one(scene: Scene) -> None:
    newer = await scene.timetable.begin(Q, NAME, version=3, at_ms=scene.now_ms)

    for version in (1, 2, 3):
        assert (await scene.timetable.end(Q, NAME, version=version)).standings == {NAME: newer}

    assert await scene.look() == newer


async def test_a_queue_where_it_never_stood_can_be_ended_for_it(broker: Broker) -> None:
    await broker.enqueue([Submission(job=Job("other", {}, queue=Q))])
    for _ in range(2):
        assert (await broker.timetable.end(Q, NAME, version=5)).standings == {}

    assert (await broker.timetable.begin(Q, NAME, version=4, at_ms=9_000)).version == 5
    assert (await broker.timetable.begin(Q, NAME, version=6, at_ms=9_000)) == Standing(version=6, last_ms=9_000)


async def test_of_a_move_repeated_by_many_at_once_everything_is_there_once(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    await scene.at(10, 11, 12)
    after = schedule(overlap="queue", queue="other")

    async def adopt_and_fire() -> bool:
        left = (await scene.timetable.end(Q, NAME, version=2)).standings[NAME]
        begun = await scene.timetable.begin(
            "other", NAME, version=2, at_ms=left.last_ms, waiting=left.waiting, job_id=left.job_id
        )
        steps = due(scene.tick(13)) if begun.last_ms < scene.tick(13) else []
        return bool(steps) and (await scene.timetable.fire(after, begun, steps)).done

    answers = await asyncio.gather(*(adopt_and_fire() for _ in range(10)))

    assert sum(answers) == 1
    decided = [(each.decision, (each.tick_ms - scene.start_ms) // 1000) for each in await recorded(broker, "other")]
    assert decided == [("waiting", 13), ("fired", 11)]


# drop


async def test_dropped_ticks_are_skipped_with_a_record_each(broker: Broker) -> None:
    scene = await Scene.begun(broker, schedule(overlap="queue"))
    await scene.at(10, 11, 12)

    for version in (0, 2):
        assert await scene.timetable.drop(Q, NAME, version=version) == 0
    assert await scene.timetable.drop(Q, NAME, version=1) == 2
    assert await scene.timetable.drop(Q, NAME, version=1) == 0

    second, first, *_ = await recorded(broker)
    for record, second_of in ((first, 11), (second, 12)):
        assert (record.decision, record.reason) == ("skipped", "ended")
        assert (record.tick_ms, record.count, record.version) == (scene.tick(second_of), 1, 1)
        assert record.job_id is None
    standing = await scene.look()
    assert standing is not None
    assert (standing.last_ms, standing.waiting) == (scene.tick(12), ())
    assert await broker.timetable.drop(Q, "unknown", version=1) == 0


# note and records


def by_hand(n: int, *, queue: str = Q, decision: Decision = Decision.RUN) -> TickRecord:
    return TickRecord(
        name=f"s{n % 2}",
        queue=queue,
        version=1,
        decision=decision,
        reason=Reason.ASKED,
        tick_ms=1_000 + n,
        first_ms=1_000 + n,
        job_id=tick_id("s", n),
        at_ms=0,
    )


async def test_what_was_done_by_hand_is_recorded_at_the_brokers_time(scene: Scene) -> None:
    run, backfilled = by_hand(1), by_hand(2, queue="other", decision=Decision.BACKFILLED)
    await scene.timetable.note([run, backfilled])

    for record, queue in ((run, Q), (backfilled, "other")):
        (found,) = await recorded(scene.broker, queue)
        assert found.at_ms >= scene.now_ms
        assert msgspec.structs.replace(found, at_ms=0) == record


async def test_the_same_again_is_noted_once(broker: Broker) -> None:
    for _ in range(3):
        await broker.timetable.note([by_hand(1), by_hand(2)])
    await broker.timetable.note([by_hand(3)])
    await broker.timetable.note([])

    assert [each.tick_ms for each in await recorded(broker)] == [1_003, 1_002, 1_001]


async def test_records_come_newest_first_page_by_page(broker: Broker) -> None:
    await broker.timetable.note([by_hand(n) for n in range(1_203)])
    assert await broker.timetable.records("unknown", limit=5) == ([], None)
    for name, wanted in ((None, 1), ("s1", 2)):
        seen: list[int] = []
        cursor = None
        for _ in range(100):
            page, cursor = await broker.timetable.records(Q, name=name, limit=100, after=cursor)
            seen += [each.tick_ms - 1_000 for each in page]
            assert len(page) <= 100
            if cursor is None:
                break
        assert seen == [n for n in range(1_202, -1, -1) if n % wanted == wanted - 1 or name is None]


async def test_a_page_that_ends_with_the_last_record_has_no_cursor(broker: Broker) -> None:
    await broker.timetable.note([by_hand(n) for n in range(3)])

    page, cursor = await broker.timetable.records(Q, limit=3)

    assert (len(page), cursor) == (3, None)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1-1", "1-1 ", "1-1\n", f"{2**64}-1"])
async def test_what_is_no_cursor_of_records_is_refused(broker: Broker, cursor: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one"):
        await broker.timetable.records(Q, limit=3, after=cursor)


# the journal


async def test_records_wait_to_be_shipped(scene: Scene) -> None:
    journal = scene.broker.journal
    assert await journal.waiting_in([Q], "ticks") == await journal.waiting_in([Q]) == []
    assert await journal.read(Q, "ticks", after="0-0", count=10) is None
    records = [*await scene.fire(*due(scene.tick(10))), *await scene.fire(*due(scene.tick(11), scene.tick(12)))]
    assert await journal.waiting_in([Q], "ticks") == await journal.waiting_in([Q]) == [Q]
    assert await journal.waiting_in([Q], "journal") == await journal.waiting_in([Q], "dead") == []

    page = await journal.read(Q, "ticks", after="0-0", count=2)
    assert page is not None
    rest = await journal.read(Q, "ticks", after=page.last, count=2)
    assert rest is not None

    assert (page.ticks, rest.ticks) == (records[:2], records[2:])
    assert (page.full, rest.full) == (True, False)
    assert not page.executions
    assert not page.dead_letters
    await journal.trim(Q, "ticks", upto=page.last, primary=page.primary)
    assert await recorded(scene.broker) == records[2:]
    await journal.trim(Q, "ticks", upto=rest.last, primary=rest.primary)
    assert await journal.waiting_in([Q]) == []
    assert await scene.look() == scene.standing
