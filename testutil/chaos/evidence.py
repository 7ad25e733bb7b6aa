"""Everything known about a run, indexed for the checks. Pure: the unit tests write it by hand."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testutil.chaos.final import Executed, FinalState
from testutil.chaos.history import (
    Answer,
    Call,
    Edited,
    Editing,
    End,
    Event,
    Fault,
    Logged,
    Record,
    Rejected,
    SelfKill,
    Settled,
    Start,
    Ticked,
    read_events,
    read_faults,
    read_logs,
    read_records,
)
from testutil.chaos.sampler import Sample, read_samples
from testutil.chaos.timetable import TASK
from testutil.chaos.verdict import Rules

CREATES = ("new", "uncertain", "")
"""Answers of an enqueue after which the job may have been created; the last: its producer was killed before one."""
MADE = ("fired", "backfilled", "run")
"""Decisions about a tick that made a job."""
TERMINAL = ("completed", "dead", "cancelled", "expired")
OWN_FAULTS = ("worker.", "producer.", "scheduler.", "history.")
"""Kinds of faults that cut no worker off from Redis: they are done to processes, or to Postgres."""
_STALE_PRIMARY_S = 8.0
"""How long an old primary that comes back may serve before it is told that it is one no more."""
CUT_OFF_LASTS_S = 10.0
"""How long after a fault of the wire or of a server a worker may still find its lease gone."""


@dataclass(slots=True, kw_only=True)
class Enqueue:
    """An enqueue with its answer; *answered* is infinite where there was none."""

    call: Call
    answer: str = ""
    as_id: str = ""
    answered: float = float("inf")

    @property
    def created(self) -> bool:
        """Whether it may have created the job."""
        return self.answer in CREATES


@dataclass(slots=True, kw_only=True)
class Change:
    """An edit of a schedule with its answer; *ended* is infinite where there was none."""

    op: str
    name: str
    mark: str
    began: float
    ended: float = float("inf")
    answer: str = ""
    version: int = 0
    jobs: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Ending:
    """Why a worker incarnation held its jobs no longer. *why*: killed, self_killed, ended, terminated, lease_lost,
    abandoned; *told*: what it logged."""

    at: float
    why: str
    told: str = ""


@dataclass(slots=True, kw_only=True)
class Incarnation:
    """One consumer: which process it was in, and how it ended."""

    name: str
    member: str
    generation: int
    endings: list[Ending] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """See the fields' types; those keyed by job id are in order of time."""

    final: FinalState
    rules: Rules
    faults: Sequence[Fault]
    samples: Sequence[Sample]
    logs: Sequence[Logged]
    enqueues: dict[str, list[Enqueue]]
    cancels: dict[str, list[Enqueue]]
    requeues: dict[str, list[Enqueue]]
    starts: dict[str, list[Start]]
    ends: dict[tuple[str, int, str], list[End]]
    settled: list[Settled]
    rejected: list[Rejected]
    executions: dict[str, list[Executed]]
    incarnations: dict[str, Incarnation]
    stops: dict[tuple[str, int], list[tuple[float, float]]]
    confirmed: dict[str, list[Settled]]
    deaths: dict[tuple[str, int], float]
    changes: list[Change]
    ticked: list[Ticked]

    def creations(self, job_id: str) -> int:
        """How often the job may have been created, at most: with an idempotency key once."""
        made = [each for each in self.enqueues.get(job_id, ()) if each.created]
        keyed = bool(made) and all(each.call.key for each in made)
        return 1 if keyed and not self.rules.loses else len(made)

    def forgotten_between(self, begin: float, end: float) -> Fault | None:
        """A fault in which the servers may have forgotten something written around this time."""
        if not self.rules.loses:
            return None
        slack = max(self.rules.lease_s, _STALE_PRIMARY_S)
        return next(
            (each for each in self.faults if each.loses and each.began <= end and each.ended + slack >= begin), None
        )

    def forgets_after(self, at: float, within_s: float = 30.0) -> Fault | None:
        """A fault that may have made the servers forget what was written at *at*."""
        if not self.rules.loses:
            return None
        return next(
            (
                each
                for each in self.faults
                if each.loses and at - _STALE_PRIMARY_S <= each.ended and each.began <= at + within_s
            ),
            None,
        )

    def cut_off(self, member: str, at: float) -> Fault | None:
        """A fault shortly before *at* by which a member may have been cut off from Redis."""
        return next((each for each in self.faults if _cuts_off(each, member, at)), None)


def _cuts_off(fault: Fault, member: str, at: float) -> bool:
    if fault.kind.startswith(OWN_FAULTS) or (fault.target.startswith("worker-") and fault.target != member):
        return False
    return fault.began <= at and fault.ended + CUT_OFF_LASTS_S >= at


def load(folder: Path, final: FinalState, rules: Rules) -> Evidence:
    """Read a run's folder."""
    return gather(
        final,
        rules,
        records=read_records(folder),
        events=read_events(folder),
        faults=read_faults(folder),
        logs=read_logs(folder),
        samples=read_samples(folder),
    )


def gather(
    final: FinalState,
    rules: Rules,
    *,
    records: Iterable[tuple[str, Record]] = (),
    events: Iterable[Event] = (),
    faults: Iterable[Fault] = (),
    logs: Iterable[Logged] = (),
    samples: Iterable[Sample] = (),
) -> Evidence:
    """Index what was written down; *records* come with the name of their file, `worker-3.1`."""
    evidence = Evidence(
        final=final,
        rules=rules,
        faults=sorted(faults, key=lambda fault: fault.began),
        samples=list(samples),
        logs=sorted(logs, key=lambda line: line.at),
        enqueues=defaultdict(list),
        cancels=defaultdict(list),
        requeues=defaultdict(list),
        starts=defaultdict(list),
        ends=defaultdict(list),
        settled=[],
        rejected=[],
        executions=defaultdict(list),
        incarnations={},
        stops=defaultdict(list),
        confirmed=defaultdict(list),
        deaths={},
        changes=[],
        ticked=[],
    )
    _take_records(evidence, records)
    _take_ticks(evidence)
    for row in final.executions:
        evidence.executions[row.id].append(row)
    _take_logs(evidence)
    _take_events(evidence, sorted(events, key=lambda event: event.at))
    for starts in evidence.starts.values():
        starts.sort(key=lambda start: start.at)
    return evidence


def _take_records(evidence: Evidence, records: Iterable[tuple[str, Record]]) -> None:
    asked: dict[tuple[str, int], Enqueue] = {}
    edits: dict[tuple[str, int], Change] = {}
    by_op = {"enqueue": evidence.enqueues, "cancel": evidence.cancels, "requeue": evidence.requeues}
    for source, record in records:
        match record:
            case Call():
                asked[source, record.n] = call = Enqueue(call=record)
                by_op[record.op][record.id].append(call)
            case Answer():
                call = asked[source, record.n]
                call.answer, call.as_id, call.answered = record.answer, record.as_id, record.at
            case Start():
                evidence.starts[record.id].append(record)
                _incarnation(evidence, record.worker, source)
            case End():
                evidence.ends[record.id, record.attempt, record.worker].append(record)
            case Settled():
                evidence.settled.append(record)
                evidence.confirmed[record.id].append(record)
            case Rejected():
                evidence.rejected.append(record)
            case Ticked():
                evidence.ticked.append(record)
            case Editing():
                edits[source, record.n] = Change(op=record.op, name=record.name, mark=record.mark, began=record.at)
            case Edited():
                change = edits[source, record.n]
                change.ended, change.answer = record.at, record.answer
                change.version, change.jobs = record.version, record.jobs
            case SelfKill():
                _incarnation(evidence, record.worker, source).endings.append(Ending(at=record.at, why="self_killed"))
    evidence.changes = sorted(edits.values(), key=lambda change: change.began)


def _take_ticks(evidence: Evidence) -> None:
    """The job of a tick that fired was enqueued, and that was answered, as any other."""
    for row in set(evidence.final.ticks):
        if row.decision in MADE:
            at = row.at_ms / 1000
            evidence.enqueues[row.job_id].append(_made(row.job_id, at, queue=row.queue, due=row.tick_ms / 1000))
    for change in evidence.changes:
        for job_id in change.jobs:
            if job_id not in evidence.enqueues:
                evidence.enqueues[job_id].append(_made(job_id, change.ended))


def _made(job_id: str, at: float, *, queue: str = "", due: float = 0.0) -> Enqueue:
    call = Call(at=at, n=0, op="enqueue", id=job_id, queue=queue, type=TASK, due=due)
    return Enqueue(call=call, answer="new", as_id=job_id, answered=at)


def _take_logs(evidence: Evidence) -> None:
    current: dict[tuple[str, int], str] = {}
    for line in evidence.logs:
        source = f"{line.member}.{line.generation}"
        if line.event == "worker.joined":
            current[line.member, line.generation] = line.fields["worker"]
            _incarnation(evidence, line.fields["worker"], source)
        elif line.event == "lease.lost":
            told = str(line.fields.get("error", ""))
            _incarnation(evidence, line.fields["worker"], source).endings.append(
                Ending(at=line.at, why="lease_lost", told=told)
            )
        elif line.event == "lease.gone" and (name := current.get((line.member, line.generation))):
            # Its thread knows at once; `lease.lost` is told by its loop, which may be blocked.
            told = str(line.fields.get("reason", ""))
            evidence.incarnations[name].endings.append(Ending(at=line.at, why="lease_lost", told=told))
        elif line.event == "lease.abandoned" and (name := current.get((line.member, line.generation))):
            evidence.incarnations[name].endings.append(Ending(at=line.at, why="abandoned"))


def _take_events(evidence: Evidence, events: Sequence[Event]) -> None:
    of_process: dict[tuple[str, int], list[Incarnation]] = defaultdict(list)
    for incarnation in evidence.incarnations.values():
        of_process[incarnation.member, incarnation.generation].append(incarnation)
    stopped: dict[tuple[str, int], float] = {}
    for event in events:
        process = event.member, event.generation
        if event.what == "stopped":
            stopped[process] = event.at
        elif process in stopped and event.what in ("continued", "killed", "ended"):
            evidence.stops[process].append((stopped.pop(process), event.at))
        if event.what in ("killed", "ended", "terminated"):
            evidence.deaths.setdefault(process, event.at)
            for incarnation in of_process[process]:
                incarnation.endings.append(Ending(at=event.at, why=event.what))
    for process, at in stopped.items():
        evidence.stops[process].append((at, float("inf")))


def _incarnation(evidence: Evidence, name: str, source: str) -> Incarnation:
    if name not in evidence.incarnations:
        member, _, generation = source.rpartition(".")
        evidence.incarnations[name] = Incarnation(name=name, member=member, generation=int(generation))
    return evidence.incarnations[name]
