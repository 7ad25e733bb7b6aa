"""Which schedule a job is of."""

from datetime import datetime, timedelta
from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import view
from jobqueue.api.call import Call
from jobqueue.job import time_of
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import SCHEDULE_HEADER, TICK_HEADER, tick_id
from jobqueue.status import JobStatus

_AT_ONE_INSTANT: Final = 1_000
_SECOND: Final = timedelta(seconds=1)


async def made_by_schedule(call: Call, status: JobStatus) -> view.MadeBy | None:
    """By the job's headers; where its body is not kept, by its id, which is that of a tick."""
    if Scope.SCHEDULES_READ not in call.caller.scopes:
        return None
    name = status.headers.get(SCHEDULE_HEADER)
    if name is not None:
        return view.MadeBy(schedule=name, tick=_instant(status.headers.get(TICK_HEADER)))
    tick = time_of(status.id)
    # Ticks are whole seconds; of other jobs, one in a thousand is made at one.
    if status.headers or not status.ended or tick is None or tick.microsecond:
        return None
    where = TickFilter(queues=(status.queue,), since=tick, until=tick + _SECOND)
    records, _ = await call.queue.schedules.ticks(where, limit=_AT_ONE_INSTANT)
    names = {each.name for each in records}
    tick_ms = round(tick.timestamp() * 1000)
    found = next((each for each in sorted(names) if tick_id(each, tick_ms) == status.id), None)
    return None if found is None else view.MadeBy(schedule=found, tick=tick)


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
