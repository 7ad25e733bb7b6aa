"""Enqueue by group commit: whatever waits goes out when the previous batch has been answered.

No timer: an idle enqueue costs one round trip, and a busy one shares it. Cost of `JobQueue.enqueue`, the making of
the job included, µs of Python and of Redis a job: awaited one by one 43 and 30, gathered by 100 15 and 4, and
`enqueue_many` of 1000 7 and 4.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from jobqueue import crash
from jobqueue.broker import scripts
from jobqueue.broker.base import Enqueued, EnqueueResult, Submission
from jobqueue.broker.confirm import Confirmation, Unconfirmed
from jobqueue.broker.connection import Line, NoReply
from jobqueue.broker.entry import spec
from jobqueue.broker.keys import QueueKeys, queue_names
from jobqueue.broker.persist import Limit, persist
from jobqueue.broker.scripts import Value
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import BrokerError, BrokerUnavailable, ConfigError, EnqueueUncertain

MAX_BATCH_JOBS = 500
MAX_BATCH_BYTES = 1024 * 1024
PROTOCOL_VERSION = 1
# Longer than any outage that a producer waits out; one small key per producer and queue.
_REMEMBER_MS = 3_600_000
_UNDECLARED = b"UNDECLARED"

_log = structlog.get_logger("jobqueue.broker")


class _Ticket(msgspec.Struct):
    """One caller's share of a batch."""

    submissions: Sequence[Submission]
    bodies: Sequence[bytes]
    size: int
    answer: "asyncio.Future[list[EnqueueResult]]"
    deadline_s: float


class Submitter:
    """The enqueues of one process to one queue, with one durability."""

    def __init__(self, line: Line, namespace: str, queue: str, durability: Durability, *, timeout_s: float) -> None:
        self._line = line
        self._confirmation = Confirmation(durability)
        self._namespace = namespace
        self._queue = queue
        self._keys = QueueKeys.of(namespace, queue)
        self._timeout_s = timeout_s
        producer = self._keys.producer(uuid.uuid4().hex)
        self._fixed_keys = scripts.ENQUEUE.keys_for(self._keys, producer=producer)
        self._number = 0
        self._limit = Limit()
        self._waiting: deque[_Ticket] = deque()
        self._confirms = durability != LOCAL
        self._lonely = False
        self._alone: _Ticket | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._declared = False

    async def submit(
        self, submissions: Sequence[Submission], bodies: Sequence[bytes], size: int
    ) -> list[EnqueueResult]:
        """Queue at most `MAX_BATCH_JOBS` jobs of at most `MAX_BATCH_BYTES`, all in one batch.

        A caller that is cancelled leaves its jobs in the batch: they may be queued.
        """
        answer: asyncio.Future[list[EnqueueResult]] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(submissions, bodies, size, answer, time.monotonic() + self._timeout_s)
        if self._lonely and self._idle:
            return await self._go_alone(ticket)
        self._waiting.append(ticket)
        if self._idle:
            self._flusher = asyncio.create_task(self._flush())
        return await answer

    @property
    def _idle(self) -> bool:
        return self._alone is None and (self._flusher is None or self._flusher.done())

    async def close(self) -> None:
        """Wait for what has been submitted."""
        if self._alone is not None:
            await asyncio.wait([self._alone.answer])
        if self._flusher is not None:
            await self._flusher
        self._limit.close()

    async def _go_alone(self, ticket: _Ticket) -> list[EnqueueResult]:
        """Send a batch of one in its caller's own task, where the one before had no company either.

        A task for it and two turns of the loop would be a quarter of its cost.
        """
        self._alone = ticket
        try:
            await self._send_or_fail([ticket])
            return ticket.answer.result()
        finally:
            ticket.answer.cancel()  # of no effect, unless the caller was cancelled
            self._alone = None
            self._lonely = not self._waiting
            # One who was cancelled while waiting must not leave its deadline to those who come later.
            self._waiting = deque(each for each in self._waiting if not each.answer.done())
            if self._waiting:
                self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            batch = self._take()
            # A wait for a disk or a replica is long: others will come.
            self._lonely = len(batch) == 1 and not self._confirms
            try:
                await self._send_or_fail(batch)
            except BaseException:
                _fail([*batch, *self._waiting], BrokerError("enqueue was broken off: its event loop is closing"))
                self._waiting.clear()
                raise

    async def _send_or_fail(self, batch: list[_Ticket]) -> None:
        if batch[0].deadline_s < time.monotonic():
            _fail(batch, BrokerUnavailable("Redis did not answer those who came before in time"))
            return
        try:
            await self._send(batch)
        except Exception as error:
            _fail(batch, error)

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        jobs = size = 0
        while self._waiting:
            ticket = self._waiting[0]
            jobs, size = jobs + len(ticket.submissions), size + ticket.size
            if batch and (jobs > MAX_BATCH_JOBS or size > MAX_BATCH_BYTES):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[_Ticket]) -> None:
        self._number += 1
        command = self._command(batch)
        deadline_s = batch[0].deadline_s
        if not self._declared:
            await self._make_queue(deadline_s)
        crash.point("before_enqueue_send")
        answer = await self._confirmed(command, deadline_s)
        if answer == _UNDECLARED:
            # The data was flushed under us. Nothing was queued: the same batch again, on a queue made anew.
            await self._make_queue(deadline_s)
            answer = await self._confirmed(command, deadline_s)
        crash.point("after_enqueue_send")
        results = _results([each.job.id for ticket in batch for each in ticket.submissions], answer)
        at = 0
        for ticket in batch:
            upto = at + len(ticket.submissions)
            if not ticket.answer.done():
                ticket.answer.set_result(results[at:upto])
            at = upto

    async def _confirmed(self, command: list[Value], deadline_s: float) -> bytes:
        """Carry the batch out, and again while it is not as safe as it has to be: once done, it is not done twice."""
        if self._confirms:
            return await persist(
                lambda: self._confirmation.call(self._line, command, deadline_s=deadline_s),
                deadline_s=deadline_s,
                limit=self._limit,
            )
        answer: bytes = await persist(partial(self._line.call, command), deadline_s=deadline_s, limit=self._limit)
        return answer

    def _command(self, batch: list[_Ticket]) -> list[Value]:
        keys: list[str] = []
        args: list[Value] = []
        for ticket in batch:
            for submission, body in zip(ticket.submissions, ticket.bodies, strict=True):
                ordinal = 0
                if submission.idempotency_key is not None:
                    keys.append(self._keys.dedupe(submission.idempotency_key))
                    ordinal = len(keys)
                args += (submission.job.id, spec(submission, body, ordinal), body)
        fixed = self._fixed_keys
        count = len(fixed) + len(keys)
        return ["EVALSHA", scripts.ENQUEUE.sha, count, *fixed, *keys, self._number, _REMEMBER_MS, *args]

    async def _make_queue(self, deadline_s: float) -> None:
        try:
            for attempt in (
                lambda: declare(self._line, self._namespace, [self._queue]),
                lambda: self._confirmation.prepare(self._line, at=self._keys.meta),
            ):
                await persist(attempt, deadline_s=deadline_s, limit=self._limit)
        except NoReply as error:
            raise BrokerUnavailable(str(error)) from error  # no job has been sent yet: nothing is uncertain
        self._declared = True


async def declare(line: Line, namespace: str, queues: Sequence[str]) -> bool:
    """Make queues where they are missing. Returns whether they are in the list of queues, too, which in a cluster
    may be on a node that is away.

    Raises:
        ConfigError: a queue was made by a jobqueue that speaks another protocol.
    """
    commands = [
        scripts.DECLARE.command(QueueKeys.of(namespace, queue), epoch=uuid.uuid4().hex, version=PROTOCOL_VERSION)
        for queue in queues
    ]
    for queue, command in zip(queues, commands, strict=True):
        version = int(await line.call(command))
        if version != PROTOCOL_VERSION:
            raise ConfigError(
                f"queue {queue!r} has protocol version {version}, this jobqueue speaks {PROTOCOL_VERSION}; "
                f"run one version of jobqueue on a namespace, or use another JOBQUEUE_NAMESPACE"
            )
    return await enlist(line, namespace, queues)


async def enlist(line: Line, namespace: str, queues: Sequence[str]) -> bool:
    """Note the queues where schedulers and operators look for them; False when that cannot be done now."""
    keys = QueueKeys.of(namespace, queues[0])
    try:
        await line.call(scripts.ENLIST.command(keys, names=queue_names(namespace), more_args=list(queues)))
    except BrokerUnavailable as error:
        _log.warning("queues.not_listed", queues=queues, error=str(error))
        return False
    return True


def _results(ids: list[str], answer: bytes) -> list[EnqueueResult]:
    results = [EnqueueResult(Enqueued.NEW, job_id) for job_id in ids]
    for line in answer.decode().splitlines():
        ordinal, status, job_id = line.split(" ")
        results[int(ordinal) - 1] = EnqueueResult(Enqueued(status), job_id)
    return results


def _fail(batch: list[_Ticket], error: Exception) -> None:
    for ticket in batch:
        if ticket.answer.done():
            continue
        if isinstance(error, NoReply):
            reason = str(error) if isinstance(error, Unconfirmed) else None
            mine: Exception = EnqueueUncertain(ticket.submissions[0].job.id, reason)
            mine.__cause__ = error
        elif isinstance(error, BrokerUnavailable):
            mine = BrokerUnavailable(f"{error}; nothing was queued")
        else:
            mine = error
        ticket.answer.set_exception(mine)
