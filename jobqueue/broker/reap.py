"""Giving back what a dead worker held.

Entries are never handed over: each is settled in the dead worker's name (fence "dead") and queued
again with its crashes counted, or buried after too many. Postponed judgement (amnesty) is the janitor
script's business.
"""

from collections.abc import Sequence

import structlog
from redis.exceptions import ResponseError

from jobqueue import crash
from jobqueue.broker import entry, scripts, settle
from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.connection import Line, refused
from jobqueue.broker.keys import GROUP, QueueKeys
from jobqueue.clock import SystemClock
from jobqueue.errors import InvalidJob
from jobqueue.job import decode_envelope
from jobqueue.outcome import Cancelled, decide_crash

_PAGE = 200
_MOST_PAGES = 1_000

_log = structlog.get_logger("jobqueue.broker")


class Reaper:
    """Recovers the jobs of dead workers on one queue."""

    def __init__(
        self,
        line: Line,
        keys: QueueKeys,
        queue: str,
        *,
        lease_ms: int,
        max_crashes: int,
        history: bool,
        journal_max: int,
    ) -> None:
        self._line = line
        self._keys = keys
        self._queue = queue
        self._lease_ms = lease_ms
        self._max_crashes = max_crashes
        self._history = history
        self._journal_max = journal_max

    async def reap(self) -> int:
        """One tick. Returns how many jobs were given back or buried."""
        verdict = await self._line.call(scripts.JANITOR.command(self._keys, lease_ms=self._lease_ms))
        if verdict[0] == 0:
            return 0
        return sum([await self._reap(consumer.decode()) for consumer in verdict[1:]])

    async def _reap(self, consumer: str) -> int:
        crash.point("before_reap")
        jobs = 0
        for _ in range(_MOST_PAGES):
            held = await self._held(consumer)
            if not held:
                break
            if not await self._settle(consumer, held):
                return jobs
            jobs += len(held)
            crash.point("after_reap_page")
        await self._line.call(scripts.FORGET.command(self._keys, consumer=consumer, leaving=0))
        if jobs:
            _log.warning("worker.reaped", worker=consumer, queue=self._queue, jobs=jobs)
        return jobs

    async def _held(self, consumer: str) -> list[Delivery]:
        """A page of what the consumer has pending."""
        for rank, stream in enumerate(self._keys.streams):
            (pending,) = await self._line.exchange([["XPENDING", stream, GROUP, "-", "+", _PAGE, consumer]])
            if isinstance(pending, ResponseError) or not pending:
                continue
            ids = [row[0] for row in pending]
            found = await self._line.exchange([["XRANGE", stream, entry_id, entry_id] for entry_id in ids])
            gone = [entry_id for entry_id, entries in zip(ids, found, strict=True) if not entries]
            if gone:
                # Deleted by hand: there is no job to give back, only its receipt to put away.
                _log.error("entry.missing", queue=self._queue, worker=consumer, entries=len(gone))
                await self._line.call(["XACK", stream, GROUP, *gone])
            held = [
                entry.delivery(self._queue, rank, entry_id, fields) for entries in found for entry_id, fields in entries
            ]
            if held:
                return held
        return []

    async def _settle(self, consumer: str, held: Sequence[Delivery]) -> bool:
        """Queue a page again. False when the consumer turned out to be alive."""
        asked = await self._line.call(["SMISMEMBER", self._keys.cancel, *(each.job_id for each in held)])
        now_ms = SystemClock().now_ms()
        settlements = [
            Settlement(
                delivery=each,
                outcome=Cancelled()
                if stop
                else decide_crash(consumer, crashes=each.crashes, max_crashes=self._max_crashes),
                type=entry.type_of(each.body),
                started_ms=now_ms,
                result_ttl_ms=_result_ttl_of(each.body),
            )
            for each, stop in zip(held, asked, strict=True)
        ]
        for batch in settle.batches(settlements):
            command = settle.command(
                self._keys,
                batch,
                consumer=consumer,
                fence="dead",
                history=self._history,
                journal_max=self._journal_max,
            )
            (reply,) = await self._line.exchange([command])
            if isinstance(reply, ResponseError):
                raise refused(reply) from reply
            if reply[0] == 0:
                return False
        return True


def _result_ttl_of(body: bytes) -> int | None:
    try:
        return decode_envelope(body).result_ttl_ms
    except InvalidJob:
        return None
