"""How long the jobs of dead workers waited until they were given back."""

from collections.abc import Sequence
from dataclasses import dataclass

from testutil.chaos.evidence import OWN_FAULTS, Evidence, Incarnation
from testutil.chaos.history import Fault

_REAP_JITTER = 1.2
_MARGIN_S = 1.0
_RECONNECT_S = 5.0
_SOME_STILL_REAP = (*OWN_FAULTS, "link.")
"""Kinds of faults in which others than the workers they hit can still reach Redis."""
_FORCED = ("killed", "self_killed", "ended", "abandoned", "lease_lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One job of a dead worker: dead at *died*, given back *seconds* later, allowed *bound*. *clean*: no fault but
    those of processes came in between."""

    job_id: str
    worker: str
    died: float
    seconds: float
    bound: float
    clean: bool


def recoveries(evidence: Evidence) -> list[Recovery]:
    """Every job that the reaper gave back, or buried, for a worker lost at a known time."""
    found = []
    for rows in evidence.executions.values():
        for row in rows:
            if row.outcome != "crashed" and row.error != "WorkerDied":
                continue
            incarnation = evidence.incarnations.get(row.worker)
            died = _died(evidence, incarnation, row.started) if incarnation else None
            if died is not None:
                # One that woke up may take something more before it hears that it was reaped.
                found.append(_recovery(evidence, row.id, row.worker, max(died, row.queued), row.started))
    return found


def late(found: Sequence[Recovery]) -> list[str]:
    """Those that took longer than they may."""
    return [
        f"job {each.job_id} of {each.worker}, dead at {each.died:.3f}, was given back after {each.seconds:.2f} s; "
        f"the bound was {each.bound:.2f} s"
        for each in found
        if each.seconds > each.bound
    ]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max, s."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "max": round(ordered[-1], 3),
    }


def bound_s(evidence: Evidence) -> float:
    """What is promised: lease + reap tick + 1 s."""
    return evidence.rules.lease_s + evidence.rules.reap_s * _REAP_JITTER + _MARGIN_S


def _died(evidence: Evidence, incarnation: Incarnation, given_back: float) -> float | None:
    """Since when nobody heard of the worker: its death, the beginning of its last stop, or when it gave up."""
    stops = evidence.stops.get((incarnation.member, incarnation.generation), ())
    stopped = [began for began, ended in stops if began <= given_back <= ended + evidence.rules.lease_s]
    ends = [each.at for each in incarnation.endings if each.why in _FORCED and each.at <= given_back]
    return min([*ends, *stopped], default=None)


def _recovery(evidence: Evidence, job_id: str, worker: str, died: float, given_back: float) -> Recovery:
    faults = [
        fault
        for fault in evidence.faults
        if not fault.kind.startswith(_SOME_STILL_REAP)
        and fault.began <= given_back
        and fault.ended >= died - evidence.rules.lease_s
    ]
    bound = bound_s(evidence) + evidence.rules.grace_s
    for began, ended in _united(faults):
        # After each time without Redis: reconnecting, and an amnesty of a lease.
        bound += max(0.0, min(ended, given_back) - max(began, died)) + _RECONNECT_S + evidence.rules.lease_s
    return Recovery(
        job_id=job_id,
        worker=worker,
        died=died,
        seconds=max(0.0, given_back - died),
        bound=bound,
        clean=not faults,
    )


def _united(faults: Sequence[Fault]) -> list[tuple[float, float]]:
    """The times covered by *faults*, which are in order of their beginning."""
    united: list[tuple[float, float]] = []
    for fault in faults:
        if united and fault.began <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], fault.ended))
        else:
            united.append((fault.began, fault.ended))
    return united
