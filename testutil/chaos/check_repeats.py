"""Why a job was started again. Every start but a first attempt's first needs a cause that was written down.

The attempt number tells what to look for. A new number needs a settlement of the attempt before: `retrying`, or
`crashed` by a worker that had indeed died, been stopped or lost its lease. The same number again needs that the
attempt was put off or given back, or that this worker had taken it before it lost its lease. Number 1 needs that
the job was brought back or enqueued anew. Each settlement explains one start. What is left may be explained by a
fault in which the servers forgot.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from testutil.chaos.evidence import Ending, Evidence, Incarnation
from testutil.chaos.history import Start

_CLOCK_S = 0.005
_HEARS_LATE_S = 3.0
"""How long after its jobs were given away a worker that was not stopped may tell that it lost its lease."""
WANTED = ("retrying", "snoozed", "released", "requeued", "enqueued_again")
"""Causes by which a second start is what was asked for, and no duplicate."""


@dataclass(slots=True)
class _Settlement:
    """One that may explain one start after it."""

    attempt: int
    worker: str
    outcome: str
    at: float


Settlements = list[_Settlement]


def check_repeats(evidence: Evidence) -> tuple[list[str], Counter[str]]:
    """The starts without a cause, and how many there are of each cause."""
    unexplained, causes = [], Counter[str]()
    for job_id, starts in evidence.starts.items():
        left = _settlements(evidence, job_id)
        for place, start in enumerate(starts):
            if place == 0 and start.attempt == 1:
                continue
            cause = _cause(evidence, starts[:place], start, left)
            if cause is None:
                unexplained.append(_told(start, starts[:place]))
            else:
                causes[cause] += 1
    return unexplained, causes


def _cause(evidence: Evidence, earlier: Sequence[Start], start: Start, left: Settlements) -> str | None:
    return (
        _put_off(earlier, start, left)
        or _next_attempt(evidence, start, left)
        or _new_life(evidence, earlier, start)
        or _too_late(evidence, earlier, start)
        or ("forgotten" if earlier and evidence.forgotten_between(earlier[-1].at, start.at) else None)
    )


def _put_off(earlier: Sequence[Start], start: Start, left: Settlements) -> str | None:
    workers = {each.worker for each in earlier if each.attempt == start.attempt}
    for each in _before(start, left, start.attempt):
        if each.worker in workers and each.outcome in ("snoozed", "released"):
            left.remove(each)
            return each.outcome
    return None


def _next_attempt(evidence: Evidence, start: Start, left: Settlements) -> str | None:
    candidates = _before(start, left, start.attempt - 1)
    for each in candidates:
        if each.outcome == "retrying":
            left.remove(each)
            return "retrying"
    for each in candidates:
        died = death(evidence, each.worker, start.at) if each.outcome == "crashed" else None
        if died is not None:
            left.remove(each)
            return died
    return None


def _before(start: Start, left: Settlements, attempt: int) -> Settlements:
    """The settlements of an attempt that came before *start*, the last first."""
    found = [each for each in left if each.attempt == attempt and each.at <= start.at + _CLOCK_S]
    return sorted(found, key=lambda each: -each.at)


def _new_life(evidence: Evidence, earlier: Sequence[Start], start: Start) -> str | None:
    if start.attempt != 1 or not earlier:
        return None
    # What a worker starts that is about to hear of its lost lease may come after the end of that life, and the requeue.
    since = max((each.at for each in earlier if not _without_lease(evidence, each)), default=0.0) - _CLOCK_S
    for requeue in evidence.requeues.get(start.id, ()):
        if requeue.answered >= since and requeue.call.at <= start.at and requeue.answer not in ("refused", "not"):
            return "requeued"
    if evidence.creations(start.id) > 1:
        for enqueue in evidence.enqueues[start.id]:
            if enqueue.created and enqueue.answered >= since and enqueue.call.at <= start.at:
                return "enqueued_again"
    return None


def _without_lease(evidence: Evidence, start: Start) -> bool:
    incarnation = evidence.incarnations.get(start.worker)
    endings = () if incarnation is None else incarnation.endings
    return any(each.why in ("lease_lost", "abandoned") and each.at <= start.at + _HEARS_LATE_S for each in endings)


def _too_late(evidence: Evidence, earlier: Sequence[Start], start: Start) -> str | None:
    """A worker starts what it took before it lost its lease, not having heard of that yet: its loop was blocked, or
    it was stopped. Once for each time it took it: it may have run the same attempt in an earlier life of the job."""
    before = sum((each.attempt, each.worker) == (start.attempt, start.worker) for each in earlier)
    rows = evidence.executions.get(start.id, ())
    taken = [row.outcome for row in rows if (row.attempt, row.worker) == (start.attempt, start.worker)]
    if "crashed" not in taken or before >= len(taken):
        return None
    return "started_too_late" if death(evidence, start.worker, start.at) else None


def death(evidence: Evidence, worker: str, given_away: float) -> str | None:
    """How a worker came to hold nothing any more by *given_away*: `killed`, `stopped`, `lease_lost`; None: it lived."""
    incarnation = evidence.incarnations.get(worker)
    if incarnation is None:
        return None
    for began, ended in evidence.stops.get((incarnation.member, incarnation.generation), ()):
        if min(ended, given_away) - began >= evidence.rules.lease_s * 0.7:
            return "stopped"
    return next((each.why for each in incarnation.endings if _by(evidence, incarnation, each, given_away)), None)


def _by(evidence: Evidence, incarnation: Incarnation, ending: Ending, given_away: float) -> bool:
    if ending.why in ("lease_lost", "abandoned") or evidence.cut_off(incarnation.member, given_away):
        return ending.at - _stopped_between(evidence, incarnation, given_away, ending.at) <= given_away + _HEARS_LATE_S
    return ending.at <= given_away + _CLOCK_S


def _stopped_between(evidence: Evidence, incarnation: Incarnation, begin: float, end: float) -> float:
    """For how long it could not hear anything, being stopped."""
    stops = evidence.stops.get((incarnation.member, incarnation.generation), ())
    return sum(max(0.0, min(ended, end) - max(began, begin)) for began, ended in stops)


def _settlements(evidence: Evidence, job_id: str) -> Settlements:
    """From the history, and what a worker saw confirmed that is not there."""
    found = [
        _Settlement(row.attempt, row.worker, row.outcome, row.finished) for row in evidence.executions.get(job_id, ())
    ]
    known = Counter((each.attempt, each.worker, each.outcome) for each in found)
    for record in evidence.confirmed.get(job_id, ()):
        key = (record.attempt, record.worker, record.outcome)
        if known[key]:
            known[key] -= 1
        else:
            found.append(_Settlement(*key, record.at))
    return found


def _told(start: Start, earlier: Sequence[Start]) -> str:
    before = "; ".join(f"attempt {each.attempt} at {each.at:.3f} by {each.worker}" for each in earlier[-3:])
    return (
        f"job {start.id} ({start.type}) attempt {start.attempt} started at {start.at:.3f} by {start.worker} "
        f"without a cause; before it: {before or 'nothing'}"
    )
