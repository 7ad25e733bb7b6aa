"""What became of each job: lost, unexpected, too early, cancelled and yet started, two under one unique key,
acknowledged and yet never run."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from testutil.chaos.evidence import TERMINAL, Enqueue, Evidence
from testutil.chaos.timetable import TASK

_CLOCK_S = 0.005
_DIES, _RETURNS = ("doomed", "timeout"), ("quick", "threaded", "flaky", "overlong", "block", "hog", "huge", "snooze")
_ENDS = {**dict.fromkeys(_DIES, ("dead",)), **dict.fromkeys((*_RETURNS, TASK), ("completed",))}


def lost(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Acknowledged jobs of which nothing is left: not live, and with no end on record. The second list holds those
    that a fault may have made the servers forget, enqueued without a durability that forbids it."""
    there = _ended(evidence) | {job_id for _, job_id in evidence.final.live}
    broken: list[str] = []
    forgotten: list[str] = []
    for job_id, enqueues in evidence.enqueues.items():
        if job_id in there:
            continue
        known = [each for each in enqueues if each.answer in ("new", "exists") and each.as_id == job_id]
        if not known:
            continue
        first = known[0]
        durable = any(each.call.durability.startswith(("replicated", "fsync")) for each in known)
        fault = None if durable else evidence.forgets_after(first.answered)
        told = f"job {job_id} ({first.call.type} on {first.call.queue}) was acknowledged at {first.answered:.3f}"
        if fault is None:
            broken.append(f"{told}{' as ' + first.call.durability if durable else ''} and never ended")
        else:
            forgotten.append(f"{told} and was forgotten in fault {fault.n} ({fault.kind})")
    return broken, forgotten


def _ended(evidence: Evidence) -> set[str]:
    """Ids with an end on record: in history, as a dead letter, or, where history was dropped, as told by workers."""
    ended = {row.id for row in evidence.final.executions if row.outcome in TERMINAL}
    ended |= {letter.id for letter in evidence.final.letters}
    if history_dropped(evidence):
        ended |= {record.id for record in evidence.settled if record.outcome in TERMINAL}
    return ended


def history_dropped(evidence: Evidence) -> bool:
    """Whether history was dropped, oldest first, because Postgres was away for too long."""
    return any(counters.get("journal_dropped") for counters in evidence.final.counters.values())


def requeues_lost(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Jobs brought back from the dead letters, acknowledged, with fewer ends than lives; the second list: those that
    a fault may have made the servers forget."""
    broken: list[str] = []
    forgotten: list[str] = []
    live = {job_id for _, job_id in evidence.final.live}
    for job_id, requeues in evidence.requeues.items():
        done = [each for each in requeues if each.answer == "requeued"]
        ends = sum(row.outcome in TERMINAL for row in evidence.executions.get(job_id, ()))
        if not done or job_id in live or ends > len(done) or history_dropped(evidence):
            continue
        told = f"job {job_id} was brought back {len(done)} times, at last at {done[-1].answered:.3f}, and ended {ends}"
        (forgotten if any(evidence.forgets_after(each.answered) for each in done) else broken).append(told)
    return broken, forgotten


def wrong_ends(evidence: Evidence) -> list[str]:
    """Jobs that ended otherwise than their task lets them."""
    found = []
    for row in evidence.final.executions:
        if row.outcome not in TERMINAL or row.error == "WorkerDied" or row.type not in _ENDS:
            continue
        allowed = {*_ENDS[row.type]}
        if row.id in evidence.cancels:
            allowed.add("cancelled")
        if any(each.call.expires for each in evidence.enqueues.get(row.id, ())):
            allowed.add("expired")
        if row.outcome not in allowed:
            found.append(f"job {row.id} ({row.type}) is {row.outcome} {row.error}, may be {', '.join(sorted(allowed))}")
    return found


def enqueued_twice(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Jobs queued anew by an enqueue that had to find them there: alive, or by their idempotency key; the second list:
    after the servers may have forgotten the first."""
    broken: list[str] = []
    forgotten: list[str] = []
    for job_id, enqueues in evidence.enqueues.items():
        made = sorted((each for each in enqueues if each.answer == "new"), key=lambda each: each.answered)
        ends = [row.finished for row in evidence.executions.get(job_id, ()) if row.outcome in TERMINAL]
        for first, second in itertools.pairwise(made):
            alive = bool(ends) and min(ends) > second.answered and first.answered < second.call.at
            if second.call.key or alive:
                told = f"job {job_id} was queued at {first.answered:.3f} and again at {second.answered:.3f}, "
                told += f"although {'its idempotency key was taken' if second.call.key else 'it was alive'}"
                (forgotten if evidence.forgotten_between(first.call.at, second.answered) else broken).append(told)
    return broken, forgotten


def unexpected(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Jobs that ran, or have a history, although nobody enqueued them, or their enqueue was refused; the second list:
    those of ticks whose record a fault may have made the servers forget."""
    broken: list[str] = []
    forgotten: list[str] = []
    for job_id in set(evidence.starts) | set(evidence.executions):
        if evidence.creations(job_id):
            continue
        answers = [each.answer for each in evidence.enqueues.get(job_id, ())]
        told = f"job {job_id} ran; its enqueues were answered {answers}"
        (forgotten if _record_forgotten(evidence, job_id) else broken).append(told)
    return broken, forgotten


def _record_forgotten(evidence: Evidence, job_id: str) -> bool:
    starts = evidence.starts.get(job_id, ())
    return bool(starts) and starts[0].type == TASK and evidence.forgets_after(starts[0].at) is not None


def early(evidence: Evidence) -> list[str]:
    """Jobs started before they were due: at first, or again after a failure or a snooze."""
    return [*_early_at_first(evidence), *_early_again(evidence)]


def _early_at_first(evidence: Evidence) -> Iterator[str]:
    for job_id, starts in evidence.starts.items():
        due = min((each.call.due for each in evidence.enqueues.get(job_id, ()) if each.created), default=0.0)
        if starts[0].at < due - _CLOCK_S:
            yield f"job {job_id} was due at {due:.3f} and started at {starts[0].at:.3f}"


def _early_again(evidence: Evidence) -> Iterator[str]:
    lives: dict[tuple[str, int, str], set[int]] = defaultdict(set)
    for each in evidence.settled:
        lives[each.id, each.attempt, each.worker].add(each.generation)
    for record in evidence.settled:
        if record.delay_ms <= 0 or evidence.creations(record.id) > 1:
            continue
        ends = evidence.ends.get((record.id, record.attempt, record.worker), ())
        ended = max((each.at for each in ends if each.at <= record.at), default=None)
        if ended is None:
            continue
        attempt = record.attempt + (record.outcome == "retrying")
        due = ended + record.delay_ms / 1000 - _CLOCK_S
        # The same attempt of the job's life before it was requeued is told apart by time; where a failover had
        # forgotten that this life had ended, by how it was settled then.
        soon = [
            each.at
            for each in evidence.starts.get(record.id, ())
            if each.attempt == attempt
            and ended < each.at < due
            and record.generation in lives.get((record.id, attempt, each.worker), {record.generation})
        ]
        if soon:
            yield (
                f"job {record.id}, put off for {record.delay_ms} ms at {ended:.3f}, "
                f"started attempt {attempt} at {soon[0]:.3f}"
            )


def cancelled_and_started(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Jobs started after their cancellation was confirmed as `cancelled`; the second list: after a fault in which
    the servers may have forgotten it."""
    broken: list[str] = []
    forgotten: list[str] = []
    for job_id, cancels in evidence.cancels.items():
        done = min((each.answered for each in cancels if each.answer == "cancelled"), default=None)
        late = [each for each in evidence.starts.get(job_id, ()) if done is not None and each.at > done]
        if not late or done is None or _created_after(evidence, job_id, done):
            continue
        told = f"job {job_id} was cancelled at {done:.3f} and started at {late[0].at:.3f} by {late[0].worker}"
        (forgotten if evidence.forgotten_between(done - 1, late[0].at) else broken).append(told)
    return broken, forgotten


def _created_after(evidence: Evidence, job_id: str, at: float) -> bool:
    """Whether an enqueue that may have created the job was still open, or came later."""
    return any(each.created and each.answered > at for each in evidence.enqueues.get(job_id, ()))


def unique_violated(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Two jobs of one unique key alive at once: one was created anew while another, created before, still ran in
    an attempt whose settlement was accepted; the second list: after the servers may have forgotten the first."""
    broken: list[str] = []
    forgotten: list[str] = []
    holders: dict[tuple[str, str], list[tuple[Enqueue, float]]] = defaultdict(list)
    for job_id, enqueues in evidence.enqueues.items():
        for each in enqueues:
            if each.call.unique and each.answer == "new":
                finished = max((row.finished for row in evidence.executions.get(job_id, ())), default=0.0)
                holders[each.call.queue, each.call.unique].append((each, finished))
    for (queue, key), held in holders.items():
        held.sort(key=lambda pair: pair[0].answered)
        for (first, finished), (second, _) in itertools.pairwise(held):
            if first.answered < second.call.at and second.answered < finished - _CLOCK_S:
                told = f"{key} on {queue}: job {second.call.id} was created while {first.call.id} was alive"
                (forgotten if evidence.forgotten_between(first.call.at, finished) else broken).append(told)
    return broken, forgotten


def completed_without_a_run(evidence: Evidence) -> list[str]:
    """Completed on record, with no handler of that worker that returned."""
    return [
        f"job {row.id} attempt {row.attempt} is recorded as completed by {row.worker}, where its handler never returned"
        for row in evidence.final.executions
        if row.outcome == "completed"
        and not any(end.how == "returned" for end in evidence.ends.get((row.id, row.attempt, row.worker), ()))
    ]
