"""Schedules whose ticks nobody decides."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from jobqueue.app import JobQueue
from jobqueue.broker.timetable import Look
from jobqueue.clock import from_ms
from jobqueue.errors import InvalidSchedule
from jobqueue.schedule import ScheduleState
from jobqueue.status import ScheduleStatus
from jobqueue.tick import next_tick_ms

_LATE_MS: Final = 60_000


async def undecided(jobs: JobQueue) -> list[tuple[str, datetime]]:
    """Name and first tick of the active schedules that have one which came over a minute ago and was not decided.

    Raises:
        BrokerError, RepositoryError: they cannot be looked at.
    """
    active = [each for each in await jobs.schedules.list() if each.state is ScheduleState.ACTIVE]
    by_queue: dict[str, list[ScheduleStatus]] = {}
    for each in active:
        by_queue.setdefault(each.schedule.queue, []).append(each)
    found: list[tuple[str, datetime]] = []
    for queue, schedules in by_queue.items():
        look = await jobs.parts.broker.timetable.look(queue, [each.name for each in schedules])
        found += _late(schedules, look)
    return sorted(found, key=lambda each: each[1])


def _late(schedules: Sequence[ScheduleStatus], look: Look) -> list[tuple[str, datetime]]:
    late: list[tuple[str, datetime]] = []
    for each in schedules:
        standing = look.standings.get(each.name)
        tick_ms = _next_ms(each, look.now_ms if standing is None else standing.last_ms)
        if tick_ms is not None and tick_ms < look.now_ms - _LATE_MS:
            late.append((each.name, from_ms(tick_ms)))
    return late


def _next_ms(status: ScheduleStatus, after_ms: int) -> int | None:
    try:
        return next_tick_ms(status.schedule, after_ms)
    except InvalidSchedule:  # written by a newer version
        return None
