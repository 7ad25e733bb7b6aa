"""Schedules with where they stand, for those who look at them."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from jobqueue.broker.timetable import Look, Standing, Timetable
from jobqueue.clock import from_ms
from jobqueue.errors import InvalidSchedule
from jobqueue.repository.schedules import TickRecords
from jobqueue.schedule import Definition, Schedule, ScheduleState
from jobqueue.status import ScheduleStatus
from jobqueue.tick import TickRecord, next_tick_ms

_BATCH = 500
_UNINTERRUPTED = 50
"""So many are worked out before others have their turn."""


async def statuses(timetable: Timetable, ticks: TickRecords, definitions: Sequence[Definition]) -> list[ScheduleStatus]:
    """Where these schedules stand, in their order; a look per queue and batch."""
    looks = await looks_at(timetable, definitions)
    newest = await _newest(ticks, [definition.name for definition in definitions])
    found: list[ScheduleStatus] = []
    for number, definition in enumerate(definitions):
        if number % _UNINTERRUPTED == 0:
            await asyncio.sleep(0)
        look, name = looks[definition.schedule.queue], definition.name
        found.append(_status(definition, look.standings.get(name), look.now_ms, newest.get(name)))
    return found


def come_from_ms(definition: Definition, standing: Standing | None, now_ms: int) -> int:
    """The instant after which its next tick is."""
    return max(standing.last_ms if standing is not None else definition.since_ms, now_ms)


async def looks_at(timetable: Timetable, definitions: Sequence[Definition]) -> dict[str, Look]:
    """Where these schedules stand, by the queue that each is on."""
    names: dict[str, list[str]] = {}
    for definition in definitions:
        names.setdefault(definition.schedule.queue, []).append(definition.name)
    return {queue: await timetable.look(queue, of_queue) for queue, of_queue in names.items()}


async def _newest(ticks: TickRecords, names: Sequence[str]) -> Mapping[str, TickRecord]:
    found: dict[str, TickRecord] = {}
    for start in range(0, len(names), _BATCH):
        found.update(await ticks.newest(names[start : start + _BATCH]))
    return found


def _status(definition: Definition, standing: Standing | None, now_ms: int, last: TickRecord | None) -> ScheduleStatus:
    return ScheduleStatus(
        schedule=definition.schedule,
        state=definition.state,
        source=definition.source,
        app=definition.app,
        version=definition.version,
        description=_description(definition.schedule),
        created_at=definition.created_at,
        changed_at=definition.changed_at,
        next_at=_next_at(definition, standing, now_ms),
        last=last,
        busy_job_id=standing.job_id if standing is not None and standing.busy else None,
        waiting=len(standing.waiting) if standing is not None else 0,
    )


def _next_at(definition: Definition, standing: Standing | None, now_ms: int) -> datetime | None:
    if definition.state is not ScheduleState.ACTIVE:
        return None
    try:
        next_ms = next_tick_ms(definition.schedule, come_from_ms(definition, standing, now_ms))
    except InvalidSchedule:
        return None  # written by a newer version: it is shown all the same
    return None if next_ms is None else from_ms(next_ms)


def _description(schedule: Schedule) -> str:
    try:
        return schedule.cron.describe()
    except InvalidSchedule as error:
        return str(error)
