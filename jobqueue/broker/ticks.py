"""The record of ticks that the broker holds: all of it without Postgres, else what has not been shipped yet."""

import heapq
import itertools
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from jobqueue.broker.base import Broker
from jobqueue.clock import from_ms
from jobqueue.errors import ConfigError
from jobqueue.outcome import storable
from jobqueue.record import entry_order
from jobqueue.repository.schedules import TickFilter
from jobqueue.tick import Decision, TickRecord

MADE: Final = frozenset({Decision.FIRED, Decision.BACKFILLED})
"""The decisions with which a tick's job was made."""

_PAGE: Final = 500
_MOST_READS: Final = 20
"""So many pages a search reads at most, beside the first one of each queue; its cursor goes on from there."""
_CURSOR: Final = re.compile(r"([0-9]{1,16})\.([0-9]{1,6})\.([A-Za-z0-9_.:-]{0,64})")


class _Place(NamedTuple):
    """Shown is all of *queue* after *at_ms*, and the first *shown* of that ms; of that ms, all of the queues before
    it by name, and nothing of those behind."""

    at_ms: int
    queue: str
    shown: int


class BrokerTickRecords:
    """See `jobqueue.repository.schedules.TickRecords`: of every queue what is kept there, which is bounded.

    A filter that fits little may give pages short of records, and even none, with a cursor to go on.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._seen: dict[str, dict[str, TickRecord]] = {}
        """Queue -> schedule -> its newest record when we looked last."""

    async def search(
        self, where: TickFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        """See the port.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        start = None if after is None else _read(after)
        queues = await self._queues(where.queues)
        reads_left = len(queues) + _MOST_READS
        found: list[TickRecord] = []
        last = start
        name = None if where.name is None else storable(where.name)
        async for place, record in self._newest_first(queues, name, start):
            if record is None:
                reads_left -= 1
                if reads_left < 0:
                    return found, _write(place)
            elif _matches(where, record):
                if len(found) == limit:
                    return found, None if last is None else _write(last)
                found.append(record)
            last = place
        return found, None

    async def newest(self, names: Sequence[str]) -> Mapping[str, TickRecord]:
        """See the port. The first call reads all that is kept, the others what has come since."""
        queues = await self._queues(None)
        self._seen = {queue: await self._newest_of(queue) for queue in queues}
        found: dict[str, TickRecord] = {}
        for seen in self._seen.values():
            for name in seen.keys() & set(names):
                known = found.get(name)
                if known is None or known.at_ms < seen[name].at_ms:
                    found[name] = seen[name]
        return found

    async def fired(self, name: str, *, since: datetime, until: datetime) -> frozenset[int]:
        where = TickFilter(name=name, since=since, until=until)
        found = self._newest_first(await self._queues(None), storable(name), None)
        return frozenset(
            [
                record.tick_ms
                async for _, record in found
                if record is not None and record.decision in MADE and _matches(where, record)
            ]
        )

    async def asked_for(self, job_id: str, *, queue: str, since: datetime, until: datetime) -> str | None:
        start, since_ms = _Place(_ms(until), "", 0), _ms(since)
        reads_left = _MOST_READS
        async for place, record in self._newest_first(await self._queues([queue]), None, start):
            if record is None:
                reads_left -= 1
            elif record.decision is Decision.RUN and record.job_id == job_id:
                return record.name
            if place.at_ms < since_ms or reads_left < 0:
                return None
        return None

    async def _queues(self, wanted: Sequence[str] | None) -> list[str]:
        """Those with any record, in order."""
        queues = sorted(await self._broker.queues())
        if wanted is not None:
            queues = [queue for queue in queues if queue in wanted]
        return await self._broker.journal.waiting_in(queues, "ticks")

    async def _newest_first(
        self, queues: Sequence[str], name: str | None, start: _Place | None
    ) -> AsyncIterator[tuple[_Place, TickRecord | None]]:
        """The records of all queues behind *start*, and None before each page that is to be read.

        A record's instant is that of its entry in the stream, so that those of a queue are in order.
        """
        number = itertools.count()
        waiting: list[tuple[int, str, int, TickRecord | str | None]] = [
            (-_first_ms(queue, start), queue, next(number), _first_cursor(queue, start)) for queue in queues
        ]
        heapq.heapify(waiting)
        shown = {start.queue: start} if start is not None else {}
        skipped = start.shown if start is not None else 0
        while waiting:
            negative_ms, queue, _, each = heapq.heappop(waiting)
            at_ms = -negative_ms
            before = shown.get(queue)
            count = before.shown if before is not None and before.at_ms == at_ms else 0
            if isinstance(each, TickRecord):
                shown[queue] = _Place(at_ms, queue, count + 1)
                yield shown[queue], each
                continue
            yield _Place(at_ms, queue, count), None
            records, more = await self._broker.timetable.records(queue, name=name, limit=_PAGE, after=each)
            for record in records:
                if start is not None and skipped and (record.queue, record.at_ms) == (start.queue, start.at_ms):
                    skipped -= 1
                    continue
                heapq.heappush(waiting, (-record.at_ms, queue, next(number), record))
            if more is not None:
                heapq.heappush(waiting, (-entry_order(more)[0], queue, next(number), more))

    async def _newest_of(self, queue: str) -> dict[str, TickRecord]:
        """Of each schedule with a record on this queue, the newest; read back to what was seen before."""
        before = self._seen.get(queue, {})
        seen_ms = max((record.at_ms for record in before.values()), default=-1)
        found: dict[str, TickRecord] = {}
        more: str | None = None
        while True:
            records, more = await self._broker.timetable.records(queue, limit=_PAGE, after=more)
            for record in records:
                found.setdefault(record.name, record)
                if record.at_ms <= seen_ms:
                    return before | found
            if more is None:
                return found


def _first_ms(queue: str, start: _Place | None) -> int:
    """No record of the queue behind *start* is newer."""
    if start is None:
        return 2**53
    return start.at_ms if queue >= start.queue else start.at_ms - 1


def _first_cursor(queue: str, start: _Place | None) -> str | None:
    return None if start is None else f"{_first_ms(queue, start) + 1}-0"


def _matches(where: TickFilter, record: TickRecord) -> bool:
    at = from_ms(record.tick_ms)
    return (
        where.name in (None, record.name)
        and where.decision in (None, record.decision)
        and (where.since is None or where.since <= at)
        and (where.until is None or at < where.until)
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _write(place: _Place) -> str:
    return f"{place.at_ms}.{place.shown}.{place.queue}"


def _read(cursor: str) -> _Place:
    read = _CURSOR.fullmatch(cursor)
    if read is None:
        raise ConfigError(
            f"cursor must be one that the page before returned, got {cursor[:64]!r}; "
            f"leave it out to begin at the newest"
        )
    return _Place(int(read[1]), read[3], int(read[2]))
