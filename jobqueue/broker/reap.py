"""Giving back what a dead worker held.

Entries are never handed over: each is settled in the dead worker's name (fence "dead") and queued
again with its crashes counted, or buried after too many. Postponed judgement (amnesty) is the janitor
script's business.
"""

import random
from collections.abc import Sequence
from typing import Any

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
        keep_payload: int,
    ) -> None:
        self._line = line
        self._keys = keys
        self._queue = queue
        self._lease_ms = lease_ms
        self._max_crashes = max_crashes
        self._history = history
        self._journal_max = journal_max
        self._keep_payload = keep_payload if history else 0

    async def reap(self, *, fresh_ms: int = 0) -> int:
        """One tick; none while another reaper's is younger than *fresh_ms*. Returns how many jobs were given back
        or buried."""
        look = scripts.JANITOR.command(self._keys, lease_ms=self._lease_ms, fresh_ms=fresh_ms)
        verdict = await self._line.call(look)
        if verdict[0] == 0:
            return 0
        dead = [consumer.decode() for consumer in verdict[1:]]
        # Any number of reapers may be at it: each in an order of its own, or all would do the same work.
        random.shuffle(dead)
        return sum([await self._reap(consumer) for consumer in dead])

    async def _reap(self, consumer: str) -> int:
        crash.point("before_reap")
        jobs = 0
        for _ in range(_MOST_PAGES):
            held = await self._held(consumer)
            if held:
                given_back = await self._settle(consumer, held)
                jobs += given_back
                crash.point("after_reap_page")
                if given_back < len(held):
                    break  # it lives, or another reaper was faster: what it leaves is for the next tick
            forget = scripts.FORGET.command(self._keys, consumer=consumer, leaving=0)
            if await self._line.call(forget) <= 0:
                break
        if jobs:
            _log.warning("worker.reaped", worker=consumer, queue=self._queue, jobs=jobs)
        return jobs

    async def _held(self, consumer: str) -> list[Delivery]:
        """A page of what the consumer has pending."""
        streams = self._keys.streams
        pages = await self._line.exchange(
            [["XPENDING", stream, GROUP, "-", "+", _PAGE, consumer] for stream in streams]
        )
        pending = [(rank, row[0]) for rank, page in enumerate(pages) for row in _unless_refused(page)][:_PAGE]
        if not pending:
            return []
        found = await self._line.exchange([["XRANGE", streams[rank], each, each] for rank, each in pending])
        held: list[Delivery] = []
        gone: dict[str, list[bytes]] = {}
        for (rank, entry_id), entries in zip(pending, found, strict=True):
            if not _unless_refused(entries):
                gone.setdefault(streams[rank], []).append(entry_id)
            held += [entry.delivery(self._queue, rank, each, fields) for each, fields in entries]
        for stream, ids in gone.items():
            # Settled by another reaper a moment ago, and acknowledged; or deleted by hand, and still pending.
            if missing := await self._line.call(["XACK", stream, GROUP, *ids]):
                _log.error("entry.missing", queue=self._queue, worker=consumer, entries=missing)
        return held

    async def _settle(self, consumer: str, held: Sequence[Delivery]) -> int:
        """Queue a page again. Returns how many; fewer when the consumer turned out to be alive, or was reaped."""
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
        given_back = 0
        for batch in settle.batches(settlements, keep_payload=self._keep_payload):
            command = settle.command(
                self._keys,
                batch,
                consumer=consumer,
                fence="dead",
                history=self._history,
                journal_max=self._journal_max,
                keep_payload=self._keep_payload,
            )
            verdict, *refused_entries = await self._line.call(command)
            if verdict == 0:
                break
            given_back += len(batch) - len(refused_entries)
        return given_back


def _unless_refused(reply: Any) -> Any:
    """A reply; nothing where there is no such group yet."""
    if not isinstance(reply, ResponseError):
        return reply
    if str(reply).startswith("NOGROUP"):
        return ()
    raise refused(reply) from reply


def _result_ttl_of(body: bytes) -> int | None:
    try:
        return decode_envelope(body).result_ttl_ms
    except InvalidJob:
        return None
