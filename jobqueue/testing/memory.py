"""A broker in memory, for tests of programs that use jobqueue: no server, and a clock of your choice.

It keeps every promise of `jobqueue.broker.base`, in the same contract suite as Redis, but for what only
a server has: it cannot be full or away, its journal has no bound, and reaping knows no amnesty.
"""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from jobqueue.broker.base import (
    Beat,
    Delivery,
    Enqueued,
    EnqueueResult,
    Found,
    JournalPage,
    QueueStats,
    Settlement,
    Submission,
    WorkerInfo,
)
from jobqueue.broker.dead_letters import matches, stored
from jobqueue.broker.entry import OUTCOME_NAMES, digest, failure_json, failure_of
from jobqueue.clock import Clock, SystemClock, to_ms
from jobqueue.errors import DeadLetterNotFound, InvalidJob, LeaseLost
from jobqueue.job import PRIORITIES, Job, JobState, Priority, canonical_id, check_name, decode_envelope
from jobqueue.outcome import (
    Cancelled,
    Completed,
    Crashed,
    Dead,
    DeadReason,
    Expired,
    Outcome,
    Released,
    Retrying,
    Snoozed,
    decide_crash,
)
from jobqueue.record import DeadLetter, Execution, JournalKind
from jobqueue.repository.base import LetterFilter, StoredLetter

_BLOCK = timedelta(seconds=2)


@dataclass(slots=True)
class _Queue:
    name: str
    epoch: str = field(default_factory=lambda: uuid.uuid4().hex)
    ready: list[dict[bytes, Delivery]] = field(default_factory=lambda: [{} for _ in PRIORITIES])
    """By rank; entry id -> job, oldest first."""
    held: dict[str, dict[str, Delivery]] = field(default_factory=dict)
    """Consumer -> job id -> what it was given."""
    delayed: dict[str, tuple[int, Delivery]] = field(default_factory=dict)
    live: dict[str, Delivery] = field(default_factory=dict)
    """Every job that has not ended, as it was last queued; one that waits for its time has no entry id."""
    leases: dict[str, int] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    unique: dict[str, str] = field(default_factory=dict)
    dedupe: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Idempotency key -> until when, job id, digest."""
    progress: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    journal: dict[str, list[Execution]] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)
    paused: bool = False

    def holder(self, job_id: str) -> str | None:
        return next((consumer for consumer, jobs in self.held.items() if job_id in jobs), None)


class MemoryBroker:
    """See `jobqueue.broker.base.Broker`. *clock* decides what is due or expired; *block* is real time."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        lease: timedelta = timedelta(seconds=15),
        max_crashes: int = 3,
        history: bool = False,
        block: timedelta = _BLOCK,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.lease_ms = to_ms(lease)
        self.block_s = block.total_seconds()
        self.history = history
        self.journal = MemoryJournal(self)
        self.arrived = asyncio.Event()
        self._max_crashes = max_crashes
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count()
        self._names = itertools.count(1)

    def queue(self, name: str) -> _Queue:
        """The queue of that name, made where it is missing."""
        if name not in self._queues:
            self._queues[name] = _Queue(check_name("queue", name))
        return self._queues[name]

    # producers

    async def enqueue(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        return [self._enqueue(submission) for submission in submissions]

    def _enqueue(self, submission: Submission) -> EnqueueResult:
        job, body = submission.job, submission.job.to_wire()
        queue, now = self.queue(job.queue), self.clock.now_ms()
        standing = self._standing(queue, submission, body, now)
        if standing is not None:
            return standing
        if submission.idempotency_key is not None:
            until = now + to_ms(submission.idempotency_ttl)
            queue.dedupe[submission.idempotency_key] = (until, job.id, digest(submission, body))
        if job.unique_key is not None:
            queue.unique[job.unique_key] = job.id
        queue.counted["enqueued"] += 1
        queue.counted["requeued"] += submission.generation > 0
        fresh = Delivery(
            queue=queue.name,
            rank=job.priority.rank,
            entry_id=b"",
            job_id=job.id,
            body=body,
            generation=submission.generation,
            expires_ms=now + to_ms(job.expires) if job.expires is not None else 0,
            unique_key=job.unique_key,
        )
        self._put(queue, fresh, due_ms=_due_ms(submission, now))
        return EnqueueResult(Enqueued.NEW, job.id)

    def _standing(self, queue: _Queue, submission: Submission, body: bytes, now: int) -> EnqueueResult | None:
        """Who stands already where this job would."""
        job, key = submission.job, submission.idempotency_key
        if key is not None and (kept := queue.dedupe.get(key)) and kept[0] > now:
            same = kept[2] == digest(submission, body)
            return EnqueueResult(Enqueued.EXISTS if same else Enqueued.CONFLICT, kept[1])
        if job.unique_key is not None and job.unique_key in queue.unique:
            return EnqueueResult(Enqueued.EXISTS, queue.unique[job.unique_key])
        if job.id in queue.live:
            return EnqueueResult(Enqueued.EXISTS, job.id)
        return None

    def _put(self, queue: _Queue, job: Delivery, *, due_ms: int) -> None:
        """Make a job ready, or let it wait for its time."""
        if due_ms > self.clock.now_ms():
            queue.live[job.job_id] = waiting = msgspec.structs.replace(job, entry_id=b"")
            queue.delayed[job.job_id] = (due_ms, waiting)
            return
        queue.live[job.job_id] = ready = msgspec.structs.replace(job, entry_id=self._entry_id())
        queue.ready[job.rank][ready.entry_id] = ready
        self.arrived.set()

    def _entry_id(self) -> bytes:
        return b"%d-%d" % (self.clock.now_ms(), next(self._numbers))

    # workers

    async def join(self, queues: Sequence[str]) -> "MemoryConsumer":
        name = f"memory:{next(self._names)}"
        for queue in queues:
            self.queue(queue).leases[name] = self.clock.now_ms() + self.lease_ms
        return MemoryConsumer(self, name, queues)

    def settle(self, queue: _Queue, settlements: Iterable[Settlement], worker: str) -> None:
        """Carry out the outcomes of deliveries that are still *worker*'s."""
        executions = []
        for settlement in settlements:
            taken = settlement.delivery
            current = queue.held.get(worker, {}).get(taken.job_id)
            if current is None or current.receipt != taken.receipt:
                continue
            outcome = self._settle(queue, settlement, worker)
            executions.append(_execution(settlement, outcome, worker))
        if executions and self.history:
            queue.journal[self._entry_id().decode()] = executions

    def _settle(self, queue: _Queue, settlement: Settlement, worker: str) -> Outcome:
        taken, outcome, now = settlement.delivery, settlement.outcome, self.clock.now_ms()
        del queue.held[worker][taken.job_id]
        stop = taken.job_id in queue.asked
        queue.asked.discard(taken.job_id)
        queue.progress.pop(taken.job_id, None)
        if stop and not isinstance(outcome, Completed | Dead | Expired):
            outcome = Cancelled()
        match outcome:
            case Retrying(delay_ms=delay_ms, failure=failure):
                again = _again(taken, attempt=taken.attempt + 1, last_error=failure.error_class)
                self._put(queue, again, due_ms=now + delay_ms)
            case Snoozed(delay_ms=delay_ms, deferral=deferral):
                self._put(queue, _again(taken, deferrals=taken.deferrals + deferral), due_ms=now + delay_ms)
            case Released():
                self._put(queue, taken, due_ms=now)
            case Crashed(final=False):
                counts = {"attempt": taken.attempt + 1, "crashes": taken.crashes + 1}
                self._put(queue, _again(taken, last_error="WorkerDied", **counts), due_ms=now)
            case _:
                self._end(queue, settlement, outcome, worker)
        return outcome

    def _end(self, queue: _Queue, settlement: Settlement, outcome: Outcome, worker: str) -> None:
        taken = settlement.delivery
        self._forget(queue, taken)
        ended = "dead" if isinstance(outcome, Dead | Crashed) else OUTCOME_NAMES[type(outcome)]
        queue.counted[ended] += 1
        if ended == "dead":
            letter = _letter(taken, outcome, self._entry_id(), worker)
            queue.dead[letter.entry_id] = letter
        if settlement.result_ttl_ms:
            until = self.clock.now_ms() + settlement.result_ttl_ms
            queue.results[taken.job_id] = (until, _result(ended, outcome))

    def _forget(self, queue: _Queue, job: Delivery) -> None:
        """A job is not live any more, wherever it waited."""
        del queue.live[job.job_id]
        queue.delayed.pop(job.job_id, None)
        queue.ready[job.rank].pop(job.entry_id, None)
        if job.unique_key is not None and queue.unique.get(job.unique_key) == job.job_id:
            del queue.unique[job.unique_key]

    # scheduler

    async def promote(self, queue: str) -> timedelta | None:
        of, now = self.queue(queue), self.clock.now_ms()
        for job_id, (due_ms, job) in sorted(of.delayed.items(), key=lambda each: each[1][0]):
            if due_ms > now:
                return timedelta(milliseconds=due_ms - now)
            del of.delayed[job_id]
            self._put(of, job, due_ms=now)
        return None

    async def reap(self, queue: str) -> int:
        of, now = self.queue(queue), self.clock.now_ms()
        dead = [name for name in {**of.held, **of.leases} if of.leases.get(name, 0) < now]
        jobs = 0
        for consumer in dead:
            of.leases.pop(consumer, None)
            given = list(of.held.get(consumer, {}).values())
            jobs += len(given)
            self.settle(of, [self._crashed(job, consumer, now) for job in given], consumer)
            of.held.pop(consumer, None)
        return jobs

    def _crashed(self, job: Delivery, consumer: str, now: int) -> Settlement:
        outcome = decide_crash(consumer, crashes=job.crashes, max_crashes=self._max_crashes)
        stop = job.job_id in self.queue(job.queue).asked
        return Settlement(
            delivery=job,
            outcome=Cancelled() if stop else outcome,
            type=decode_envelope(job.body).type,
            started_ms=now,
            result_ttl_ms=decode_envelope(job.body).result_ttl_ms,
        )

    # operators

    async def cancel(self, queue: str, job_id: str) -> JobState | None:
        of, job_id = self.queue(queue), canonical_id(job_id)
        job = of.live.get(job_id)
        if job is None:
            return None
        if of.holder(job_id) is not None:
            of.asked.add(job_id)
            return JobState.RUNNING
        self._forget(of, job)
        of.counted["cancelled"] += 1
        if self.history:
            now = self.clock.now_ms()
            gone = Settlement(
                delivery=msgspec.structs.replace(job, attempt=0, entry_id=b"%d-0" % now),
                outcome=Cancelled(),
                type=decode_envelope(job.body).type,
                started_ms=now,
            )
            of.journal[self._entry_id().decode()] = [_execution(gone, gone.outcome, "")]
        return JobState.CANCELLED

    async def locate(self, queue: str, job_id: str) -> Found | None:
        of, job_id = self.queue(queue), canonical_id(job_id)
        job = of.live.get(job_id)
        if job is None:
            return None
        worker = of.holder(job_id)
        return Found(
            job=Job.from_wire(
                job.body, id=job_id, queue=queue, priority=PRIORITIES[job.rank], unique_key=job.unique_key
            ),
            state=_state(job, worker),
            attempt=job.attempt,
            due_ms=of.delayed[job_id][0] if job_id in of.delayed else None,
            worker=worker,
            last_error=job.last_error,
            progress=of.progress.get(job_id),
            cancel_requested=job_id in of.asked,
        )

    async def result(self, queue: str, job_id: str) -> bytes | None:
        until, kept = self.queue(queue).results.get(canonical_id(job_id), (0, None))
        return kept if until > self.clock.now_ms() else None

    async def pause(self, queue: str) -> None:
        self.queue(queue).paused = True

    async def resume(self, queue: str) -> None:
        self.queue(queue).paused = False

    async def purge(self, queue: str, priorities: Iterable[Priority], *, delayed: bool) -> int:
        of, ranks = self.queue(queue), {priority.rank for priority in priorities}
        waiting = [job for rank in ranks for job in of.ready[rank].values()]
        if delayed:
            waiting += [job for _, job in of.delayed.values() if job.rank in ranks]
        for job in waiting:
            self._forget(of, job)
        of.counted["cancelled"] += len(waiting)
        return len(waiting)

    async def queues(self) -> list[str]:
        return sorted(self._queues)

    async def stats(self, queue: str) -> QueueStats:
        of, now = self.queue(queue), self.clock.now_ms()
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
        of, now = self.queue(queue), self.clock.now_ms()
        names = {*of.leases, *(name for name, jobs in of.held.items() if jobs)}
        return [
            WorkerInfo(
                name=name,
                queue=queue,
                running=len(of.held.get(name, ())),
                lease_ms=of.leases[name] - now if name in of.leases else 0,
            )
            for name in sorted(names)
        ]

    async def close(self) -> None:
        """Nothing to close."""


class MemoryConsumer:
    """See `jobqueue.broker.base.Consumer`; made by `MemoryBroker.join`."""

    def __init__(self, broker: MemoryBroker, name: str, queues: Sequence[str]) -> None:
        self.name = name
        self.queues = tuple(queues)
        self._broker = broker

    async def fetch(self, want: int, *, skip: Collection[str] = ()) -> list[Delivery]:
        self._broker.arrived.clear()
        taken = self._take(want, skip)
        if not taken:
            try:
                await asyncio.wait_for(self._broker.arrived.wait(), self._broker.block_s)
            except TimeoutError:
                return []
            taken = self._take(want, skip)
        return taken

    def _take(self, want: int, skip: Collection[str]) -> list[Delivery]:
        taken: list[Delivery] = []
        for name in self.queues:
            queue = self._broker.queue(name)
            for ready in queue.ready if name not in skip else ():
                for entry_id in list(ready)[: want - len(taken)]:
                    job = ready.pop(entry_id)
                    queue.held.setdefault(self.name, {})[job.job_id] = job
                    taken.append(msgspec.structs.replace(job))
        return taken

    async def adopt(self) -> list[Delivery]:
        held = [self._broker.queue(name).held.get(self.name, {}) for name in self.queues]
        return [msgspec.structs.replace(job) for jobs in held for job in jobs.values()]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        names = {settlement.delivery.queue for settlement in settlements}
        queues = [self._broker.queue(name) for name in sorted(names)]
        for queue in queues:
            if self.name in queue.leases:
                mine = [each for each in settlements if each.delivery.queue == queue.name]
                self._broker.settle(queue, mine, self.name)
        if not all(self.name in queue.leases for queue in queues):
            raise LeaseLost(f"{self.name} was reaped; its jobs were given to others and its settlement refused")

    def heartbeat(self) -> "MemoryHeartbeat":
        return MemoryHeartbeat(self._broker, self.name, self.queues)

    def now_ms(self) -> int:
        return self._broker.clock.now_ms()

    async def leave(self) -> None:
        for name in self.queues:
            self._broker.queue(name).leases.pop(self.name, None)

    async def close(self) -> None:
        """Nothing to close."""


class MemoryHeartbeat:
    """See `jobqueue.broker.base.Heartbeat`."""

    def __init__(self, broker: MemoryBroker, name: str, queues: Sequence[str]) -> None:
        self._broker = broker
        self._name = name
        self._queues = queues

    def beat(self, progress: Mapping[str, Mapping[str, bytes]]) -> list[Beat]:
        return [self._beat(queue, progress.get(queue, {})) for queue in self._queues]

    def _beat(self, name: str, progress: Mapping[str, bytes]) -> Beat:
        queue = self._broker.queue(name)
        if self._name not in queue.leases:
            return Beat(queue=name, alive=False)
        queue.leases[self._name] = self._broker.clock.now_ms() + self._broker.lease_ms
        queue.progress.update({job_id: text for job_id, text in progress.items() if job_id in queue.live})
        return Beat(queue=name, alive=True, paused=queue.paused, cancel=frozenset(queue.asked))

    def close(self) -> None:
        """Nothing to close."""


class MemoryJournal:
    """See `jobqueue.broker.base.Journal`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def epoch(self, queue: str) -> str | None:
        return self._broker.queue(queue).epoch if queue in await self._broker.queues() else None

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        of = self._broker.queue(queue)
        entries: dict[str, Any] = of.journal if kind == "journal" else of.dead
        ids = [entry_id for entry_id in entries if _order(entry_id) > _order(after)][:count]
        if not ids:
            return None
        if kind == "dead":
            return JournalPage(last=ids[-1], dead_letters=[of.dead[entry_id] for entry_id in ids])
        return JournalPage(last=ids[-1], executions=[each for entry_id in ids for each in of.journal[entry_id]])

    async def trim(self, queue: str, kind: JournalKind, *, upto: str) -> None:
        of = self._broker.queue(queue)
        entries: dict[str, Any] = of.journal if kind == "journal" else of.dead
        for entry_id in [each for each in entries if _order(each) <= _order(upto)]:
            del entries[entry_id]


class MemoryDeadLetters:
    """See `jobqueue.repository.base.DeadLetters`; over the letters that a `MemoryBroker` holds."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        found = [letter for letter in await self._all() if matches(where, letter)]
        if after is not None:
            found = [letter for letter in found if _order(letter.letter.entry_id) < _order(after)]
        return found[:limit], found[limit - 1].letter.entry_id if len(found) > limit else None

    async def count(self, where: LetterFilter) -> int:
        return sum(matches(where, letter) for letter in await self._all())

    async def get(self, job_id: str) -> StoredLetter:
        for letter in await self._all():
            if letter.letter.job_id == job_id.lower():
                return letter
        raise DeadLetterNotFound(f"no dead letter of job {job_id!r:.64}")

    async def requeue(self, job_id: str) -> bool:
        letter = (await self.get(job_id)).letter
        queue = self._broker.queue(letter.queue)
        if letter.unique_key is not None and queue.unique.get(letter.unique_key, letter.job_id) != letter.job_id:
            raise InvalidJob(
                f"dead letter of job {letter.job_id} cannot be requeued: live job {queue.unique[letter.unique_key]} "
                f"holds its unique key {letter.unique_key!r}; cancel that one, or try again when it has ended"
            )
        alive = letter.job_id in queue.live
        del queue.dead[letter.entry_id]
        if alive:
            queue.counted["requeued"] += 1
            return False
        job = Job.from_wire(
            letter.body, id=letter.job_id, queue=queue.name, priority=letter.priority, unique_key=letter.unique_key
        )
        await self._broker.enqueue([Submission(job=job, generation=letter.generation + 1)])
        return True

    async def delete(self, job_id: str) -> bool:
        try:
            letter = (await self.get(job_id)).letter
        except DeadLetterNotFound:
            return False
        queue = self._broker.queue(letter.queue)
        del queue.dead[letter.entry_id]
        queue.counted["purged"] += 1
        return True

    async def _all(self) -> Sequence[StoredLetter]:
        queues = [self._broker.queue(name) for name in await self._broker.queues()]
        letters = [letter for queue in queues for letter in queue.dead.values()]
        return [stored(letter) for letter in sorted(letters, key=lambda each: _order(each.entry_id), reverse=True)]


def _again(taken: Delivery, **changes: Any) -> Delivery:
    return msgspec.structs.replace(taken, **changes)


def _due_ms(submission: Submission, now: int) -> int:
    if submission.delay is not None:
        return now + to_ms(submission.delay)
    return submission.run_at_ms if submission.run_at_ms is not None else now


def _state(job: Delivery, worker: str | None) -> JobState:
    if worker is not None:
        return JobState.RUNNING
    if job.entry_id:
        return JobState.QUEUED
    return JobState.RETRYING if job.attempt > 1 else JobState.SCHEDULED


def _execution(settlement: Settlement, outcome: Outcome, worker: str) -> Execution:
    taken = settlement.delivery
    failure = failure_of(settlement) if outcome is settlement.outcome else None
    return Execution(
        job_id=taken.job_id,
        queue=taken.queue,
        type=settlement.type,
        priority=PRIORITIES[taken.rank],
        generation=taken.generation,
        attempt=taken.attempt,
        outcome=OUTCOME_NAMES[type(outcome)],
        worker=worker,
        queued_ms=taken.queued_ms,
        started_ms=settlement.started_ms,
        duration_ms=round(settlement.duration_ms, 3),
        error_class=failure.error_class if failure else None,
        error_message=failure.message if failure else None,
        traceback=failure.traceback if failure else None,
    )


def _letter(taken: Delivery, outcome: Outcome, entry_id: bytes, worker: str) -> DeadLetter:
    assert isinstance(outcome, Dead | Crashed)
    return DeadLetter(
        entry_id=entry_id.decode(),
        queue=taken.queue,
        priority=PRIORITIES[taken.rank],
        job_id=taken.job_id,
        body=taken.body,
        reason=outcome.reason.value if isinstance(outcome, Dead) else DeadReason.CRASHED.value,
        error_class=outcome.failure.error_class,
        error_message=outcome.failure.message,
        traceback=outcome.failure.traceback,
        attempts=taken.attempt,
        crashes=taken.crashes + isinstance(outcome, Crashed),
        generation=taken.generation,
        unique_key=taken.unique_key,
        worker=worker,
        died_ms=int(entry_id.partition(b"-")[0]),
    )


def _result(ended: str, outcome: Outcome) -> bytes:
    value = outcome.result_json if isinstance(outcome, Completed) else None
    failure = getattr(outcome, "failure", None)
    error = failure_json(failure) if failure is not None else None
    return b'{"outcome":"%b","result":%b,"error":%b}' % (ended.encode(), value or b"null", error or b"null")


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n)
