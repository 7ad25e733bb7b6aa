"""Queueing the jobs of past ticks, each once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from jobqueue.bootstrap import Parts
from jobqueue.broker.base import Enqueued, Submission
from jobqueue.broker.timetable import Standing
from jobqueue.clock import from_ms
from jobqueue.errors import InvalidSchedule
from jobqueue.planning.check import check_instant, check_whole
from jobqueue.schedule import Definition, ScheduleState, tick_id
from jobqueue.scheduler.firing import adopt, fire_due
from jobqueue.status import Backfill, BackfillTick
from jobqueue.tick import Decision, Reason, TickRecord

MAX_BACKFILL = 10_000
_BATCH = 200
_REMEMBERED = timedelta(days=30)
_MOST_ROUNDS = 1_000
_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_AHEAD = timedelta(minutes=1)
"""The caller's clock may be somewhat ahead of the broker's; until then nothing has come."""


async def backfill(
    parts: Parts, definition: Definition, *, since: datetime, until: datetime, limit: int, dry_run: bool
) -> Backfill:
    """As `Schedules.backfill` says."""
    name, timetable = definition.name, parts.broker.timetable
    look = await timetable.look(definition.schedule.queue, [name])
    now = from_ms(look.now_ms)
    _check(since, until, now, limit)
    until = min(until, now)
    instants, more = _ticks(definition, since, until, limit)
    standing = look.standings.get(name)
    if not dry_run and definition.state is ScheduleState.ACTIVE:
        standing = await _decide_due(parts, definition)
    end = instants[-1] + _SECOND if instants else until  # of a long span, only what this call is about
    made = set(await parts.ticks.fired(name, since=since, until=end))
    made.update(standing.waiting if standing is not None else ())  # they have their job when their turn comes
    ticks: list[BackfillTick] = []
    for start in range(0, len(instants), _BATCH):
        batch = instants[start : start + _BATCH]
        left = {_ms(each) for each in batch} - made
        new = left if dry_run else await _enqueue(parts, definition, sorted(left))
        ticks += [BackfillTick(at=each, job_id=tick_id(name, _ms(each)), new=_ms(each) in new) for each in batch]
    return Backfill(ticks=ticks, more=more)


def _check(since: datetime, until: datetime, now: datetime, limit: int) -> None:
    check_whole("limit", limit)
    check_instant("since", since)
    check_instant("until", until)
    if until <= since:
        raise InvalidSchedule(f"until must be after since, got {_whole(since)} to {_whole(until)}")
    if until > now + _AHEAD:
        raise InvalidSchedule(f"until must not be in the future, got {_whole(until)}; it is {_whole(now)}")
    if not 1 <= limit <= MAX_BACKFILL:
        raise InvalidSchedule(f"limit must be from 1 to {MAX_BACKFILL}, got {limit}")


def _whole(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ticks(definition: Definition, since: datetime, until: datetime, limit: int) -> tuple[list[datetime], bool]:
    before = max(since, _FIRST) - _MICROSECOND  # datetime knows no instant before the year 1
    ticks = takewhile(lambda tick: tick < until, definition.schedule.cron.ticks(before))
    found = list(islice(ticks, limit + 1))
    return found[:limit], len(found) > limit


async def _decide_due(parts: Parts, definition: Definition) -> Standing | None:
    """Decide what is due: a tick that a scheduler is about to fire is not ours. Not where it was changed meanwhile:
    what is due then is decided by other rules than these."""
    timetable, schedule = parts.broker.timetable, definition.schedule
    standing = await adopt(timetable, definition)
    if standing.version != definition.version:
        return standing
    look = await timetable.look(schedule.queue, [])
    passed = await fire_due(timetable, schedule, standing, look.now_ms, rounds=_MOST_ROUNDS)
    return passed.standing


async def _enqueue(parts: Parts, definition: Definition, ticks_ms: Sequence[int]) -> set[int]:
    """Queue the jobs of these ticks. Returns the ticks whose job is new."""
    if not ticks_ms:
        return set()
    schedule = definition.schedule
    submissions = [
        Submission(
            job=schedule.tick_job(tick_ms),
            idempotency_key=f"tick:{schedule.name}:{tick_ms}",
            idempotency_ttl=_REMEMBERED,
            durability=parts.settings.redis.durability,
        )
        for tick_ms in ticks_ms
    ]
    results = await parts.broker.enqueue(submissions)
    new = [tick for tick, result in zip(ticks_ms, results, strict=True) if result.status is Enqueued.NEW]
    await parts.broker.timetable.note([by_hand(definition, Decision.BACKFILLED, tick) for tick in new])
    return set(new)


def by_hand(definition: Definition, decision: Decision, tick_ms: int, job_id: str | None = None) -> TickRecord:
    """The record of a job that somebody asked for; the broker says when that was."""
    return TickRecord(
        name=definition.name,
        queue=definition.schedule.queue,
        version=definition.version,
        decision=decision,
        reason=Reason.ASKED,
        tick_ms=tick_ms,
        first_ms=tick_ms,
        job_id=job_id or tick_id(definition.name, tick_ms),
        at_ms=0,
    )


def _ms(tick: datetime) -> int:
    return int(tick.timestamp()) * 1000
