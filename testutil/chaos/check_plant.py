"""What the plant left behind, and how it stood while it ran: drift, consumers, connections, keys, leases."""

from testutil.chaos.evidence import CUT_OFF_LASTS_S, Ending, Evidence, Incarnation
from testutil.chaos.tasks import HOG_S

_EMPTY = ("jobs", "delayed", "cancel", "unique", "progress", "dead", "journal", "ticks")
_LASTING = ("meta", "workers", "roster", "cron", *_EMPTY)
_PASSING = ("dedupe", "result", "producer", "noted")
_OUTAGES = ("server.kill", "server.stop", "server.client_pause", "server.debug_sleep")
"""Faults in which Redis hears nobody. Where requests arrive and only replies are lost, leases are renewed."""
_MARGIN_S = 0.5


def stuck(evidence: Evidence) -> list[str]:
    """Jobs still live after the drain."""
    found = [f"job {job_id} is still live on {queue}" for queue, job_id in evidence.final.live]
    if not evidence.final.drained and not found:
        found.append("not drained in time")
    return found


def drift(evidence: Evidence) -> list[str]:
    """Instants at which what came in, less what ended, was not what was there."""
    return [
        f"queue {sample.queue} was {sample.drift} adrift at {sample.at:.3f}"
        for sample in evidence.samples
        if sample.drift
    ]


def left_in_redis(evidence: Evidence) -> list[str]:
    """Keys that ought to be empty or gone after the drain, that nobody knows, or whose time to live is wrong."""
    found = []
    for name, size in evidence.final.keys.items():
        part = name.partition("}:")[2].partition(":")[0]
        passing = part in _PASSING
        if size and (part in _EMPTY or part == "stream"):
            found.append(f"{name} still holds {size}")
        if part == "roster" and size > evidence.final.keys.get(name.removesuffix("roster") + "workers", 0):
            found.append(f"{name} holds {size}, more than there are workers")
        if passing != (name in evidence.final.ttls):
            found.append(f"{name} has {'no' if passing else 'a'} time to live")
        if not passing and part not in _LASTING and part != "stream":
            found.append(f"{name} is no key of jobqueue's")
    return found


def reaped_without_amnesty(evidence: Evidence) -> list[str]:
    """Workers alive when Redis went away for more than half a lease, and reaped within a lease after it came back."""
    lease_s = evidence.rules.lease_s
    outages = [
        each for each in evidence.faults if each.kind in _OUTAGES and each.ended - each.began > lease_s / 2 + _MARGIN_S
    ]
    return [
        f"{line.fields.get('worker')} was reaped at {line.at:.3f}, after fault {fault.n} ({fault.kind}) "
        f"that ended at {fault.ended:.3f}"
        for fault in outages
        for line in evidence.logs
        if line.event == "worker.reaped"
        and fault.ended <= line.at < fault.ended + lease_s * 0.6
        and _alive(evidence, str(line.fields.get("worker")), fault.began)
    ]


def _alive(evidence: Evidence, worker: str, at: float) -> bool:
    """Whether the worker held its lease then. One that gives up in an outage was alive before it."""
    incarnation = evidence.incarnations.get(worker)
    if incarnation is None:
        return True
    stops = evidence.stops.get((incarnation.member, incarnation.generation), ())
    stopped = any(began <= at <= ended + evidence.rules.lease_s for began, ended in stops)
    return not stopped and not any(each.at <= at for each in incarnation.endings)


def leases_lost_without_cause(evidence: Evidence) -> list[str]:
    """Leases lost by workers that nobody stopped, blocked or cut off."""
    return [
        f"{incarnation.name} ({incarnation.member}) lost its lease at {ending.at:.3f} without a cause: {ending.told}"
        for incarnation in evidence.incarnations.values()
        for ending in incarnation.endings
        if ending.why == "lease_lost"
        and not 0 < evidence.final.read_at <= ending.at
        and not _lease_cause(evidence, incarnation, ending)
    ]


def _lease_cause(evidence: Evidence, incarnation: Incarnation, ending: Ending) -> bool:
    if any(each.why == "abandoned" for each in incarnation.endings):
        return True
    since = ending.at - CUT_OFF_LASTS_S
    stops = evidence.stops.get((incarnation.member, incarnation.generation), ())
    if any(began <= ending.at and ended >= since for began, ended in stops):
        return True
    return evidence.cut_off(incarnation.member, ending.at) is not None


def dead_loops_kept_alive(evidence: Evidence) -> list[str]:
    """Jobs that blocked their loop for much longer than is allowed, and were settled by it all the same."""
    found = []
    for (job_id, attempt, worker), ends in evidence.ends.items():
        starts = [each for each in evidence.starts.get(job_id, ()) if (each.attempt, each.worker) == (attempt, worker)]
        if not starts or starts[0].type != "hog" or ends[0].mono - starts[0].mono < HOG_S * 0.9:
            continue
        if any(each.redis_away and each.began <= ends[0].at and each.ended >= starts[0].at for each in evidence.faults):
            continue
        rows = evidence.executions.get(job_id, ())
        if any((row.attempt, row.worker, row.outcome) == (attempt, worker, "completed") for row in rows):
            found.append(f"job {job_id} blocked the loop of {worker} for {HOG_S:g} s and was settled by it")
    return found


def rejected(evidence: Evidence) -> int:
    """How many calls to settle were refused because their worker had been reaped."""
    return len(evidence.rejected)
