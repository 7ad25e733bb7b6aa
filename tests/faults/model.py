"""A queue as plain Python: what the broker must agree with, step by step. No time passes in it by itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from jobqueue.broker.base import Enqueued, EnqueueResult, Submission
from jobqueue.job import JobState, Priority
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


@dataclass
class Live:
    """A live job. *turn* is its place in the order of its stream; *holder* runs it."""

    id: str
    number: int
    priority: Priority
    unique_key: str | None
    turn: int = 0
    attempt: int = 1
    crashes: int = 0
    deferrals: int = 0
    generation: int = 0
    last_error: str | None = None
    delayed: bool = False
    holder: str | None = None
    asked_to_stop: bool = False

    @property
    def state(self) -> JobState:
        if self.delayed:
            return JobState.SCHEDULED if self.attempt == 1 else JobState.RETRYING
        return JobState.QUEUED if self.holder is None else JobState.RUNNING


@dataclass(frozen=True)
class Letter:
    """A dead letter: the job as it was, and why."""

    job: Live
    reason: DeadReason


@dataclass
class Model:
    """One queue. Workers with a lease are in *leases*: True while it lasts, False when it has run out."""

    max_crashes: int
    live: dict[str, Live] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    keys: dict[str, tuple[str, tuple[int, Priority]]] = field(default_factory=dict)
    leases: dict[str, bool] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    paused: bool = False
    turns: int = 0

    # what there is

    def ready(self) -> list[Live]:
        """In the order of service."""
        waiting = [job for job in self.live.values() if not job.delayed and job.holder is None]
        return sorted(waiting, key=lambda job: (job.priority.rank, job.turn))

    def delayed(self) -> list[Live]:
        return [job for job in self.live.values() if job.delayed]

    def held_by(self, worker: str) -> list[Live]:
        held = [job for job in self.live.values() if job.holder == worker]
        return sorted(held, key=lambda job: (job.priority.rank, job.turn))

    def owner_of(self, unique_key: str | None) -> str | None:
        return next((job.id for job in self.live.values() if unique_key and job.unique_key == unique_key), None)

    def dead_workers(self) -> set[str]:
        """Those that hold jobs or are registered, without a lease that lasts."""
        holders = {job.holder for job in self.live.values() if job.holder}
        return {name for name in holders | set(self.leases) if not self.leases.get(name)}

    # producers and operators

    def enqueue(self, submissions: Sequence[Submission], numbers: Sequence[int]) -> list[EnqueueResult]:
        return [self._enqueue(*each) for each in zip(submissions, numbers, strict=True)]

    def _enqueue(self, submission: Submission, number: int) -> EnqueueResult:
        job, key = submission.job, submission.idempotency_key
        digest = (number, job.priority)
        if key in self.keys:
            holder, known = self.keys[key]
            return EnqueueResult(Enqueued.EXISTS if known == digest else Enqueued.CONFLICT, holder)
        if occupant := self.owner_of(job.unique_key) or (job.id if job.id in self.live else None):
            return EnqueueResult(Enqueued.EXISTS, occupant)
        if key is not None:
            self.keys[key] = (job.id, digest)
        self._add(Live(job.id, number, job.priority, job.unique_key, delayed=submission.delay is not None))
        return EnqueueResult(Enqueued.NEW, job.id)

    def cancel(self, job_id: str) -> JobState | None:
        job = self.live.get(job_id)
        if job is None:
            return None
        if job.holder is not None:
            job.asked_to_stop = True
            return JobState.RUNNING
        self._end(job, "cancelled")
        return JobState.CANCELLED

    def purge(self, priorities: Sequence[Priority], *, delayed: bool) -> int:
        gone = [*self.ready(), *(self.delayed() if delayed else ())]
        gone = [job for job in gone if job.priority in priorities]
        for job in gone:
            self._end(job, "cancelled")
        return len(gone)

    def promote(self, due: Iterable[str]) -> None:
        for job_id in due:
            self._queue(self.live[job_id])

    def hasten(self, job_id: str) -> JobState | None:
        job = self.live.get(job_id)
        if job is not None and job.delayed:
            self._queue(job)
        return job.state if job is not None else None

    def newest_letter(self, job_id: str) -> Letter | None:
        return next((letter for letter in reversed(self.letters) if letter.job.id == job_id), None)

    def may_requeue(self, letter: Letter) -> bool:
        return self.owner_of(letter.job.unique_key) in (None, letter.job.id)

    def requeue(self, letter: Letter) -> bool:
        self.letters.remove(letter)
        self.count["requeued"] += 1
        if letter.job.id in self.live:
            return False
        dead = letter.job
        self._add(Live(dead.id, dead.number, dead.priority, dead.unique_key, generation=dead.generation + 1))
        return True

    def delete(self, letter: Letter) -> None:
        self.letters.remove(letter)
        self.count["purged"] += 1

    # workers and reapers

    def take(self, job_ids: Iterable[str], worker: str) -> None:
        for job_id in job_ids:
            self.live[job_id].holder = worker

    def settle(self, job_id: str, outcome: Outcome) -> None:
        job = self.live[job_id]
        job.holder = None
        if job.asked_to_stop and isinstance(outcome, Retrying | Snoozed | Released):
            outcome = Cancelled()
        job.asked_to_stop = False
        match outcome:
            case Completed():
                self._end(job, "completed")
            case Cancelled():
                self._end(job, "cancelled")
            case Expired():
                self._end(job, "expired")
            case Dead(reason=reason):
                self._bury(job, reason)
            case Crashed(final=final):
                job.crashes += 1
                self._bury(job, DeadReason.CRASHED) if final else self._fail(job, "WorkerDied", 0)
            case Retrying(delay_ms=delay_ms, failure=failure):
                self._fail(job, failure.error_class, delay_ms)
            case Snoozed(delay_ms=delay_ms, deferral=deferral):
                job.deferrals += deferral
                self._queue(job, delay_ms)
            case Released():
                self._queue(job)

    def reap(self) -> int:
        """Give back what dead workers hold, and forget them. Returns how many jobs it was."""
        reaped = 0
        for name in sorted(self.dead_workers()):
            for job in self.held_by(name):
                crash = decide_crash("", crashes=job.crashes, max_crashes=self.max_crashes)
                self.settle(job.id, Cancelled() if job.asked_to_stop else crash)
                reaped += 1
            self.leases.pop(name, None)
        return reaped

    # transitions

    def _add(self, job: Live) -> None:
        self.live[job.id] = job
        self.count["enqueued"] += 1
        if not job.delayed:
            self._queue(job)

    def _queue(self, job: Live, delay_ms: int = 0) -> None:
        job.delayed = delay_ms > 0
        self.turns += 1
        job.turn = self.turns

    def _fail(self, job: Live, error_class: str, delay_ms: int) -> None:
        job.attempt += 1
        job.last_error = error_class
        self._queue(job, delay_ms)

    def _end(self, job: Live, counter: str) -> None:
        del self.live[job.id]
        self.count[counter] += 1

    def _bury(self, job: Live, reason: DeadReason) -> None:
        self._end(job, "died")
        self.letters.append(Letter(replace(job), reason))
