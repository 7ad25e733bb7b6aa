"""The Redis Streams broker: what producers, operators and the scheduler ask of Redis."""

import asyncio
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts, submit
from jobqueue.broker.base import (
    EnqueueResult,
    Found,
    QueueStats,
    Settlement,
    Submission,
    WorkerInfo,
)
from jobqueue.broker.connection import Line, refused
from jobqueue.broker.consumer import RedisConsumer
from jobqueue.broker.dial import dial
from jobqueue.broker.journal import RedisJournal
from jobqueue.broker.keys import GROUP, QueueKeys, queue_names
from jobqueue.broker.reader import READ_GRACE_S
from jobqueue.broker.reap import Reaper
from jobqueue.broker.server import ServerFacts, ask_server
from jobqueue.broker.submit import Submitter, declare, enlist
from jobqueue.clock import SystemClock, to_ms
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import BrokerError, BrokerUnavailable, ConfigError, EnqueueUncertain
from jobqueue.job import PRIORITIES, Job, JobState, Priority, canonical_id, check_name
from jobqueue.outcome import Cancelled

_PROMOTE_JOBS = 200
_PROMOTE_BYTES = 1024 * 1024
_PURGE_PAGE = 200

_log = structlog.get_logger("jobqueue.broker")


class RedisStreamsBroker:
    """Queues on one Redis or Valkey. See `jobqueue.broker.base.Broker` for what the verbs promise.

    Nothing is connected before the first call. *history* tells whether settlements are journalled
    for Postgres; *lease* must be the same in every process of a namespace.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "jq",
        timeout: timedelta = timedelta(seconds=5),
        enqueue_timeout: timedelta = timedelta(seconds=10),
        lease: timedelta = timedelta(seconds=15),
        max_crashes: int = 3,
        history: bool = False,
        journal_max_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self.namespace = namespace
        self.history = history
        self._dialer = dial(url, timeout_s=timeout.total_seconds())
        self._enqueue_timeout_s = enqueue_timeout.total_seconds()
        self.lease = lease
        self._lease_ms = to_ms(lease)
        self._max_crashes = max_crashes
        self._journal_max = journal_max_bytes
        self._producing = self._dialer.line()
        self._operating = self._dialer.line()
        # Recovery waits for no operator and no shipper.
        self._caring = self._dialer.line()
        self._listening: dict[str, Line] = {}
        self._waiting_lines: list[Line] = []
        self._unlisted: set[str] = set()
        self._submitters: dict[tuple[str, Durability], Submitter] = {}
        self._reapers: dict[str, Reaper] = {}
        self._keys: dict[str, QueueKeys] = {}
        self.journal = RedisJournal(self._operating, self.keys, queues_move=self._dialer.one_slot_reads)

    def keys(self, queue: str) -> QueueKeys:
        """The keys of *queue*, whose name is checked."""
        keys = self._keys.get(queue)
        if keys is None:
            keys = self._keys[queue] = QueueKeys.of(self.namespace, check_name("queue", queue))
        return keys

    async def enqueue(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        if len(submissions) == 1:
            submission = submissions[0]
            body = submission.job.to_wire()
            submitter = self._submitter(submission.job.queue, submission.durability)
            return await submitter.submit(submissions, [body], len(body))
        return await self._enqueue_many(submissions)

    async def _enqueue_many(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        by_queue: dict[tuple[str, Durability], list[int]] = {}
        for n, submission in enumerate(submissions):
            by_queue.setdefault((submission.job.queue, submission.durability), []).append(n)
        shares: list[list[int]] = []
        answers = []
        for (queue, durability), numbers in by_queue.items():
            submitter = self._submitter(queue, durability)
            for share, bodies, size in _shares(submissions, numbers):
                shares.append(share)
                answers.append(submitter.submit([submissions[n] for n in share], bodies, size))
        results: list[EnqueueResult | None] = [None] * len(submissions)
        answered = await asyncio.gather(*answers, return_exceptions=True)
        _raise_failure([(submissions[share[0]].job.id, answer) for share, answer in zip(shares, answered, strict=True)])
        for share, answer in zip(shares, answered, strict=True):
            if isinstance(answer, BaseException):
                continue
            for n, result in zip(share, answer, strict=True):
                results[n] = result
        return [result for result in results if result is not None]

    def _submitter(self, queue: str, durability: Durability) -> Submitter:
        submitter = self._submitters.get((queue, durability))
        if submitter is None:
            self.keys(queue)
            line = self._producing
            if durability != LOCAL:
                # Nobody else waits behind the waiting for a disk or a replica.
                line = self._dialer.line()
                self._waiting_lines.append(line)
            submitter = self._submitters[queue, durability] = Submitter(
                line, self.namespace, queue, durability, timeout_s=self._enqueue_timeout_s
            )
        return submitter

    async def join(self, queues: Sequence[str]) -> RedisConsumer:
        for queue in queues:
            self.keys(queue)
        name, now_ms = await self._register(queues)
        return RedisConsumer(
            self._dialer,
            namespace=self.namespace,
            queues=queues,
            name=name,
            lease_ms=self._lease_ms,
            server_ms=now_ms,
            history=self.history,
            journal_max=self._journal_max,
        )

    async def _register(self, queues: Sequence[str]) -> tuple[str, int]:
        """Make the queues, and begin a lease on all of them at once: one that waits for another would run out."""
        name = _consumer_name()
        commands = [
            scripts.REGISTER.command(self.keys(queue), consumer=name, lease_ms=self._lease_ms) for queue in queues
        ]
        line = self._dialer.line()
        try:
            if not await declare(line, self.namespace, queues):
                self._unlisted.update(queues)
            replies = await line.exchange(commands)
        finally:
            await line.close()
        for queue, reply in zip(queues, replies, strict=True):
            if isinstance(reply, ResponseError):
                raise refused(reply) from reply
            if int(reply) == 0:
                raise ConfigError(f"a worker named {name} is registered on queue {queue!r} already")
        return name, int(replies[-1])

    async def promote(self, queue: str) -> timedelta | None:
        command = scripts.PROMOTE.command(self.keys(queue), limit=_PROMOTE_JOBS, max_bytes=_PROMOTE_BYTES)
        _, wait_ms, orphans = await self._caring.call(command)
        if orphans:
            _log.error("delayed.orphans_dropped", queue=queue, members=orphans)
        return None if wait_ms < 0 else timedelta(milliseconds=int(wait_ms))

    async def listen(self, queues: Sequence[str], heard: Callable[[str], None], *, wait: timedelta) -> None:
        shares = [[queue] for queue in queues] if self._dialer.one_slot_reads else [list(queues)]
        until_s = time.monotonic() + wait.total_seconds()
        try:
            async with asyncio.TaskGroup() as listening:
                for share in shares:
                    listening.create_task(self._listen(share, heard, until_s))
        except* BrokerError as errors:
            raise errors.exceptions[0] from None

    async def _listen(self, queues: Sequence[str], heard: Callable[[str], None], until_s: float) -> None:
        line = self._listening.setdefault(queues[0] if self._dialer.one_slot_reads else "", self._dialer.line())
        bells = {self.keys(queue).bell.encode(): queue for queue in queues}
        while (left_s := until_s - time.monotonic()) > 0:
            # Of 0 s, BLPOP would wait for ever.
            rung = await line.call(["BLPOP", *bells, max(left_s, 0.01)], timeout_s=left_s + READ_GRACE_S)
            if rung is not None:
                heard(bells[rung[0]])

    async def reap(self, queue: str, *, unless_within: timedelta = timedelta(0)) -> int:
        if queue in self._unlisted and await enlist(self._caring, self.namespace, [queue]):
            self._unlisted.discard(queue)
        reaper = self._reapers.get(queue)
        if reaper is None:
            reaper = self._reapers[queue] = Reaper(
                self._caring,
                self.keys(queue),
                queue,
                lease_ms=self._lease_ms,
                max_crashes=self._max_crashes,
                history=self.history,
                journal_max=self._journal_max,
            )
        return await reaper.reap(fresh_ms=to_ms(unless_within))

    async def cancel(self, queue: str, job_id: str) -> JobState | None:
        job_id = canonical_id(job_id)
        line = b""
        if self.history:
            located = await self._locate(queue, job_id)
            line = _cancelled_line(queue, job_id, located) if located else b""
        answer = await self._operating.call(scripts.CANCEL.command(self.keys(queue), id=job_id, line=line))
        return {0: None, 1: JobState.CANCELLED, 2: JobState.RUNNING}[answer]

    async def locate(self, queue: str, job_id: str) -> Found | None:
        located = await self._locate(queue, canonical_id(job_id))
        return _found(queue, canonical_id(job_id), located) if located else None

    async def _locate(self, queue: str, job_id: str) -> list[Any]:
        located: list[Any] = await self._operating.call(scripts.LOCATE.command(self.keys(queue), id=job_id))
        return located

    async def result(self, queue: str, job_id: str) -> bytes | None:
        kept: bytes | None = await self._operating.call(["GET", self.keys(queue).result(canonical_id(job_id))])
        return kept

    async def pause(self, queue: str) -> None:
        await self._operating.call(scripts.PAUSE.command(self.keys(queue), paused=1))

    async def resume(self, queue: str) -> None:
        await self._operating.call(scripts.PAUSE.command(self.keys(queue), paused=0))

    async def purge(self, queue: str, priorities: Iterable[Priority], *, delayed: bool) -> int:
        ranks = "".join(str(priority.rank) for priority in priorities)
        total: int = 0
        skip: int = 0
        while True:
            command = scripts.PURGE.command(
                self.keys(queue), ranks=ranks, with_delayed=int(delayed), limit=_PURGE_PAGE, skip=skip
            )
            gone, skipped = await self._operating.call(command)
            total, skip = total + gone, skip + skipped
            if not gone and not skipped:
                return total

    async def queues(self) -> list[str]:
        return sorted(name.decode() for name in await self._operating.call(["SMEMBERS", queue_names(self.namespace)]))

    async def stats(self, queue: str) -> QueueStats:
        return _stats(queue, await self._operating.call(scripts.STATS.command(self.keys(queue))))

    async def workers(self, queue: str) -> list[WorkerInfo]:
        keys = self.keys(queue)
        commands: list[Sequence[scripts.Value]] = [["TIME"], ["ZRANGE", keys.workers, 0, -1, "WITHSCORES"]]
        for stream in keys.streams:
            commands.append(["XINFO", "CONSUMERS", stream, GROUP])
        server_time, leases, *consumers = await self._operating.exchange(commands)
        now_ms = int(server_time[0]) * 1000 + int(server_time[1]) // 1000
        deadlines = dict(zip(leases[::2], leases[1::2], strict=True))
        running: dict[bytes, int] = dict.fromkeys(deadlines, 0)
        for of_stream in consumers:
            for consumer in [] if isinstance(of_stream, ResponseError) else of_stream:
                running[consumer[1]] = running.get(consumer[1], 0) + consumer[3]
        return [
            WorkerInfo(
                name=name.decode(),
                queue=queue,
                running=count,
                lease_ms=int(float(deadlines[name])) - now_ms if name in deadlines else 0,
            )
            for name, count in sorted(running.items())
            if name in deadlines or count
        ]

    async def server(self) -> ServerFacts:
        """What there is to know about the server; in a cluster, about one of its primaries."""
        return (await self.servers())[0]

    async def servers(self) -> list[ServerFacts]:
        """What there is to know about each primary that answers, for start-up checks and the doctor.

        Raises:
            BrokerUnavailable: none does.
        """
        lines = await self._dialer.every_node()
        try:
            answers = await asyncio.gather(*(ask_server(line) for line in lines), return_exceptions=True)
        finally:
            for line in lines:
                await line.close()
        facts = [answer for answer in answers if isinstance(answer, ServerFacts)]
        for answer in answers:
            if isinstance(answer, BaseException) and not (facts and isinstance(answer, BrokerUnavailable)):
                raise answer
        return facts

    async def call(self, command: Sequence[scripts.Value]) -> Any:
        """One raw command on this broker's connection, for the adapter's other modules."""
        return await self._operating.call(command)

    async def call_each(self, commands: Sequence[Sequence[scripts.Value]]) -> list[Any]:
        """Raw commands in one write; refusals come as `ResponseError` values."""
        return await self._operating.exchange(commands)

    async def close(self) -> None:
        await asyncio.gather(*(submitter.close() for submitter in self._submitters.values()))
        lines = (self._producing, self._operating, self._caring, *self._listening.values(), *self._waiting_lines)
        for line in lines:
            await line.close()
        await self._dialer.close()


def _shares(submissions: Sequence[Submission], numbers: list[int]) -> Iterable[tuple[list[int], list[bytes], int]]:
    """Split by the limits of one batch: ordinals, bodies, bytes."""
    share: list[int] = []
    bodies: list[bytes] = []
    size = 0
    for n in numbers:
        body = submissions[n].job.to_wire()
        if share and (len(share) >= submit.MAX_BATCH_JOBS or size + len(body) > submit.MAX_BATCH_BYTES):
            yield share, bodies, size
            share, bodies, size = [], [], 0
        share.append(n)
        bodies.append(body)
        size += len(body)
    if share:
        yield share, bodies, size


def _raise_failure(answered: Sequence[tuple[str, object]]) -> None:
    """Raise what failed, if anything did. "Nothing was queued" is only true when every share says so."""
    failed = [(job_id, answer) for job_id, answer in answered if isinstance(answer, BaseException)]
    if not failed:
        return
    job_id, error = next((each for each in failed if isinstance(each[1], EnqueueUncertain)), failed[0])
    if len(failed) < len(answered) and isinstance(error, BrokerError):
        raise EnqueueUncertain(job_id) from error
    raise error


def _consumer_name() -> str:
    """A name for one incarnation: host, process, and what nobody else has."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "_", socket.gethostname())[:64] or "host"
    return f"{host}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def _found(queue: str, job_id: str, located: list[Any]) -> Found:
    place, rank, header, body, due, worker, progress, asked = located
    counters = entry.read_header(header) if header else {}
    attempt = counters.get("attempt", 1)
    state = {b"r": JobState.RUNNING, b"q": JobState.QUEUED, b"d": JobState.SCHEDULED}[place]
    if state is JobState.SCHEDULED and attempt > 1:
        state = JobState.RETRYING
    return Found(
        job=Job.from_wire(
            body,
            id=job_id,
            queue=queue,
            priority=PRIORITIES[int(rank)],
            unique_key=counters.get("unique_key"),
        ),
        state=state,
        attempt=attempt,
        due_ms=int(float(due)) or None,
        worker=worker.decode() or None,
        last_error=counters.get("last_error"),
        progress=progress or None,
        cancel_requested=bool(asked),
    )


def _cancelled_line(queue: str, job_id: str, located: list[Any]) -> bytes:
    now_ms = SystemClock().now_ms()
    fields = [b"i", job_id.encode(), b"b", located[3], *([b"h", located[2]] if located[2] else [])]
    delivery = entry.delivery(queue, int(located[1]), b"%d-0" % now_ms, fields)
    delivery.attempt = 0
    return entry.journal_line(
        Settlement(delivery=delivery, outcome=Cancelled(), type=entry.type_of(delivery.body), started_ms=now_ms)
    )


def _stats(queue: str, answer: list[Any]) -> QueueStats:
    now_ms = int(answer[0])
    lengths, running, oldest = answer[1:13:3], answer[2:13:3], [int(age) for age in answer[3:13:3]]
    delayed, next_due, dead, journal, workers, live, paused = (int(float(part)) for part in answer[13:20])
    counters = {name.decode(): value for name, value in zip(answer[20::2], answer[21::2], strict=True)}

    def counter(name: str) -> int:
        return int(counters.get(name, 0))

    return QueueStats(
        queue=queue,
        ready={priority: length - busy for priority, length, busy in zip(PRIORITIES, lengths, running, strict=True)},
        running=sum(running),
        delayed=delayed,
        dead=dead,
        journal=journal,
        oldest_ready_ms=max((now_ms - born for born in oldest if born), default=None),
        next_due_ms=next_due - now_ms if next_due else None,
        paused=bool(paused),
        workers=workers,
        live=live,
        enqueued=counter("enqueued"),
        completed=counter("completed"),
        died=counter("dead"),
        cancelled=counter("cancelled"),
        expired=counter("expired"),
        requeued=counter("requeued"),
        purged=counter("purged"),
        journal_dropped=counter("journal_dropped"),
    )
