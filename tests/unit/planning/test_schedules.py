"""`queue.schedules`: what can be asked of it, and what it refuses. On a queue in memory, whose clock stands still."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.errors import ConfigError, InvalidSchedule, ScheduleConflict, ScheduleNotFound
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, Definition, Overlap, Schedule, ScheduleState, tick_id
from jobqueue.scheduler.firing import fire_due
from jobqueue.status import ScheduleStatus
from jobqueue.testing import ManualClock, memory_queue
from jobqueue.tick import Decision

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def queue(clock: ManualClock) -> JobQueue:
    return memory_queue(clock=clock)


async def upsert(queue: JobQueue, name: str = "digest", expression: str = "@hourly", **options: Any) -> ScheduleStatus:
    job = options.pop("job", Job("digest.send", {"n": 1}))
    return await queue.schedules.upsert(name, expression, job, **options)


async def fire(queue: JobQueue, name: str = "digest") -> None:
    """One pass of a scheduler."""
    definition = await queue.parts.schedules.get(name)
    assert definition is not None
    timetable, schedule = queue.parts.broker.timetable, definition.schedule
    look = await timetable.look(schedule.queue, [name])
    await fire_due(timetable, schedule, look.standings[name], look.now_ms, rounds=10)


async def test_a_new_schedule_is_told_with_its_next_tick_and_in_words(queue: JobQueue) -> None:
    status = await upsert(queue, expression="0 9 * * mon-fri", timezone="Europe/Madrid")

    assert (status.name, status.version, status.state) == ("digest", 1, ScheduleState.ACTIVE)
    assert status.next_at == datetime(2026, 3, 3, 8, tzinfo=UTC)
    assert status.description == "at 09:00, Monday to Friday, Europe/Madrid"
    assert (status.created_at, status.changed_at) == (NOON, NOON)
    assert status == await queue.schedules.get("digest")


async def test_the_same_again_changes_nothing_and_another_is_the_next_version(
    queue: JobQueue, clock: ManualClock
) -> None:
    await upsert(queue)
    clock.advance(HOUR)

    same = await upsert(queue)
    other = await upsert(queue, job=Job("digest.send", {"n": 2}))

    assert (same.version, same.changed_at) == (1, NOON)
    assert (other.version, other.created_at, other.changed_at) == (2, NOON, NOON + HOUR)


async def test_a_name_that_is_taken_is_not_created_again(queue: JobQueue) -> None:
    schedule = Schedule.of("digest", "@hourly", Job("t"))
    await queue.schedules.save(schedule, create=True)

    with pytest.raises(ScheduleConflict, match="a schedule named 'digest' exists; change that one, or remove it first"):
        await queue.schedules.save(schedule, create=True)
    await queue.schedules.remove("digest")

    assert (await queue.schedules.save(schedule, create=True)).version == 3


async def test_a_name_that_nobody_has_is_told_with_the_closest_one(queue: JobQueue) -> None:
    with pytest.raises(ScheduleNotFound, match=r"no schedule named 'digset' \(there are: none\)"):
        await queue.schedules.get("digset")
    await upsert(queue)
    await upsert(queue, "report")

    for verb in (queue.schedules.get, queue.schedules.pause, queue.schedules.resume, queue.schedules.remove):
        with pytest.raises(ScheduleNotFound, match="no schedule named 'digset'; did you mean 'digest'"):
            await verb("digset")
    for asking in (queue.schedules.run("digset"), queue.schedules.next("digset")):
        with pytest.raises(ScheduleNotFound, match="did you mean 'digest'"):
            await asking
    with pytest.raises(ScheduleNotFound, match=r"no schedule named 'xyz' \(there are: digest, report\)"):
        await queue.schedules.backfill("xyz", since=NOON, until=NOON)


async def test_what_was_removed_is_found_no_more_but_listed_when_asked_for(queue: JobQueue) -> None:
    await upsert(queue)
    await upsert(queue, "mail", job=Job("t", queue="mail"))

    removed = await queue.schedules.remove("digest")

    assert (removed.state, removed.next_at) == (ScheduleState.REMOVED, None)
    with pytest.raises(ScheduleNotFound):
        await queue.schedules.remove("digest")
    assert [each.name for each in await queue.schedules.list()] == ["mail"]
    assert [each.name for each in await queue.schedules.list(removed=True)] == ["digest", "mail"]
    assert [each.name for each in await queue.schedules.list(queues=["mail"], removed=True)] == ["mail"]


async def test_pausing_and_resuming_twice_is_as_once(queue: JobQueue) -> None:
    await upsert(queue)

    paused = [(await queue.schedules.pause("digest")).version for _ in range(2)]
    changed = await upsert(queue, expression="@daily")
    resumed = [(await queue.schedules.resume("digest")).version for _ in range(2)]

    assert (paused, changed.state, resumed) == ([2, 2], ScheduleState.PAUSED, [4, 4])


async def test_where_it_stands_is_told(queue: JobQueue, clock: ManualClock) -> None:
    await upsert(queue, overlap=Overlap.QUEUE, grace=timedelta(days=1))
    clock.advance(3 * HOUR)
    await fire(queue)

    status = await queue.schedules.get("digest")

    assert status.busy_job_id == tick_id("digest", NOON_MS + 3_600_000)
    assert (status.waiting, status.next_at) == (2, NOON + 4 * HOUR)
    assert status.last is not None
    assert (status.last.decision, status.last.tick_ms) == (Decision.WAITING, NOON_MS + 3 * 3_600_000)


async def test_a_tick_that_is_due_and_not_decided_yet_is_not_the_next_one(queue: JobQueue, clock: ManualClock) -> None:
    await upsert(queue)
    clock.advance(HOUR)

    assert (await queue.schedules.get("digest")).next_at == NOON + 2 * HOUR
    assert [each.at for each in await queue.schedules.next("digest", 2)] == [NOON + 2 * HOUR, NOON + 3 * HOUR]


async def test_the_coming_ticks_are_bounded_and_none_while_it_is_paused(queue: JobQueue) -> None:
    await upsert(queue)

    assert len(await queue.schedules.next("digest")) == 10
    for count in (0, 1_001):
        with pytest.raises(ConfigError, match=f"count must be 1 to 1000, got {count}"):
            await queue.schedules.next("digest", count)
    await queue.schedules.pause("digest")
    assert await queue.schedules.next("digest") == []


async def test_a_run_by_hand_is_a_job_of_its_own_whatever_the_state(queue: JobQueue) -> None:
    await upsert(queue, overlap="skip")
    await queue.schedules.pause("digest")

    one, other = await queue.schedules.run("digest"), await queue.schedules.run("digest")
    records, _ = await queue.schedules.ticks(TickFilter(name="digest"))
    found = await queue.parts.broker.locate("default", one.id)

    assert one.id != other.id
    assert found is not None
    assert (found.job.payload, dict(found.job.headers)) == ({"n": 1}, {SCHEDULE_HEADER: "digest"})
    assert [(each.decision, each.job_id) for each in records] == [
        (Decision.RUN, other.id),
        (Decision.RUN, one.id),
    ]


async def test_a_backfill_queues_past_ticks_once_each(queue: JobQueue) -> None:
    await upsert(queue)
    window = {"since": NOON - 3 * HOUR, "until": NOON}

    dry = await queue.schedules.backfill("digest", **window, dry_run=True)
    assert (await queue.stats("default")).depth == 0
    done = await queue.schedules.backfill("digest", **window)
    again = await queue.schedules.backfill("digest", **window)
    records, _ = await queue.schedules.ticks(TickFilter(decision=Decision.BACKFILLED))

    ticks = [NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR]
    assert [(each.at, each.new) for each in done.ticks] == [(tick, True) for tick in ticks]
    assert dry == done
    assert [(each.at, each.new) for each in again.ticks] == [(tick, False) for tick in ticks]
    assert (await queue.stats("default")).depth == 3
    assert sorted(each.tick_ms for each in records) == [round(tick.timestamp() * 1000) for tick in ticks]
    found = await queue.parts.broker.locate("default", done.ticks[0].job_id)
    assert found is not None
    assert found.job.headers[TICK_HEADER] == "2026-03-02T09:00:00Z"


async def test_a_backfill_leaves_out_what_was_fired_and_fires_what_is_due(queue: JobQueue, clock: ManualClock) -> None:
    """The tick of this moment has not been decided when somebody backfills up to now: it is the schedule's own."""
    await upsert(queue, grace=timedelta(days=1))
    clock.advance(HOUR)
    await fire(queue)
    clock.advance(HOUR + timedelta(seconds=1))

    done = await queue.schedules.backfill("digest", since=NOON - HOUR, until=clock_now(clock))

    assert [(each.at, each.new) for each in done.ticks] == [
        (NOON - HOUR, True),
        (NOON, True),
        (NOON + HOUR, False),
        (NOON + 2 * HOUR, False),
    ]
    assert (await queue.stats("default")).enqueued == 4


def clock_now(clock: ManualClock) -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


async def test_a_backfill_from_just_behind_a_tick_does_not_queue_it_again(queue: JobQueue, clock: ManualClock) -> None:
    """Half a millisecond after a tick that had fired: the chaos checker saw its job made twice."""
    await upsert(queue, grace=timedelta(days=1))
    clock.advance(2 * HOUR)
    await fire(queue)

    since = NOON + HOUR + timedelta(microseconds=500)
    done = await queue.schedules.backfill("digest", since=since, until=NOON + 2 * HOUR)

    assert done.ticks == []


async def test_a_backfill_leaves_out_ticks_that_wait(queue: JobQueue, clock: ManualClock) -> None:
    await upsert(queue, overlap="queue", grace=timedelta(days=1))
    clock.advance(3 * HOUR)
    await fire(queue)

    done = await queue.schedules.backfill("digest", since=NOON + HOUR, until=NOON + 3 * HOUR)

    assert [each.new for each in done.ticks] == [False, False]


async def test_a_long_backfill_goes_on_where_it_ended(queue: JobQueue) -> None:
    await upsert(queue)
    until = NOON
    first = await queue.schedules.backfill("digest", since=NOON - 5 * HOUR, until=until, limit=3)
    rest = await queue.schedules.backfill(
        "digest", since=first.ticks[-1].at + timedelta(seconds=1), until=until, limit=3
    )

    assert (len(first.ticks), first.more, len(rest.ticks), rest.more) == (3, True, 2, False)
    assert all(each.new for each in [*first.ticks, *rest.ticks])


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        ({"since": NOON, "until": NOON}, InvalidSchedule, "until must be after since"),
        ({"since": NOON, "until": NOON + HOUR}, InvalidSchedule, "until must not be in the future"),
        ({"since": NOON - HOUR, "until": NOON, "limit": 0}, InvalidSchedule, "limit must be from 1 to 10000, got 0"),
        ({"since": datetime(2026, 1, 1), "until": NOON}, TypeError, "since must be an aware datetime"),
    ],
)
async def test_a_backfill_that_makes_no_sense_is_refused(
    queue: JobQueue, window: dict[str, Any], error: type[Exception], message: str
) -> None:
    await upsert(queue)

    with pytest.raises(error, match=message):
        await queue.schedules.backfill("digest", **window)


async def test_a_backfill_until_now_may_be_asked_by_a_clock_that_is_ahead(queue: JobQueue, clock: ManualClock) -> None:
    await upsert(queue, expression="* * * * *")
    clock.advance(timedelta(seconds=59))

    done = await queue.schedules.backfill("digest", since=NOON - HOUR, until=clock_now(clock) + timedelta(seconds=30))

    assert (len(done.ticks), done.ticks[-1].at) == (61, NOON)


async def test_pages_of_ticks_are_bounded(queue: JobQueue) -> None:
    for limit in (0, 1_001):
        with pytest.raises(ConfigError, match=f"limit must be 1 to 1000, got {limit}"):
            await queue.schedules.ticks(limit=limit)
    assert await queue.schedules.ticks() == ([], None)


async def test_who_edits_when_others_do_looks_again(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading and keeping, somebody else was faster."""
    await upsert(queue)
    put = queue.parts.schedules.put

    async def beaten(definition: Definition, *, expected: int) -> bool:
        monkeypatch.undo()
        await upsert(queue, expression="@daily")
        return await put(definition, expected=expected)

    monkeypatch.setattr(queue.parts.schedules, "put", beaten)
    paused = await queue.schedules.pause("digest")

    assert (paused.version, paused.state, paused.schedule.expression) == (3, ScheduleState.PAUSED, "@daily")


async def test_who_is_beaten_again_and_again_is_told(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    async def beaten(definition: Definition, *, expected: int) -> bool:
        return False

    monkeypatch.setattr(queue.parts.schedules, "put", beaten)
    with pytest.raises(ScheduleConflict, match="was changed by others 20 times meanwhile; try again"):
        await upsert(queue)


async def test_a_store_that_was_set_back_is_brought_forward_by_the_next_edit(queue: JobQueue) -> None:
    """Its backup has version 1, and version 3 stands at the broker."""
    await upsert(queue)
    kept = await queue.parts.schedules.get("digest")
    assert kept is not None
    await upsert(queue, expression="@daily")
    await upsert(queue, expression="@weekly")
    queue.parts.schedules._kept["digest"] = kept  # type: ignore[attr-defined]

    edited = await upsert(queue, expression="@monthly")

    assert edited.version == 4
    look = await queue.parts.broker.timetable.look("default", ["digest"])
    assert look.standings["digest"].version == 4


async def test_a_decision_is_asked_for_by_its_text_or_by_the_enum(queue: JobQueue) -> None:
    await upsert(queue)
    await queue.schedules.run("digest")

    for decision in ("run", Decision.RUN):
        records, _ = await queue.schedules.ticks(TickFilter(decision=decision))
        assert [each.decision for each in records] == [Decision.RUN]
    assert await queue.schedules.ticks(TickFilter(decision="fired")) == ([], None)
    with pytest.raises(ConfigError, match="decision must be fired, skipped, waiting, run or backfilled, got 'foo'"):
        await queue.schedules.ticks(TickFilter(decision="foo"))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda its: its.ticks("digest"), "ticks takes a TickFilter such as .*, got 'digest'"),
        (lambda its: its.ticks(TickFilter(since=NOON.replace(tzinfo=None))), "since must be an aware datetime"),
        (lambda its: its.ticks(TickFilter(until="today")), "until must be an aware datetime .*, got 'today'"),
        (lambda its: its.ticks(limit="5"), "limit must be a whole number, got '5'"),
        (lambda its: its.next("digest", "5"), "count must be a whole number, got '5'"),
        (lambda its: its.upsert("z", "@daily", "nope"), r"a schedule takes a Job, such as task.job\(...\) makes"),
        (lambda its: its.save("digest"), "a schedule must be a Schedule"),
        (lambda its: its.declare(Registry(), app="shop:registry"), "such as registry.schedules, got <"),
        (lambda its: its.declare("digest", app="shop:registry"), "such as registry.schedules, got 'digest'"),
        (lambda its: its.backfill("digest", since=NOON, until=NOON, limit="5"), "limit must be a whole number"),
        (lambda its: its.backfill("digest", since=None, until=NOON), "since must be an aware datetime"),
    ],
)
async def test_what_is_of_another_kind_is_refused_at_the_call(queue: JobQueue, ask: Any, message: str) -> None:
    await upsert(queue)

    with pytest.raises(TypeError, match=message):
        await ask(queue.schedules)
