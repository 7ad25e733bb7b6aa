"""The Redis Streams broker: what producers, workers and the scheduler ask of Redis; operators, see `operate`."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import structlog
from redis.exceptions import ResponseError

from jobqueue.broker import roster, scripts, submit
from jobqueue.broker.base import EnqueueResult, Submission
from jobqueue.broker.connection import Line, refused
from jobqueue.broker.consumer import RedisConsumer
from jobqueue.broker.dial import dial
from jobqueue.broker.firing import RedisTimetable
from jobqueue.broker.journal import RedisJournal
from jobqueue.broker.operate import RedisOperator
from jobqueue.broker.reader import READ_GRACE_S
from jobqueue.broker.reap import Reaper
from jobqueue.broker.server import ServerFacts, ask_server
from jobqueue.broker.submit import Submitter, declare, enlist
from jobqueue.clock import to_ms
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import BrokerError, BrokerUnavailable, ConfigError, EnqueueUncertain

_PROMOTE_JOBS = 200
_PROMOTE_BYTES = 1024 * 1024

_log = structlog.get_logger("jobqueue.broker")


class RedisStreamsBroker(RedisOperator):
    """Queues on one Redis or Valkey. See `jobqueue.broker.base.Broker` for what the verbs promise.

    Nothing is connected before the first call. *history* tells whether settlements are journalled
    for Postgres, with payloads of up to *keep_payload* bytes; *lease* must be the same in every process of a namespace.
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
        keep_payload: int = 0,
    ) -> None:
        self._dialer = dial(url, timeout_s=timeout.total_seconds())
        super().__init__(self._dialer.line(), namespace=namespace, history=history, keep_payload=keep_payload)
        self._enqueue_timeout_s = enqueue_timeout.total_seconds()
        self.lease = lease
        self._lease_ms = to_ms(lease)
        self._max_crashes = max_crashes
        self._journal_max = journal_max_bytes
        self._keep_payload = keep_payload
        self._producing = self._dialer.line()
        # Recovery waits for no operator and no shipper.
        self._caring = self._dialer.line()
        # Schedules fire on time, whatever operators read.
        self._firing = self._dialer.line()
        self._listening: dict[str, list[Line]] = {}
        self._waiting_lines: list[Line] = []
        self._unlisted: set[str] = set()
        self._submitters: dict[tuple[str, Durability], Submitter] = {}
        self._reapers: dict[str, Reaper] = {}
        self.journal = RedisJournal(self._operating, self.keys, queues_move=self._dialer.one_slot_reads)
        self.timetable = RedisTimetable(self._firing, self._operating, namespace, self.keys)

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

    async def join(self, queues: Sequence[str], *, slots: int | None = None) -> RedisConsumer:
        for queue in queues:
            self.keys(queue)
        name, now_ms = await self._register(queues, slots)
        return RedisConsumer(
            self._dialer,
            namespace=self.namespace,
            queues=queues,
            name=name,
            lease_ms=self._lease_ms,
            server_ms=now_ms,
            history=self.history,
            journal_max=self._journal_max,
            keep_payload=self._keep_payload,
        )

    async def _register(self, queues: Sequence[str], slots: int | None) -> tuple[str, int]:
        """Make the queues, and begin a lease on all of them at once: one that waits for another would run out."""
        name, facts = roster.consumer_name(), roster.own_entry(slots)
        commands = [
            scripts.REGISTER.command(self.keys(queue), consumer=name, lease_ms=self._lease_ms, facts=facts)
            for queue in queues
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
        # Each listener has a line of its own: a worker and a scheduler may share this broker.
        idle = self._listening.setdefault(queues[0] if self._dialer.one_slot_reads else "", [])
        line = idle.pop() if idle else self.line()
        bells = {self.keys(queue).bell.encode(): queue for queue in queues}
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                # Of 0 s, BLPOP would wait for ever.
                rung = await line.call(["BLPOP", *bells, max(left_s, 0.01)], timeout_s=left_s + READ_GRACE_S)
                if rung is not None:
                    heard(bells[rung[0]])
        finally:
            idle.append(line)

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
                keep_payload=self._keep_payload,
            )
        return await reaper.reap(fresh_ms=to_ms(unless_within))

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

    def line(self) -> Line:
        """One more line, for what must wait behind nobody else; closed with the broker."""
        line = self._dialer.line()
        self._waiting_lines.append(line)
        return line

    async def close(self) -> None:
        await asyncio.gather(*(submitter.close() for submitter in self._submitters.values()))
        lines = (self._producing, self._operating, self._caring, self._firing, *self._waiting_lines)
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
