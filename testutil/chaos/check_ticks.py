"""Invariant I7: every tick of every schedule was decided once, by a version that was in force, as its rules say."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from testutil.chaos.check_recovery import quantiles
from testutil.chaos.editions import Edition
from testutil.chaos.evidence import MADE, OWN_FAULTS, TERMINAL, Evidence
from testutil.chaos.final import Tick
from testutil.chaos.history import Fault
from testutil.chaos.tick_book import Book, books, ticks_of
from testutil.chaos.timetable import GRACE

_CLOCK_S: Final = 0.005
_GRACE_MS: Final = int(GRACE.total_seconds() * 1000)
_LOOKS_S: Final = 5.0
"""How long before it was missed what kept a tick from being decided may have ended: schedulers connect again."""
_EDITS_LAST_S: Final = 30.0
_SPARE_REDIS: Final = (*OWN_FAULTS, "link.")
"""Kinds of faults in which schedulers reach Redis."""
_MISSED: Final = ("missed", "made_up", "caught_up")

# What a reason demands: the misfire rules, then the overlap rules, under which it may be given; () any.
_DEMANDS: Final[dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]]] = {
    ("fired", "on_time"): ((), ()),
    ("fired", "caught_up"): (("once", "all"), ()),
    ("fired", "waited"): ((), ()),
    ("skipped", "missed"): (("skip",), ()),
    ("skipped", "made_up"): (("once",), ()),
    ("skipped", "overlap"): ((), ("skip",)),
    ("skipped", "ended"): ((), ()),
    ("waiting", "overlap"): ((), ("queue",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, and between which instants, s: a fault there may have made the servers forget."""

    told: str
    began: float
    ended: float


def check_ticks(evidence: Evidence) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What each rule found; the second: what it found where a fault may have made the servers forget."""
    broken: dict[str, list[str]] = {rule: [] for rule in _RULES}
    forgotten: dict[str, list[str]] = {rule: [] for rule in _RULES}
    for book in books(evidence):
        for rule, look in _RULES.items():
            for finding in look(book, evidence):
                excused = evidence.forgotten_between(finding.began, finding.ended)
                (forgotten if excused else broken)[rule].append(finding.told)
    broken["edits_lost"] = edits_lost(evidence)
    return broken, forgotten


def written_twice(evidence: Evidence) -> list[str]:
    """Records that are in Postgres more than once."""
    rows = Counter(evidence.final.ticks)
    return [f"{count} records: {_short(row)}" for row, count in rows.items() if count > 1]


def missing(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Ticks of versions in force that nobody decided, or that wait for ever."""
    reached = 0  # the newest tick that former versions decided: an edit holds from the next one on
    for version in sorted(book.editions):
        edition = book.editions[version]
        if edition.state == "active":
            until_ms = book.since_next_ms(version) or _end_ms(book, evidence)
            for tick_ms in ticks_of(edition, max(edition.since_ms, reached), until_ms):
                if tick_ms not in book.decided:
                    waits = "waits for ever" if tick_ms in book.waiting else "was not decided"
                    yield _finding(f"{book.name} {tick_ms} of version {version} {waits}", tick_ms, tick_ms + 30_000)
        reached = max([reached, *(row.tick_ms for row in book.own if row.version == version)])


def _end_ms(book: Book, evidence: Evidence) -> float:
    """Until when a schedule that nobody ended must have been looked after."""
    if evidence.final.read_at:
        return evidence.final.read_at * 1000 - 2 * _GRACE_MS
    return max((row.tick_ms for row in book.rows), default=0)


def doubled(book: Book, _evidence: Evidence) -> Iterator[Finding]:
    """Ticks that were decided twice, or made two jobs; a backfill makes up for a skipped one."""
    for tick_ms in {*book.decided, *book.backfilled}:
        decided, backfilled = book.decided.get(tick_ms, []), book.backfilled.get(tick_ms, [])
        made = [row for row in (*decided, *backfilled) if row.decision in MADE]
        if len(decided) > 1 or len(made) > 1:
            yield _told_together(f"{book.name} {tick_ms} was decided", [*decided, *backfilled])
    for tick_ms, rows in book.waiting.items():
        if len(rows) > 1:
            yield _told_together(f"{book.name} {tick_ms} was left waiting", rows)


def _told_together(told: str, rows: Sequence[Tick]) -> Finding:
    ats = [row.at_ms for row in rows]
    return _finding(f"{told} {len(rows)} times: {'; '.join(map(_short, rows))}", min(ats), max(ats))


def amiss(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Decisions by versions that had no such tick, or were not in force any more, or for a reason not theirs."""
    for row in book.own:
        edition = book.editions.get(row.version)
        why = "nobody has seen this version" if edition is None else _amiss(book, edition, row)
        if why:
            yield _finding(f"{_short(row)}: {why}", row.at_ms, row.at_ms)
    yield from _after_the_edit(book, evidence)
    yield from _other_payloads(book, evidence)


def _amiss(book: Book, edition: Edition, row: Tick) -> str:
    if row.reason == "max_catchup":
        fits = edition.misfire == "all" or edition.overlap == "queue"
    elif (row.decision, row.reason) not in _DEMANDS:
        return "there is no such decision for this reason"
    else:
        misfires, overlaps = _DEMANDS[row.decision, row.reason]
        fits = (not misfires or edition.misfire in misfires) and (not overlaps or edition.overlap in overlaps)
    if not fits:
        return f"its rules are misfire {edition.misfire}, overlap {edition.overlap}"
    if row.reason in _MISSED and row.at_ms - row.tick_ms < _GRACE_MS - 1:
        return f"it was decided {row.at_ms - row.tick_ms} ms after its time, within the grace"
    if row.reason in ("waited", "ended"):
        waited = [each for each in book.waiting.get(row.tick_ms, ()) if each.at_ms <= row.at_ms]
        return "" if waited else "it had not waited"
    if edition.state != "active":
        return f"this version is {edition.state}"
    if row.tick_ms <= edition.since_ms:
        return f"this version counts from {edition.since_ms} on"
    if row.tick_ms not in ticks_of(edition, row.tick_ms - 1, row.tick_ms):
        return f"{edition.expression} has no such tick"
    if row.reason == "made_up" and not _made_up_for(book, edition, row):
        return "no newer tick fired for it"
    return _miscounted(edition, row)


def _made_up_for(book: Book, edition: Edition, row: Tick) -> bool:
    """The tick after the skipped ones stands for them; what became of it then, the overlap rule says."""
    following = next(ticks_of(edition, row.tick_ms, float("inf")))
    reasons = {each.reason for each in (*book.decided.get(following, ()), *book.waiting.get(following, ()))}
    return bool(reasons & {"caught_up", "overlap", "max_catchup", "waited"})


def _miscounted(edition: Edition, row: Tick) -> str:
    count = sum(1 for _ in ticks_of(edition, row.first_ms - 1, row.tick_ms))
    return "" if row.count in (count, None) else f"it says {row.count} ticks, and there were {count}"


def _after_the_edit(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Decisions by a version older than one whose edit had returned."""
    for change in evidence.changes:
        if change.name != book.name or change.answer != "done":
            continue
        for row in book.own:
            if row.version < change.version and row.at_ms / 1000 > change.ended + _CLOCK_S:
                told = f"{_short(row)}: the edit to version {change.version} had returned at {change.ended:.3f}"
                yield Finding(told=told, began=change.ended, ended=row.at_ms / 1000)


def _other_payloads(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Jobs of ticks that ran with another payload than that of a version that made them."""
    marks: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in book.rows:
        if row.decision in MADE and row.version in book.editions:
            marks[row.job_id, row.tick_ms].add(book.editions[row.version].mark)
    for ran in evidence.ticked:
        if ran.schedule == book.name and ran.tick_ms and ran.mark not in marks[ran.id, ran.tick_ms]:
            told = f"{book.name} {ran.tick_ms} ran as {ran.id} with payload {ran.mark}, and no version made it so"
            yield Finding(told=told, began=ran.tick_ms / 1000, ended=ran.at)


def early(book: Book, _evidence: Evidence) -> Iterator[Finding]:
    """Ticks decided before their time."""
    for row in book.rows:
        if row.decision != "run" and row.at_ms < row.tick_ms:
            yield _finding(f"{_short(row)}: {row.tick_ms - row.at_ms} ms too early", row.at_ms, row.at_ms)


def late(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Ticks that were missed although a scheduler was there all the time, and nothing was broken that it needs."""
    for row in book.rows:
        tick, at = row.tick_ms / 1000, row.at_ms / 1000
        if row.reason in _MISSED and _attended(evidence, tick) and not _hindered(evidence, book.name, tick, at):
            yield _finding(f"{_short(row)}: nothing was in the way", row.at_ms, row.at_ms)


def _attended(evidence: Evidence, tick: float) -> bool:
    """Whether one scheduler lived from a tick to the end of its grace, neither dead nor stopped, and knew of it:
    one that begins while Postgres is away knows nothing."""
    until = tick + _GRACE_MS / 1000
    for line in evidence.logs:
        if line.event != "scheduler.started":
            continue
        process = line.member, line.generation
        away = [each.ended for each in evidence.faults if _history(each) and each.began <= line.at <= each.ended]
        knows = max([line.at, *away]) + _LOOKS_S
        stopped = any(began <= until and ended >= tick for began, ended in evidence.stops.get(process, ()))
        if knows <= tick and evidence.deaths.get(process, until) >= until and not stopped:
            return True
    return False


def _hindered(evidence: Evidence, name: str, tick: float, at: float) -> bool:
    """Whether a fault kept schedulers from Redis, or an editor from ending its edit."""
    for fault in evidence.faults:
        near = fault.began <= at and fault.ended + _LOOKS_S >= tick
        if near and not fault.kind.startswith(_SPARE_REDIS):
            return True
    return any(
        change.name == name and change.began <= at and (change.answer != "done" or change.ended + _LOOKS_S >= tick)
        for change in evidence.changes
        if change.began >= tick - _EDITS_LAST_S
    )


def _history(fault: Fault) -> bool:
    return fault.kind.startswith("history.")


def overlapped(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Jobs that were made although the one before had not ended. Where a schedule had gone to another queue between
    them, nobody promises that."""
    fired = [row for row in book.rows if row.decision == "fired"]
    for first, second in itertools.pairwise(fired):
        edition = book.editions.get(second.version)
        if edition is None or edition.overlap == "allow" or first.queue != second.queue:
            continue
        if first.job_id == second.job_id:
            continue  # told by `doubled`
        ends = [row.finished for row in evidence.executions.get(first.job_id, ()) if row.outcome in TERMINAL]
        if ends and min(ends) > second.at_ms / 1000 + _CLOCK_S:
            told = f"{_short(second)}: the job before it, {first.job_id}, ended at {min(ends):.3f}"
            yield _finding(told, first.at_ms, int(min(ends) * 1000))


_RULES: Final[Mapping[str, Callable[[Book, Evidence], Iterator[Finding]]]] = {
    "ticks_missing": missing,
    "ticks_doubled": doubled,
    "ticks_amiss": amiss,
    "ticks_early": early,
    "ticks_late": late,
    "ticks_overlapped": overlapped,
}


def edits_lost(evidence: Evidence) -> list[str]:
    """Edits that were answered, and of which there is no version."""
    known = {(each.name, each.version): each for each in evidence.final.editions}
    found = []
    for change in evidence.changes:
        if change.answer != "done" or not change.version:
            continue
        edition = known.get((change.name, change.version))
        if edition is None or (change.op == "upsert" and edition.mark != change.mark):
            found.append(f"{change.op} of {change.name}, answered at {change.ended:.3f} with version {change.version}")
    return found


def delays(evidence: Evidence) -> dict[str, float]:
    """How long after its time a tick was decided that was not missed: p50, p99 and max, s."""
    rows = (row for row in evidence.final.ticks if row.reason == "on_time")
    return quantiles([(row.at_ms - row.tick_ms) / 1000 for row in rows])


def counts(evidence: Evidence) -> dict[str, int]:
    """How many ticks were fired, backfilled, asked for, or skipped, by reason."""
    found: Counter[str] = Counter()
    for row in evidence.final.ticks:
        word = f"skipped_{row.reason}" if row.decision == "skipped" else row.decision
        found[f"ticks_{word}"] += row.count or 0
    return {"ticks_fired": 0, **dict(sorted(found.items()))}


def _finding(told: str, began_ms: int, ended_ms: int) -> Finding:
    return Finding(told=told, began=began_ms / 1000, ended=ended_ms / 1000)


def _span(rows: Sequence[Tick]) -> tuple[int, int]:
    return min(row.at_ms for row in rows), max(row.at_ms for row in rows)


def _short(row: Tick) -> str:
    run = f"{row.first_ms} to " if row.first_ms != row.tick_ms else ""
    return f"{row.name} {run}{row.tick_ms} {row.decision} ({row.reason}) by version {row.version} at {row.at_ms}"
