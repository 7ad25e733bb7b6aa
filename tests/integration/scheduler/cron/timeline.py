"""What was decided about the ticks of a schedule, read back, and what must be true of it whatever happened."""

from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from jobqueue.app import JobQueue
from jobqueue.clock import from_ms
from jobqueue.job import Job
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import Definition, Schedule
from jobqueue.tick import Decision, TickRecord, next_tick_ms
from testutil.eventually import eventually

EVERY_SECOND = "* * * * * *"


def schedule(name: str = "s", expression: str = EVERY_SECOND, job: Job | None = None, **options: Any) -> Schedule:
    return Schedule.of(name, expression, job or Job("t"), seconds=len(expression.split()) == 6, **options)


async def begun(queue: JobQueue, wanted: Schedule, at: datetime) -> Definition:
    """A schedule that stands since *at*, and that nobody has fired."""
    at_ms = round(at.timestamp() * 1000)
    definition = Definition(schedule=wanted, version=1, since_ms=at_ms, changed_at=at, created_at=at)
    assert await queue.parts.schedules.put(definition, expected=0)
    await queue.parts.broker.timetable.begin(wanted.queue, wanted.name, version=1, at_ms=at_ms)
    return definition


async def now_ms(queue: JobQueue, name: str = "default") -> int:
    """The broker's time."""
    return (await queue.parts.broker.timetable.look(name, [])).now_ms


async def records(queue: JobQueue, name: str = "s") -> list[TickRecord]:
    """All that was decided, oldest first."""
    found: list[TickRecord] = []
    after = None
    while True:
        page, after = await queue.schedules.ticks(TickFilter(name=name), limit=1_000, after=after)
        found += page
        if after is None:
            return found[::-1]


async def fired(queue: JobQueue, name: str = "s") -> list[TickRecord]:
    return [each for each in await records(queue, name) if each.decision is Decision.FIRED]


async def fires(queue: JobQueue, count: int, name: str = "s", within_s: float = 30) -> list[TickRecord]:
    """Wait until so many ticks have fired."""

    async def look() -> list[TickRecord]:
        found = await fired(queue, name)
        assert len(found) >= count, [(str(each.reason), str(from_ms(each.tick_ms))) for each in found]
        return found

    return await eventually(look, within_s=within_s)


def decided(found: list[TickRecord]) -> list[int]:
    """The ticks that fired or were skipped, one for each time; those skipped in a run by the run's last."""
    return [each.tick_ms for each in found if each.decision in (Decision.FIRED, Decision.SKIPPED)]


def check_each_once(found: list[TickRecord]) -> None:
    """No tick is decided twice, and none fires before it has come."""
    twice = [str(from_ms(tick)) for tick, count in Counter(decided(found)).items() if count > 1]
    assert not twice, twice
    assert all(each.at_ms >= each.tick_ms for each in found)


def check_without_gap(wanted: Schedule, found: list[TickRecord]) -> None:
    """From the first to the last tick decided, each one is: runs of skipped ones follow on what is before them."""
    steps = sorted((each for each in found if each.decision in (Decision.FIRED, Decision.SKIPPED)), key=_first)
    for before, after in pairwise(steps):
        assert next_tick_ms(wanted, before.tick_ms) == after.first_ms, (before, after)


def _first(record: TickRecord) -> int:
    return record.first_ms
