"""What is on record, against what happened: settled twice, settled by the fenced, written twice, missing."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from testutil.chaos.check_delivery import history_dropped
from testutil.chaos.evidence import TERMINAL, Evidence
from testutil.chaos.final import Executed

_ENDS_ATTEMPT = (*TERMINAL, "retrying", "crashed")
_COUNTERS = {"completed": "completed", "dead": "dead", "cancelled": "cancelled", "expired": "expired"}


def settled_twice(evidence: Evidence) -> tuple[list[str], list[str], list[str]]:
    """Attempts that more than one settlement ended, or lives with more than one end. Three lists: settlements by a
    worker for a delivery that the reaper had settled in its name; all others; those after which a fault may have
    made the servers forget the first."""
    stale, double, forgotten = [], [], []
    for job_id, rows in evidence.executions.items():
        creations = max(1, evidence.creations(job_id))
        by_attempt: dict[tuple[int, int], list[Executed]] = defaultdict(list)
        by_life: dict[int, list[Executed]] = defaultdict(list)
        for row in rows:
            if row.outcome in _ENDS_ATTEMPT:
                by_attempt[row.generation, row.attempt].append(row)
            if row.outcome in TERMINAL:
                by_life[row.generation].append(row)
        groups = [*by_attempt.values(), *(group for group in by_life.values() if len(group) > 1)]
        for group in groups:
            if len(group) <= creations:
                continue
            told = f"job {job_id} was settled {len(group)} times: {'; '.join(map(_short, group))}"
            times = [row.finished for row in group]
            if evidence.forgotten_between(min(times), max(times)):
                forgotten.append(told)
            elif _by_the_fenced(group):
                stale.append(told)
            else:
                double.append(told)
    return _once(stale), _once(double), _once(forgotten)


def _by_the_fenced(group: Sequence[Executed]) -> bool:
    """Whether a worker settled a delivery that had been settled in its name as crashed."""
    crashed = {row.worker for row in group if _is_crash(row)}
    return any(row.worker in crashed and not _is_crash(row) for row in group)


def _is_crash(row: Executed) -> bool:
    return row.outcome == "crashed" or row.error == "WorkerDied"


def confirmed_to_the_fenced(evidence: Evidence) -> list[str]:
    """Settlements confirmed to a worker for a delivery that the reaper had settled in its name."""
    reaped = {
        (row.id, row.generation, row.attempt, row.worker): row for row in evidence.final.executions if _is_crash(row)
    }
    return [
        f"{record.worker} was told at {record.at:.3f} that job {record.id} attempt {record.attempt} is "
        f"{record.outcome}, which the reaper had given to others: "
        f"{_short(reaped[record.id, record.generation, record.attempt, record.worker])}"
        for record in evidence.settled
        if (record.id, record.generation, record.attempt, record.worker) in reaped
        and record.outcome in _ENDS_ATTEMPT
        and evidence.creations(record.id) == 1
        and not evidence.forgets_after(record.at)
    ]


def written_twice(evidence: Evidence) -> list[str]:
    """Rows of the history, and dead letters, that are there more than once."""
    rows = Counter(evidence.final.executions)
    letters = Counter((letter.queue, letter.epoch, letter.entry_id) for letter in evidence.final.letters)
    return [
        *(f"{count} executions: job {row.id}, {_short(row)}" for row, count in rows.items() if count > 1),
        *(
            f"{count} dead letters of entry {entry} on {queue}"
            for (queue, _, entry), count in letters.items()
            if count > 1
        ),
    ]


def letters_amiss(evidence: Evidence) -> list[str]:
    """Deaths in the history without their dead letter, or letters without their death."""
    if history_dropped(evidence):
        return []
    deaths = Counter((row.id, row.generation) for row in evidence.final.executions if row.outcome == "dead")
    letters = Counter((letter.id, letter.generation) for letter in evidence.final.letters)
    return [
        f"job {job_id} died {deaths[job_id, generation]} times in generation {generation} "
        f"and has {letters[job_id, generation]} dead letters"
        for job_id, generation in {*deaths, *letters}
        if deaths[job_id, generation] != letters[job_id, generation]
    ]


def miscounted(evidence: Evidence) -> list[str]:
    """Counters in Redis that differ from the rows in Postgres, by queue."""
    found = []
    rows = Counter((row.queue, row.outcome) for row in evidence.final.executions)
    for queue, counters in evidence.final.counters.items():
        dropped = counters.get("journal_dropped", 0)
        for outcome, counter in _COUNTERS.items():
            counted, written = counters.get(counter, 0), rows[queue, outcome]
            if not written <= counted <= written + dropped:
                found.append(f"queue {queue} counted {counted} {outcome}, and Postgres has {written} such executions")
    return found


def unrecorded(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Settlements that a worker saw confirmed, and that are not in the history; the second list: forgotten ones."""
    if history_dropped(evidence):
        return [], []
    rows = {(row.id, row.generation, row.attempt, row.worker) for row in evidence.final.executions}
    broken: list[str] = []
    forgotten: list[str] = []
    for record in evidence.settled:
        if record.outcome == "given_back" or (record.id, record.generation, record.attempt, record.worker) in rows:
            continue
        told = f"job {record.id} attempt {record.attempt}: {record.outcome} by {record.worker} is not in the history"
        (forgotten if evidence.forgets_after(record.at) else broken).append(told)
    return broken, forgotten


def _short(row: Executed) -> str:
    return f"generation {row.generation} attempt {row.attempt} {row.outcome} by {row.worker} at {row.finished:.3f}"


def _once(told: list[str]) -> list[str]:
    return list(dict.fromkeys(told))
