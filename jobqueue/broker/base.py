"""The broker port: what the rest of jobqueue asks of Redis, and of the in-memory fake.

`Broker` is what producers, operators and the scheduler use; a `Consumer` is one incarnation of one
worker. Every adapter passes the contract suite in `tests/contract/`.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from jobqueue.broker.timetable import Timetable
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import InvalidJob
from jobqueue.job import PRIORITIES, Job, JobState, Priority, decode_envelope
from jobqueue.outcome import Outcome
from jobqueue.record import DeadLetter, Execution, JournalKind
from jobqueue.tick import TickRecord


class Submission(msgspec.Struct, kw_only=True):
    """A job with how it is to be enqueued.

    Due after *delay* (by the broker's clock) or at *run_at_ms* (wall time, ms since the epoch).
    With an *idempotency_key*, the same job again within *idempotency_ttl* queues nothing.
    *generation* counts how often the job came back from the dead letters. It is answered when it is
    as safe as *durability* asks.
    """

    job: Job
    delay: timedelta | None = None
    run_at_ms: int | None = None
    idempotency_key: str | None = None
    idempotency_ttl: timedelta = timedelta(hours=24)
    generation: int = 0
    durability: Durability = LOCAL


class Enqueued(StrEnum):
    """What came of one submission."""

    NEW = "new"
    EXISTS = "exists"
    CONFLICT = "conflict"


class EnqueueResult(msgspec.Struct, frozen=True):
    """`new`; or `exists`: the job, its idempotency key or its unique key is already queued as *job_id*;
    or `conflict`: the idempotency key stands for another body, queued as *job_id*."""

    status: Enqueued
    job_id: str


Receipt: TypeAlias = tuple[str, int, bytes]


class Delivery(msgspec.Struct, kw_only=True, eq=False):
    """A job as handed once to one worker, with its receipt (`rank`, `entry_id`)."""

    queue: str
    rank: int
    entry_id: bytes
    job_id: str
    body: bytes
    attempt: int = 1
    crashes: int = 0
    generation: int = 0
    deferrals: int = 0
    expires_ms: int = 0
    last_error: str | None = None
    unique_key: str | None = None

    def __repr__(self) -> str:
        # Without the body: it may hold what must not get into a log.
        return f"Delivery({self.job_id!r}, queue={self.queue!r}, receipt={self.receipt!r}, attempt={self.attempt})"

    @property
    def receipt(self) -> Receipt:
        """What names this delivery; entry ids alone repeat from stream to stream."""
        return (self.queue, self.rank, self.entry_id)

    def job(self) -> Job:
        """The job itself.

        Raises:
            InvalidJob: the body is not a job.
        """
        return Job.from_wire(
            self.body, id=self.job_id, queue=self.queue, priority=PRIORITIES[self.rank], unique_key=self.unique_key
        )

    @property
    def failures(self) -> int:
        """Failed attempts so far: crashes are counted apart."""
        return self.attempt - 1 - self.crashes

    @property
    def queued_ms(self) -> int:
        """When the entry became ready, ms, by the broker's clock."""
        return int(self.entry_id.partition(b"-")[0])


class Settlement(msgspec.Struct, eq=False):
    """An outcome on its way to the broker, with the facts of the attempt for the history.

    A delivery given back before it was started has no *type* here, and leaves no history. *payload* is that of
    the delivery, from who has cut it out of the body already.
    """

    delivery: Delivery
    outcome: Outcome
    type: str = ""
    started_ms: int = 0
    duration_ms: float = 0.0
    result_ttl_ms: int | None = None
    payload: msgspec.Raw | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Beat:
    """The answer to a heartbeat: what is asked of this worker on one queue."""

    queue: str
    alive: bool
    paused: bool = False
    cancel: Collection[str] = ()


class Heartbeat(Protocol):
    """Renews a consumer's lease from a thread of its own, on a connection of its own. Blocking."""

    def beat(self, progress: Mapping[str, Mapping[str, bytes]]) -> list[Beat]:
        """Renew on every queue; *progress* is queue → job id → JSON.

        Raises:
            BrokerUnavailable: no answer; the lease may or may not have been renewed.
        """
        ...

    def close(self) -> None: ...


class Consumer(Protocol):
    """One incarnation of one worker on its queues; made by `Broker.join`."""

    @property
    def name(self) -> str: ...

    @property
    def queues(self) -> Sequence[str]: ...

    async def fetch(self, want: int, *, skip: Collection[str] = (), wait: bool = True) -> list[Delivery]:
        """Take up to *want* jobs for this consumer, queues in order, highest priority first, oldest first within one.

        Waits at most the broker's block time when nothing is ready, or with *wait* off not at all, then
        returns an empty list.
        May return more than *want* when several priorities fill at the same instant. *skip* names
        paused queues. A delivery stays ours until it is settled or our lease runs out. Cancelling
        takes nothing for good: entries whose reply was lost come back through `adopt`.

        Raises:
            BrokerUnavailable: the broker cannot be reached; something may have been taken: `adopt`.
        """
        ...

    async def adopt(self, known: Container[Receipt] = ()) -> list[Delivery]:
        """Everything delivered to this consumer and not settled: also what was taken without our hearing of it.

        What is *known* is left out, and goes on counting how long it has been running.
        """
        ...

    @property
    def reopened(self) -> int:
        """How often it has connected to the broker again. What was confirmed before may be forgotten: `adopt`."""
        ...

    async def paused(self, queues: Collection[str]) -> frozenset[str]:
        """Those of *queues* that are paused now."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Carry out the outcomes, all or nothing per queue. Safe to repeat: what is settled stays settled.

        Raises:
            LeaseLost: this consumer was reaped; nothing was changed on that queue.
            BrokerUnavailable: no answer; call again with the same settlements.
        """
        ...

    def heartbeat(self) -> Heartbeat: ...

    def now_ms(self) -> int:
        """The broker's wall clock as estimated here, ms."""
        ...

    async def leave(self) -> None:
        """Deregister, after everything is settled. What is still pending is left to the reaper."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Place(StrEnum):
    """Where a live job waits or runs."""

    QUEUED = "queued"
    RUNNING = "running"
    DELAYED = "delayed"


class Found(msgspec.Struct, kw_only=True):
    """Where a live job is. What cannot be read as a job has a place, too: only its `job` is refused."""

    job_id: str
    queue: str
    priority: Priority
    body: bytes
    state: JobState
    attempt: int
    unique_key: str | None = None
    due_ms: int | None = None
    worker: str | None = None
    running_ms: int | None = None
    """How long the worker has had it."""
    last_error: str | None = None
    progress: bytes | None = None
    cancel_requested: bool = False

    @property
    def job(self) -> Job:
        """The job itself; made anew each time.

        Raises:
            InvalidJob: the body is not a job.
        """
        return Job.from_wire(
            self.body, id=self.job_id, queue=self.queue, priority=self.priority, unique_key=self.unique_key
        )

    @property
    def type(self) -> str:
        """The task named in the body, or '' when it cannot be read."""
        try:
            return decode_envelope(self.body).type
        except InvalidJob:
            return ""


class QueueStats(msgspec.Struct, kw_only=True):
    """One queue at one instant. Counters count since the queue began."""

    queue: str
    ready: dict[Priority, int]
    running: int
    delayed: int
    dead: int
    """Dead letters held in the broker: all without Postgres, the unshipped ones with it."""
    journal: int
    """Batches of history waiting to be shipped."""
    oldest_ready_ms: int | None
    """Age of the oldest ready job."""
    next_due_ms: int | None
    """Time until the next delayed job is due; negative when overdue."""
    paused: bool
    workers: int
    live: int
    enqueued: int
    completed: int
    died: int
    cancelled: int
    expired: int
    requeued: int
    purged: int
    """Dead letters deleted by hand."""
    journal_dropped: int

    @property
    def depth(self) -> int:
        """Jobs ready to run."""
        return sum(self.ready.values())

    @property
    def drift(self) -> int:
        """Invariant I1, which must be 0: what came in, less what ended, is what is there."""
        ended = self.completed + self.died + self.cancelled + self.expired
        places = self.depth + self.running + self.delayed
        return abs(self.enqueued - ended - self.live) + abs(self.live - places)


class WorkerInfo(msgspec.Struct, kw_only=True):
    """A consumer as the broker sees it. None: it did not tell, as workers of an older version do not."""

    name: str
    queue: str
    running: int
    lease_ms: int
    """What is left of its lease; negative when it has run out."""
    slots: int | None = None
    """Jobs that it may run at once, on all of its queues together."""
    host: str | None = None
    pid: int | None = None
    started_ms: int | None = None
    """When it joined, ms, by the broker's clock."""


class JournalPage(msgspec.Struct, kw_only=True):
    """A page of what waits to be shipped, read from *primary*; *last* is the cursor after it.

    *full*: it has as many entries as were asked for, so that more may wait already.
    """

    last: str
    primary: str = ""
    full: bool = False
    executions: list[Execution] = msgspec.field(default_factory=list)
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    ticks: list[TickRecord] = msgspec.field(default_factory=list)


class Journal(Protocol):
    """What waits in the broker for Postgres. Three streams a queue: `journal`, `dead` and `ticks`."""

    async def waiting_in(self, queues: Sequence[str], kind: JournalKind | None = None) -> list[str]:
        """Those of *queues* with anything in that stream, or in any: one look, where there mostly is nothing."""
        ...

    async def epoch(self, queue: str) -> str | None:
        """The identity of this broker's data for *queue*: a flushed broker has a new one. None: nothing yet."""
        ...

    async def primary(self, queue: str) -> str:
        """The identity of the server that holds *queue*: another after a failover. Empty where it will not say."""
        ...

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        """Up to *count* entries after the cursor *after* (`0-0` is the beginning), or None. Fewer where they are
        large, and *full* is said of that many."""
        ...

    async def trim(self, queue: str, kind: JournalKind, *, upto: str, primary: str) -> None:
        """Drop everything up to and including *upto*, on this primary only. Safe to repeat."""
        ...


class Broker(Protocol):
    """The queues, for producers, operators, the scheduler and as the source of consumers."""

    @property
    def journal(self) -> Journal: ...

    @property
    def timetable(self) -> Timetable: ...

    async def enqueue(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        """Queue them, in order, one result each; concurrent calls share round trips.

        Raises:
            BrokerUnavailable: nothing was queued.
            Backpressure: the broker is full; nothing was queued.
            EnqueueUncertain: no answer in time.
        """
        ...

    async def join(self, queues: Sequence[str], *, slots: int | None = None) -> Consumer:
        """Register a new consumer on *queues* and make the queues where they are missing.

        *slots*, its host and its process are told by `workers`.
        """
        ...

    async def promote(self, queue: str) -> timedelta | None:
        """Make due jobs ready. Returns the time until the next one is due (0: there are more now), or None."""
        ...

    async def listen(self, queues: Sequence[str], heard: Callable[[str], None], *, wait: timedelta) -> None:
        """For *wait*, call *heard* with each of *queues* on which a job was delayed that is due before the others
        there, and within seconds. One listener hears of each."""
        ...

    async def reap(self, queue: str, *, unless_within: timedelta = timedelta(0)) -> int:
        """Give the jobs of dead workers back, unless a reaper has looked within that time. Returns how many."""
        ...

    async def cancel(self, queue: str, job_id: str) -> JobState | None:
        """Cancel a job. `cancelled`: it was waiting and is gone; `running`: its worker was asked; None: not live."""
        ...

    async def locate(self, queue: str, job_id: str) -> Found | None:
        """Where a job is, or None when it is not live."""
        ...

    async def locate_in(self, queues: Sequence[str], job_id: str) -> Found | None:
        """Where a job is, in the first of *queues* where it is live; many queues are asked at once."""
        ...

    async def jobs(
        self, queue: str, place: Place, *, limit: int, after: str | None = None
    ) -> tuple[list[Found], str | None]:
        """A page of live jobs, and the cursor of the next (None: this was the last).

        Queued ones in the order in which they will be taken, running ones by when they became ready, delayed
        ones by when they are due. A page has at most *limit* jobs, and fewer where their bodies are large; it
        costs the same however deep it lies. What stays in its place while the pages are read is shown exactly
        once; what moves meanwhile may be shown twice or not at all.

        Raises:
            ConfigError: *limit* is not 1 to 200, or *after* is not a cursor that this method returned for *place*.
        """
        ...

    async def hasten(self, queue: str, job_id: str) -> JobState | None:
        """Make a delayed job ready now. `queued`: it is ready, now or already; `running`: it runs; None: not live."""
        ...

    async def result(self, queue: str, job_id: str) -> bytes | None:
        """The kept outcome of an ended job, JSON `{"outcome": ..., "result": ..., "error": ...}`; None: none."""
        ...

    async def result_in(self, queues: Sequence[str], job_id: str) -> tuple[str, bytes] | None:
        """The first of *queues* that keeps the outcome of this job, and the outcome; many are asked at once."""
        ...

    async def pause(self, queue: str) -> None: ...

    async def resume(self, queue: str) -> None: ...

    async def purge(self, queue: str, priorities: Iterable[Priority], *, delayed: bool) -> int:
        """Cancel everything that waits; running jobs go on. Returns how many."""
        ...

    async def queues(self) -> list[str]: ...

    async def stats(self, queue: str) -> QueueStats: ...

    async def workers(self, queue: str) -> list[WorkerInfo]: ...

    async def close(self) -> None: ...
