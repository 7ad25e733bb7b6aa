"""Which schedule a job is of."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from jobqueue.job import time_of
from jobqueue.repository.schedules import TickFilter, TickRecords
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, tick_id
from jobqueue.status import JobStatus

_AT_ONE_INSTANT: Final = 1_000
_SECOND: Final = timedelta(seconds=1)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The schedule that made a job, and for which tick; None: somebody asked for it."""

    schedule: str
    tick: datetime | None


async def origin_of(status: JobStatus, records: TickRecords) -> Origin | None:
    """By the job's headers; where its body is not kept, by its id, which is that of a tick.

    Raises:
        RepositoryUnavailable, BrokerUnavailable: the records cannot be asked.
    """
    name = status.headers.get(SCHEDULE_HEADER)
    if name is not None:
        return Origin(schedule=name, tick=_instant(status.headers.get(TICK_HEADER)))
    tick = time_of(status.id)
    # Ticks are whole seconds; of other jobs, one in a thousand is made at one.
    if status.headers or not status.ended or tick is None or tick.microsecond:
        return None
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
