"""Live jobs of a filter, out of the broker, a bounded look at a time."""

from typing import Final

from jobqueue.broker.base import Broker, Found, Place
from jobqueue.clock import Clock
from jobqueue.search import account
from jobqueue.search.choice import JobFilter
from jobqueue.search.look import Look

_CHUNK: Final = 200


class LiveJobs:
    """Looks into one queue, at one place."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock

    async def look(self, where: JobFilter, queue: str, place: Place, *, limit: int, after: str | None) -> Look:
        """Up to *limit* jobs of *where* among the next ones behind *after*.

        Where most are passed over, more than *limit* are looked at; a look that found too many is taken again,
        so far as the last that fits: its cursor is behind that one.
        """
        size = _CHUNK if where.looks_inside(place) else min(limit, _CHUNK)
        while True:
            found, more = await self._broker.jobs(queue, place, limit=size, after=after)
            chosen = [n for n, each in enumerate(found) if admits(where, each)]
            if len(chosen) <= limit:
                break
            size = chosen[limit - 1] + 1
        now_ms = self._clock.now_ms()
        jobs = [account.of_live(found[n], now_ms=now_ms) for n in chosen]
        return Look(jobs=jobs, more=more, looked_at=len(found))


def admits(where: JobFilter, found: Found) -> bool:
    """Whether a live job of the right queue is one of the filter. One that cannot be read has no type."""
    if where.state not in (None, found.state) or found.job_id == where.job_id:
        return False
    if where.type is None and not where.q:
        return True
    type, payload = account.read_body(found.body)
    return where.type in (None, type) and where.is_in(payload, found.last_error)
