"""Letting a version of a schedule count, where queues live on servers with clocks of their own, and callers die."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.broker.timetable import Fired, Look, Standing
from jobqueue.clock import from_ms
from jobqueue.job import Job
from jobqueue.schedule import Definition, Overlap, Schedule, ScheduleState
from jobqueue.scheduler.firing import adopt, fire_due
from jobqueue.testing import ManualClock
from jobqueue.testing.memory.broker import MemoryBroker
from jobqueue.tick import Decision, Reason, Step, TickRecord

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000


class Died(Exception):
    """The process that called ends here."""


class Nodes:
    """A timetable whose queues are on two servers; it can let its caller die before or after a call."""

    def __init__(self, skew: timedelta = timedelta(0)) -> None:
        self.clocks = {"a": ManualClock(START), "b": ManualClock(START + skew)}
        self.brokers = {queue: MemoryBroker(clock=clock) for queue, clock in self.clocks.items()}
        self.calls_left: float = float("inf")

    def advance(self, by: timedelta) -> None:
        for clock in self.clocks.values():
            clock.advance(by)

    async def look(self, queue: str, names: Sequence[str]) -> Look:
        return await self._call(lambda: self.brokers[queue].timetable.look(queue, names))

    async def begin(self, queue: str, name: str, **facts: Any) -> Standing:
        return await self._call(lambda: self.brokers[queue].timetable.begin(queue, name, **facts))

    async def end(self, queue: str, name: str, *, version: int) -> Look:
        return await self._call(lambda: self.brokers[queue].timetable.end(queue, name, version=version))

    async def drop(self, queue: str, name: str, *, version: int) -> int:
        return await self._call(lambda: self.brokers[queue].timetable.drop(queue, name, version=version))

    async def fire(self, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> Fired:
        return await self._call(lambda: self.brokers[schedule.queue].timetable.fire(schedule, seen, steps))

    async def note(self, records: Sequence[TickRecord]) -> None:
        raise NotImplementedError

    async def records(
        self, queue: str, *, name: str | None = None, limit: int, after: str | None = None
    ) -> tuple[list[TickRecord], str | None]:
        found, _ = await self.brokers[queue].timetable.records(queue, name=name, limit=limit, after=after)
        return found[::-1], None

    async def _call(self, verb: Callable[[], Awaitable[Any]]) -> Any:
        if self.calls_left < 1:
            raise Died
        answer = await verb()
        self.calls_left -= 1
        if self.calls_left < 0.5:
            raise Died  # it was done, and nobody heard of it
        return answer


def schedule(queue: str, **options: Any) -> Schedule:
    return Schedule.of("s", "* * * * * *", Job("t", queue=queue), seconds=True, misfire="all", **options)


def first(queue: str, since_ms: int = START_MS, **options: Any) -> Definition:
    return Definition(
        schedule=schedule(queue, **options), version=1, since_ms=since_ms, changed_at=START, created_at=START
    )


async def fire_as(nodes: Nodes, definition: Definition) -> None:
    """What a scheduler does that has read this definition."""
    look = await nodes.look(definition.schedule.queue, ["s"])
    standing = look.standings.get("s")
    if standing is None or standing.version < definition.version:
        standing = await adopt(nodes, definition, look)
    if standing.version == definition.version and definition.state is ScheduleState.ACTIVE:
        await fire_due(nodes, definition.schedule, standing, look.now_ms, rounds=20)


async def all_records(nodes: Nodes) -> list[TickRecord]:
    found = [record for queue in ("a", "b") for record in (await nodes.records(queue, limit=10_000))[0]]
    return sorted(found, key=lambda record: record.first_ms)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 4_000)),
        st.tuples(st.just("old"), st.just(0)),
        st.tuples(st.just("new"), st.just(0)),
        st.tuples(st.just("die"), st.integers(1, 12)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=300)
@given(
    skew_ms=st.integers(-8_000, 8_000),
    before=STEPS,
    after=STEPS,
    clock=st.sampled_from(["a", "b"]),
    places=st.sampled_from([("a", "b"), ("b", "a"), ("a", "a")]),
)
async def test_every_tick_is_decided_once_wherever_a_schedule_moves_and_whoever_dies(
    skew_ms: int, before: list[tuple[str, int]], after: list[tuple[str, int]], clock: str, places: tuple[str, str]
) -> None:
    """Schedulers with the old and with the new definition take turns; some die between two calls."""
    nodes = Nodes(timedelta(milliseconds=skew_ms))
    origin, target = places
    old = first(origin, nodes.clocks[origin].now_ms())
    await adopt(nodes, old)
    for step in before:
        await take(nodes, step, old, old)
    since_ms = nodes.clocks[clock].now_ms()
    new = old.changed(since_ms=since_ms, at=from_ms(since_ms), schedule=schedule(target, jitter=timedelta(seconds=1)))
    for step in after:
        await take(nodes, step, old, new)

    for _ in range(3):
        nodes.advance(timedelta(seconds=9))
        await fire_as(nodes, old) if (await adopt(nodes, new)).version == 1 else await fire_as(nodes, new)
    found = await all_records(nodes)

    assert {record.decision for record in found} == {Decision.FIRED}
    assert all(after.tick_ms - before.tick_ms == 1_000 for before, after in pairwise(found))
    assert found[0].tick_ms == (old.since_ms // 1_000 + 1) * 1_000
    assert found[-1].tick_ms == nodes.clocks[target].now_ms() // 1_000 * 1_000
    versions = [record.version for record in found]
    assert versions == sorted(versions)


async def take(nodes: Nodes, step: tuple[str, int], old: Definition, new: Definition) -> None:
    what, number = step
    if what == "pass":
        nodes.advance(timedelta(milliseconds=number))
    elif what == "old":
        await fire_as(nodes, old)
    elif what == "new":
        await fire_as(nodes, new)
    else:
        nodes.calls_left = number / 2 + 0.5
        with suppress(Died):
            await fire_as(nodes, new)
        nodes.calls_left = float("inf")


async def test_adopting_again_asks_once_and_changes_nothing() -> None:
    nodes = Nodes()
    once = await adopt(nodes, first("a"))
    nodes.calls_left = 1.6

    assert await adopt(nodes, first("a")) == once


async def test_ticks_that_wait_go_along_with_the_job_before_them() -> None:
    nodes = Nodes()
    old = first("a", overlap=Overlap.QUEUE)
    await adopt(nodes, old)
    nodes.advance(timedelta(seconds=3))
    await fire_as(nodes, old)
    new = old.changed(since_ms=START_MS + 3_000, at=START, schedule=schedule("b", overlap=Overlap.QUEUE))

    standing = await adopt(nodes, new)

    assert standing.waiting == (START_MS + 2_000, START_MS + 3_000)
    assert standing.job_id == old.schedule.tick_job(START_MS + 1_000).id
    assert standing.last_ms == START_MS + 3_000


@pytest.mark.parametrize("state", [ScheduleState.RETIRED, ScheduleState.REMOVED])
async def test_what_waits_is_dropped_even_if_the_first_to_adopt_died_before_that(state: ScheduleState) -> None:
    nodes = Nodes()
    old = first("a", overlap=Overlap.QUEUE)
    await adopt(nodes, old)
    nodes.advance(timedelta(seconds=3))
    await fire_as(nodes, old)
    new = old.changed(since_ms=START_MS + 3_000, at=START, state=state)
    nodes.calls_left = 2.5  # a look and a begin
    with pytest.raises(Died):
        await adopt(nodes, new)
    nodes.calls_left = float("inf")
    assert (await nodes.look("a", ["s"])).standings["s"].waiting

    standing = await adopt(nodes, new)

    assert standing.waiting == ()
    assert [each.tick_ms for each in await all_records(nodes) if each.reason is Reason.ENDED] == [
        START_MS + 2_000,
        START_MS + 3_000,
    ]


async def test_what_the_former_version_missed_is_decided_by_its_rules_up_to_the_change() -> None:
    nodes = Nodes()
    old = first("a")
    await adopt(nodes, old)
    nodes.advance(timedelta(seconds=130))
    new = old.changed(since_ms=START_MS + 90_500, at=START, schedule=schedule("a", jitter=timedelta(seconds=1)))

    await adopt(nodes, new)
    found = await all_records(nodes)

    assert [each.tick_ms for each in found] == [START_MS + 1_000 * n for n in range(1, 91)]
    assert {each.version for each in found} == {1}


async def test_ticks_that_the_former_queues_clock_has_not_reached_are_the_new_versions() -> None:
    """The change was dated by a clock that is five seconds ahead."""
    nodes = Nodes(timedelta(seconds=5))
    old = first("a")
    await adopt(nodes, old)
    nodes.advance(timedelta(seconds=2))
    new = old.changed(since_ms=nodes.clocks["b"].now_ms(), at=START, schedule=schedule("b"))

    await adopt(nodes, new)
    await fire_as(nodes, new)
    found = await all_records(nodes)

    assert [(each.queue, each.tick_ms - START_MS) for each in found] == [
        *(("a", 1_000 * n) for n in range(1, 3)),
        *(("b", 1_000 * n) for n in range(3, 8)),
    ]


async def test_a_pass_under_way_ends_where_another_version_stands() -> None:
    nodes = Nodes()
    old = first("a")
    seen = await adopt(nodes, old)
    nodes.advance(timedelta(seconds=3))
    await adopt(nodes, old.changed(since_ms=START_MS + 1_000, at=START, schedule=schedule("a")))

    passed = await fire_due(nodes, old.schedule, seen, START_MS + 3_000, rounds=20)

    assert passed.standing is not None
    assert (passed.standing.version, passed.standing.last_ms) == (2, START_MS + 1_000)
    assert [each.tick_ms for each in await all_records(nodes)] == [START_MS + 1_000]


async def test_a_pass_that_another_scheduler_was_faster_with_goes_on_behind_it() -> None:
    nodes = Nodes()
    old = first("a")
    seen = await adopt(nodes, old)
    nodes.advance(timedelta(seconds=2))
    await fire_as(nodes, old)
    nodes.advance(timedelta(seconds=2))

    passed = await fire_due(nodes, old.schedule, seen, START_MS + 4_000, rounds=20)

    assert passed.standing is not None
    assert passed.standing.last_ms == START_MS + 4_000
    assert [each.tick_ms - START_MS for each in await all_records(nodes)] == [1_000, 2_000, 3_000, 4_000]


async def test_a_pass_that_thinks_it_later_than_it_is_waits_for_the_broker() -> None:
    nodes = Nodes()
    old = first("a")
    seen = await adopt(nodes, old)
    nodes.advance(timedelta(milliseconds=1_999))

    passed = await fire_due(nodes, old.schedule, seen, START_MS + 60_000, rounds=20)

    assert (passed.now_ms, passed.asked) == (START_MS + 1_999, True)
    assert [each.tick_ms - START_MS for each in await all_records(nodes)] == [1_000]


async def test_a_version_that_cannot_be_read_ends_all_the_same() -> None:
    """Its time zone is not known here; somebody removes it."""
    nodes = Nodes()
    old = first("a")
    foreign = msgspec.structs.replace(old, schedule=msgspec.structs.replace(old.schedule, timezone="Mars/Olympus"))
    await adopt(nodes, foreign)

    standing = await adopt(nodes, foreign.changed(since_ms=START_MS + 5, at=START, state=ScheduleState.REMOVED))

    assert (standing.version, standing.last_ms) == (2, START_MS + 5)


async def test_a_paused_version_has_left_nothing_undecided() -> None:
    nodes = Nodes()
    old = first("a")
    await adopt(nodes, old)
    paused = old.changed(since_ms=START_MS, at=START, state=ScheduleState.PAUSED)
    await adopt(nodes, paused)
    nodes.advance(timedelta(seconds=60))
    resumed = paused.changed(since_ms=START_MS + 60_000, at=START, state=ScheduleState.ACTIVE)

    standing = await adopt(nodes, resumed)

    assert standing == Standing(version=3, last_ms=START_MS + 60_000)
    assert await all_records(nodes) == []


@pytest.mark.parametrize(("age_s", "begins_s"), [(59, 0), (60, 60), (86_400, 86_400)])
async def test_where_nothing_stands_it_begins_at_the_change_if_that_was_just_now_and_else_now(
    age_s: int, begins_s: int
) -> None:
    """Later, Redis was emptied: what was fired is not known, and firing it again would be worse."""
    nodes = Nodes()
    nodes.advance(timedelta(seconds=age_s))

    standing = await adopt(nodes, first("a"))

    assert standing.last_ms == START_MS + begins_s * 1_000
