"""The front of the memory: producers, scheduler and operators."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import msgspec

from jobqueue.broker.base import Delivery, EnqueueResult, Found, Place, QueueStats, Settlement, Submission, WorkerInfo
from jobqueue.clock import Clock, SystemClock
from jobqueue.job import PRIORITIES, JobState, Priority, canonical_id, decode_envelope
from jobqueue.outcome import Cancelled
from jobqueue.testing.memory.consumer import MemoryConsumer
from jobqueue.testing.memory.journal import MemoryJournal
from jobqueue.testing.memory.page import found, page
from jobqueue.testing.memory.reap import reap
from jobqueue.testing.memory.settle import execution_of
from jobqueue.testing.memory.store import MemoryQueue, Store
from jobqueue.testing.memory.submit import submit
from jobqueue.testing.memory.timetable import MemoryTimetable

_BLOCK = timedelta(seconds=2)
_LOOK = timedelta(seconds=1)


class MemoryBroker:
    """See `jobqueue.broker.base.Broker`. *clock* decides what is due or expired; *block* is real time."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        lease: timedelta = timedelta(seconds=15),
        max_crashes: int = 3,
        history: bool = False,
        keep_payload: int = 0,
        block: timedelta = _BLOCK,
    ) -> None:
        self.store = Store(
            clock or SystemClock(),
            lease=lease,
            max_crashes=max_crashes,
            history=history,
            keep_payload=keep_payload,
            block=block,
        )
        self.journal = MemoryJournal(self.store)
        self.timetable = MemoryTimetable(self.store)
        self._names = itertools.count(1)

    # producers and workers

    async def enqueue(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        return [submit(self.store, submission) for submission in submissions]

    async def join(self, queues: Sequence[str], *, slots: int | None = None) -> MemoryConsumer:
        name, now = f"memory:{next(self._names)}", self.store.clock.now_ms()
        for queue in queues:
            self.store.queue(queue).leases[name] = now + self.store.lease_ms
            self.store.queue(queue).roster[name] = (now, slots)
        return MemoryConsumer(self.store, name, queues)

    # scheduler

    async def listen(self, queues: Sequence[str], heard: Callable[[str], None], *, wait: timedelta) -> None:
        # Its clock may be moved by hand: everything is looked at each second.
        await asyncio.sleep(min(wait, _LOOK).total_seconds())
        for queue in queues:
            heard(queue)

    async def promote(self, queue: str) -> timedelta | None:
        of, now = self.store.queue(queue), self.store.clock.now_ms()
        for job_id, (due_ms, job) in sorted(of.delayed.items(), key=lambda each: each[1][0]):
            if due_ms > now:
                return timedelta(milliseconds=due_ms - now)
            del of.delayed[job_id]
            self.store.put(of, job, due_ms=now)
        return None

    async def reap(self, queue: str, *, unless_within: timedelta = timedelta(0)) -> int:
        return reap(self.store, self.store.queue(queue))

    # operators

    async def cancel(self, queue: str, job_id: str) -> JobState | None:
        of, job_id = self.store.queue(queue), canonical_id(job_id)
        job = of.live.get(job_id)
        if job is None:
            return None
        if of.holder(job_id) is not None:
            of.asked.add(job_id)
            return JobState.RUNNING
        of.forget(job)
        of.counted["cancelled"] += 1
        if self.store.history:
            self._record_cancelled(of, job)
        return JobState.CANCELLED

    def _record_cancelled(self, queue: MemoryQueue, job: Delivery) -> None:
        now = self.store.clock.now_ms()
        gone = Settlement(
            delivery=msgspec.structs.replace(job, attempt=0, entry_id=b"%d-0" % now),
            outcome=Cancelled(),
            type=decode_envelope(job.body).type,
            started_ms=now,
        )
        queue.journal[self.store.entry_id().decode()] = [execution_of(self.store, gone, gone.outcome, "")]

    async def locate(self, queue: str, job_id: str) -> Found | None:
        of, job_id = self.store.queue(queue), canonical_id(job_id)
        job = of.live.get(job_id)
        return found(self.store, of, job) if job is not None else None

    async def locate_in(self, queues: Sequence[str], job_id: str) -> Found | None:
        for queue in queues:
            located = await self.locate(queue, job_id)
            if located is not None:
                return located
        return None

    async def jobs(
        self, queue: str, place: Place, *, limit: int, after: str | None = None
    ) -> tuple[list[Found], str | None]:
        return page(self.store, self.store.queue(queue), place, limit=limit, after=after)

    async def hasten(self, queue: str, job_id: str) -> JobState | None:
        of, job_id = self.store.queue(queue), canonical_id(job_id)
        if job_id in of.delayed:
            _, job = of.delayed.pop(job_id)
            self.store.put(of, job, due_ms=self.store.clock.now_ms())
        if job_id not in of.live:
            return None
        return JobState.QUEUED if of.holder(job_id) is None else JobState.RUNNING

    async def result(self, queue: str, job_id: str) -> bytes | None:
        until, kept = self.store.queue(queue).results.get(canonical_id(job_id), (0, None))
        return kept if until > self.store.clock.now_ms() else None

    async def result_in(self, queues: Sequence[str], job_id: str) -> tuple[str, bytes] | None:
        for queue in queues:
            kept = await self.result(queue, job_id)
            if kept is not None:
                return queue, kept
        return None

    async def pause(self, queue: str) -> None:
        self.store.queue(queue).paused = True

    async def resume(self, queue: str) -> None:
        self.store.queue(queue).paused = False

    async def purge(self, queue: str, priorities: Iterable[Priority], *, delayed: bool) -> int:
        of, ranks = self.store.queue(queue), {priority.rank for priority in priorities}
        waiting = [job for rank in ranks for job in of.ready[rank].values()]
        if delayed:
            waiting += [job for _, job in of.delayed.values() if job.rank in ranks]
        for job in waiting:
            of.forget(job)
        of.counted["cancelled"] += len(waiting)
        return len(waiting)

    async def queues(self) -> list[str]:
        return sorted(self.store.queues)

    async def stats(self, queue: str) -> QueueStats:
        of, now = self.store.queue(queue), self.store.clock.now_ms()
        oldest = min((job.queued_ms for jobs in of.ready for job in jobs.values()), default=None)
        due = min((due_ms for due_ms, _ in of.delayed.values()), default=None)
        return QueueStats(
            queue=queue,
            ready={priority: len(of.ready[priority.rank]) for priority in PRIORITIES},
            running=sum(map(len, of.held.values())),
            delayed=len(of.delayed),
            dead=len(of.dead),
            journal=len(of.journal),
            oldest_ready_ms=now - oldest if oldest is not None else None,
            next_due_ms=due - now if due is not None else None,
            paused=of.paused,
            workers=sum(deadline >= now for deadline in of.leases.values()),
            live=len(of.live),
            enqueued=of.counted["enqueued"],
            completed=of.counted["completed"],
            died=of.counted["dead"],
            cancelled=of.counted["cancelled"],
            expired=of.counted["expired"],
            requeued=of.counted["requeued"],
            purged=of.counted["purged"],
            journal_dropped=0,
        )

    async def workers(self, queue: str) -> list[WorkerInfo]:
        of, now = self.store.queue(queue), self.store.clock.now_ms()
        names = {*of.leases, *(name for name, jobs in of.held.items() if jobs)}
        return [
            WorkerInfo(
                name=name,
                queue=queue,
                running=len(of.held.get(name, ())),
                lease_ms=of.leases[name] - now if name in of.leases else 0,
                slots=of.roster[name][1],
                host=socket.gethostname(),
                pid=os.getpid(),
                started_ms=of.roster[name][0],
            )
            for name in sorted(names)
        ]

    async def close(self) -> None:
        """Nothing to close."""
