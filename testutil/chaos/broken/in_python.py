"""Mutations of the product's code."""

import math
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from jobqueue.broker.base import Delivery, JournalPage, Settlement
from jobqueue.broker.consumer import RedisConsumer
from jobqueue.broker.journal import RedisJournal
from jobqueue.broker.keys import GROUP
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.errors import BrokerError, LeaseLost
from jobqueue.record import JournalKind
from jobqueue.repository.postgres.database import Session
from jobqueue.repository.postgres.queries import ARCHIVE
from jobqueue.worker.lease import LeaseKeeper
from jobqueue.worker.settler import Settler


def swap(owner: Any, name: str, new: Any) -> Any:
    """Replace an attribute of a class or module, in this process, and return what it was.

    Raises:
        AttributeError: there is none, so that nothing would be broken.
    """
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


def ack_before_run() -> None:
    """Jobs are acknowledged when they are taken."""

    async def fetch(self: RedisConsumer, want: int, *, skip: Collection[str] = (), wait: bool = True) -> list[Delivery]:
        taken: list[Delivery] = await whole(self, want, skip=skip, wait=wait)
        for each in taken:
            await self._writer.call(["XACK", self._keys[each.queue].streams[each.rank], GROUP, each.entry_id])
        return taken

    whole = swap(RedisConsumer, "fetch", fetch)


def no_reaper() -> None:
    """Nobody looks for the jobs of dead workers."""

    async def reap(_self: RedisStreamsBroker, _queue: str, **_: Any) -> int:
        return 0

    swap(RedisStreamsBroker, "reap", reap)


def reaper_after_traffic() -> None:
    """Reapers look only when something new has come since they looked last."""
    seen: dict[str, list[Any]] = {}

    async def reap(self: RedisStreamsBroker, queue: str, **how: Any) -> int:
        newest = [await _newest(self, stream) for stream in self.keys(queue).streams]
        before = seen.setdefault(queue, newest)
        seen[queue] = newest
        return await whole(self, queue, **how) if newest != before else 0

    whole = swap(RedisStreamsBroker, "reap", reap)


async def _newest(broker: RedisStreamsBroker, stream: str) -> Any:
    told = await broker.call(["XINFO", "STREAM", stream])
    return told[told.index(b"last-generated-id") + 1]


def lost_replies_forgotten() -> None:
    """A fetch whose reply was lost is made again; what the first one took is not asked for."""

    async def adopt(_self: RedisConsumer) -> list[Delivery]:
        return []

    swap(RedisConsumer, "adopt", adopt)


def settlement_not_confirmed() -> None:
    """A settlement is sent once, whether it is answered or not."""

    async def send(self: Settler, batch: list[Settlement]) -> None:
        try:
            await self._consumer.settle(batch)
        except LeaseLost:
            raise
        except BrokerError:
            pass
        self._settled(batch)

    swap(Settler, "_send", send)


def dead_loop_beats() -> None:
    """The lease's thread beats on for as long as the process lives, whatever its event loop does."""

    def start(self: LeaseKeeper) -> None:
        self._max_block_s = math.inf
        whole(self)

    whole = swap(LeaseKeeper, "start", start)


def promote_in_steps() -> None:
    """Due jobs are read, queued and taken out of the delayed set by one command after the other."""

    async def promote(self: RedisStreamsBroker, queue: str) -> timedelta | None:
        keys = self.keys(queue)
        now = await self.call(["TIME"])
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        for job_id in await self.call(["ZRANGEBYSCORE", keys.delayed, "-inf", now_ms, "LIMIT", 0, 200]):
            place: bytes | None = await self.call(["HGET", keys.jobs, job_id])
            if place is not None and place.startswith(b"d"):
                rank, (header, _, body) = int(place[1:2]), place[2:].partition(b"\n")
                fields = ["i", job_id, "b", body, *(["h", header] if header else [])]
                entry_id: bytes = await self.call(["XADD", keys.streams[rank], "*", *fields])
                await self.call(["HSET", keys.jobs, job_id, b"%d%s" % (rank, entry_id)])
            await self.call(["ZREM", keys.delayed, job_id])
        coming = await self.call(["ZRANGE", keys.delayed, 0, 0, "WITHSCORES"])
        return timedelta(milliseconds=max(0, int(coming[1]) - now_ms)) if coming else None

    swap(RedisStreamsBroker, "promote", promote)


def cursor_apart() -> None:
    """The shipper commits its rows, then moves the cursor in another transaction."""

    async def row(self: Session, sql: str, *args: object) -> Any:
        if sql == ARCHIVE.move_cursor:
            await self._command("COMMIT")
            await self._command("BEGIN")
        return await whole(self, sql, *args)

    whole = swap(Session, "row", row)


def trim_before_commit() -> None:
    """The shipper takes history out of Redis, then writes it to Postgres."""

    async def read(self: RedisJournal, queue: str, kind: JournalKind, **where: Any) -> JournalPage | None:
        page: JournalPage | None = await whole(self, queue, kind, **where)
        if page is not None:
            stream = self._stream(queue, kind)
            taken = await self._line.call(["XRANGE", stream, "-", page.last])
            await self._line.call(["XDEL", stream, *(entry_id for entry_id, _ in taken)])
        return page

    whole = swap(RedisJournal, "read", read)
