"""What operators ask of Redis: look at a queue and its jobs, and change them by hand."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from jobqueue.broker import entry, page, roster, scripts
from jobqueue.broker.base import Found, Place, QueueStats, Settlement, WorkerInfo
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import GROUP, QueueKeys, queue_names
from jobqueue.clock import SystemClock
from jobqueue.job import PRIORITIES, JobState, Priority, canonical_id, check_name
from jobqueue.outcome import Cancelled

_ASKED_AT_ONCE = 500
_NO_KEY = -2  # answer of PTTL
_PURGE_PAGE = 200


class RedisOperator:
    """The operators' verbs of `jobqueue.broker.base.Broker`, on a line that nobody else waits for."""

    def __init__(self, line: Line, *, namespace: str, history: bool, keep_payload: int) -> None:
        self.namespace = namespace
        self.history = history
        self._keep_payload = keep_payload
        self._operating = line
        self._keys: dict[str, QueueKeys] = {}

    def keys(self, queue: str) -> QueueKeys:
        """The keys of *queue*, whose name is checked."""
        keys = self._keys.get(queue)
        if keys is None:
            keys = self._keys[queue] = QueueKeys.of(self.namespace, check_name("queue", queue))
        return keys

    async def cancel(self, queue: str, job_id: str) -> JobState | None:
        job_id = canonical_id(job_id)
        line = b""
        if self.history:
            located = await self._locate(queue, job_id)
            line = _cancelled_line(queue, job_id, located, self._keep_payload) if located else b""
        answer = await self._operating.call(scripts.CANCEL.command(self.keys(queue), id=job_id, line=line))
        return {0: None, 1: JobState.CANCELLED, 2: JobState.RUNNING}[answer]

    async def locate(self, queue: str, job_id: str) -> Found | None:
        located = await self._locate(queue, canonical_id(job_id))
        return page.found(queue, canonical_id(job_id), located) if located else None

    async def locate_in(self, queues: Sequence[str], job_id: str) -> Found | None:
        job_id = canonical_id(job_id)
        async for queue in self._where(queues, lambda keys: ["HEXISTS", keys.jobs, job_id], nothing=0):
            found = await self.locate(queue, job_id)
            if found is not None:
                return found
        return None

    async def _where(
        self, queues: Sequence[str], command: Callable[[QueueKeys], Sequence[scripts.Value]], *, nothing: int
    ) -> AsyncIterator[str]:
        """Those of *queues* where the answer is not *nothing*, many asked in one exchange; a lone one is not asked."""
        if len(queues) == 1:
            yield queues[0]
            return
        for start in range(0, len(queues), _ASKED_AT_ONCE):
            some = queues[start : start + _ASKED_AT_ONCE]
            answers = await self.call_each([command(self.keys(queue)) for queue in some])
            for queue, answer in zip(some, answers, strict=True):
                if answer != nothing:  # a refusal is for the call that follows to tell
                    yield queue

    async def _locate(self, queue: str, job_id: str) -> list[Any]:
        located: list[Any] = await self._operating.call(scripts.LOCATE.command(self.keys(queue), id=job_id))
        return located

    async def jobs(
        self, queue: str, place: Place, *, limit: int, after: str | None = None
    ) -> tuple[list[Found], str | None]:
        command = page.command(self.keys(queue), place, limit=limit, after=after)
        return page.read(queue, await self._operating.call(command))

    async def hasten(self, queue: str, job_id: str) -> JobState | None:
        answer = await self._operating.call(scripts.HASTEN.command(self.keys(queue), id=canonical_id(job_id)))
        return {0: None, 1: JobState.QUEUED, 2: JobState.RUNNING}[answer]

    async def result(self, queue: str, job_id: str) -> bytes | None:
        kept: bytes | None = await self._operating.call(["GET", self.keys(queue).result(canonical_id(job_id))])
        return kept

    async def result_in(self, queues: Sequence[str], job_id: str) -> tuple[str, bytes] | None:
        job_id = canonical_id(job_id)
        async for queue in self._where(queues, lambda keys: ["PTTL", keys.result(job_id)], nothing=_NO_KEY):
            kept = await self.result(queue, job_id)
            if kept is not None:
                return queue, kept
        return None

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
        commands: list[Sequence[scripts.Value]] = [
            ["TIME"],
            ["ZRANGE", keys.workers, 0, -1, "WITHSCORES"],
            ["HGETALL", keys.roster],
            *(["XINFO", "CONSUMERS", stream, GROUP] for stream in keys.streams),
        ]
        server_time, leases, told, *consumers = await self._operating.exchange(commands)
        now_ms = int(server_time[0]) * 1000 + int(server_time[1]) // 1000
        deadlines = dict(zip(leases[::2], leases[1::2], strict=True))
        entries = dict(zip(told[::2], told[1::2], strict=True))
        running: dict[bytes, int] = dict.fromkeys(deadlines, 0)
        for of_stream in consumers:
            for consumer in [] if isinstance(of_stream, ResponseError) else of_stream:
                running[consumer[1]] = running.get(consumer[1], 0) + consumer[3]
        return [
            roster.worker(
                entries.get(name),
                name=name.decode(),
                queue=queue,
                running=count,
                lease_ms=int(float(deadlines[name])) - now_ms if name in deadlines else 0,
            )
            for name, count in sorted(running.items())
            if name in deadlines or count
        ]

    async def call(self, command: Sequence[scripts.Value]) -> Any:
        """One raw command on this broker's connection, for the adapter's other modules."""
        return await self._operating.call(command)

    async def call_each(self, commands: Sequence[Sequence[scripts.Value]]) -> list[Any]:
        """Raw commands in one write; refusals come as `ResponseError` values."""
        return await self._operating.exchange(commands)


def _cancelled_line(queue: str, job_id: str, located: list[Any], keep_payload: int) -> bytes:
    now_ms = SystemClock().now_ms()
    fields = [b"i", job_id.encode(), b"b", located[3], *([b"h", located[2]] if located[2] else [])]
    delivery = entry.delivery(queue, int(located[1]), b"%d-0" % now_ms, fields)
    delivery.attempt = 0
    return entry.journal_line(
        Settlement(delivery=delivery, outcome=Cancelled(), type=entry.type_of(delivery.body), started_ms=now_ms),
        keep_payload=keep_payload,
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
