"""The queues in memory: what a broker, its consumers, its journal and its dead letters share."""

import asyncio
import itertools
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from jobqueue.broker.base import Delivery
from jobqueue.broker.timetable import Standing
from jobqueue.clock import Clock, to_ms
from jobqueue.job import PRIORITIES, check_name
from jobqueue.record import DeadLetter, Execution
from jobqueue.tick import TickRecord


@dataclass(slots=True)
class MemoryQueue:
    """One queue, with everything that is known of its jobs."""

    name: str
    epoch: str = field(default_factory=lambda: uuid.uuid4().hex)
    ready: list[dict[bytes, Delivery]] = field(default_factory=lambda: [{} for _ in PRIORITIES])
    """By rank; entry id -> job, oldest first."""
    held: dict[str, dict[str, Delivery]] = field(default_factory=dict)
    """Consumer -> job id -> what it was given."""
    taken_ms: dict[str, int] = field(default_factory=dict)
    """Job id -> since when it is held."""
    delayed: dict[str, tuple[int, Delivery]] = field(default_factory=dict)
    live: dict[str, Delivery] = field(default_factory=dict)
    """Every job that has not ended, as it was last queued; one that waits for its time has no entry id."""
    leases: dict[str, int] = field(default_factory=dict)
    roster: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """Consumer -> when it joined, ms, and its slots."""
    asked: set[str] = field(default_factory=set)
    unique: dict[str, str] = field(default_factory=dict)
    dedupe: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Idempotency key -> until when, job id, digest."""
    progress: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    journal: dict[str, list[Execution]] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    """Schedule -> the version with which it went to another queue."""
    ticks: dict[str, TickRecord] = field(default_factory=dict)
    noted: set[tuple[TickRecord, ...]] = field(default_factory=set)
    paused: bool = False

    def holder(self, job_id: str) -> str | None:
        """The consumer that was given the job."""
        return next((consumer for consumer, jobs in self.held.items() if job_id in jobs), None)

    def forget(self, job: Delivery) -> None:
        """The job is not live any more, wherever it waited."""
        del self.live[job.job_id]
        self.delayed.pop(job.job_id, None)
        self.ready[job.rank].pop(job.entry_id, None)
        if job.unique_key is not None and self.unique.get(job.unique_key) == job.job_id:
            del self.unique[job.unique_key]


class Store:
    """All queues of one broker, its clock and its numbers."""

    def __init__(
        self,
        clock: Clock,
        *,
        lease: timedelta,
        max_crashes: int,
        history: bool,
        keep_payload: int,
        block: timedelta,
    ) -> None:
        self.clock = clock
        self.lease_ms = to_ms(lease)
        self.max_crashes = max_crashes
        self.history = history
        self.keep_payload = keep_payload
        self.block_s = block.total_seconds()
        self.arrived = asyncio.Event()
        """Set when a job has become ready."""
        self.queues: dict[str, MemoryQueue] = {}
        self._numbers = itertools.count()

    def queue(self, name: str) -> MemoryQueue:
        """The queue of that name, made where it is missing."""
        if name not in self.queues:
            self.queues[name] = MemoryQueue(check_name("queue", name))
        return self.queues[name]

    def existing(self, name: str) -> MemoryQueue | None:
        """The queue of that name, if there is one."""
        return self.queues.get(check_name("queue", name))

    def put(self, queue: MemoryQueue, job: Delivery, *, due_ms: int) -> None:
        """Make a job ready, or let it wait for its time."""
        if due_ms > self.clock.now_ms():
            queue.live[job.job_id] = waiting = msgspec.structs.replace(job, entry_id=b"")
            queue.delayed[job.job_id] = (due_ms, waiting)
            return
        queue.live[job.job_id] = ready = msgspec.structs.replace(job, entry_id=self.entry_id())
        queue.ready[job.rank][ready.entry_id] = ready
        self.arrived.set()

    def entry_id(self) -> bytes:
        """A new id as Redis Streams make them: the time in ms, and a number."""
        return b"%d-%d" % (self.clock.now_ms(), next(self._numbers))
