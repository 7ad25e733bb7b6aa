"""Which schedule a job is of."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from jobqueue.job import time_of
from jobqueue.repository.schedules import TickFilter, TickRecords
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, tick_id
from jobqueue.status import JobStatus

_AT_ONE_INSTANT: Final = 1_000
_SECOND: Final = timedelta(seconds=1)
_BEFORE: Final = timedelta(minutes=1)
_AFTER: Final = timedelta(minutes=5)
"""The id of a job that was asked for has the caller's time, its record the broker's, once the job was queued."""
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _AFTER


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The schedule that made a job, and for which tick; None: somebody asked for it."""

    schedule: str
    tick: datetime | None


async def origin_of(status: JobStatus, records: TickRecords) -> Origin | None:
    """By the job's headers; where its body is not kept, by its id, which is that of a tick, or in the record of a
    job that was asked for.

    Raises:
        RepositoryUnavailable, BrokerUnavailable: the records cannot be asked.
    """
    name = status.headers.get(SCHEDULE_HEADER)
    if name is not None:
        return Origin(schedule=name, tick=_instant(status.headers.get(TICK_HEADER)))
    made_at = time_of(status.id)
    if status.headers or not status.ended or made_at is None or made_at > _LATEST:
        return None
    # Ticks are whole seconds; of other jobs, one in a thousand is made at one.
    of_tick = None if made_at.microsecond else await _of_tick(status, made_at, records)
    if of_tick is not None:
        return of_tick
    since, until = made_at - _BEFORE, made_at + _AFTER
    name = await records.asked_for(status.id, queue=status.queue, since=since, until=until)
    return None if name is None else Origin(schedule=name, tick=None)


async def _of_tick(status: JobStatus, tick: datetime, records: TickRecords) -> Origin | None:
    where = TickFilter(queues=(status.queue,), since=tick, until=tick + _SECOND)
    found, _ = await records.search(where, limit=_AT_ONE_INSTANT)
    tick_ms = round(tick.timestamp() * 1000)
    names = sorted({each.name for each in found})
    made_by = next((each for each in names if tick_id(each, tick_ms) == status.id), None)
    return None if made_by is None else Origin(schedule=made_by, tick=tick)


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
