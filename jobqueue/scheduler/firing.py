"""Firing a schedule, and letting a new version of it count: what the cron loop and `queue.schedules` share.

Everything here may be done by anyone, any number of times and by many at once: each step is one compare-and-set
beside the queue, so that a tick is decided once, and by one version.
"""

from collections.abc import Sequence

import msgspec
import structlog

from jobqueue import crash
from jobqueue.broker.timetable import AHEAD, Look, Standing, Timetable
from jobqueue.clock import from_ms, to_ms
from jobqueue.errors import InvalidJob, InvalidSchedule
from jobqueue.schedule import Definition, Schedule, ScheduleState
from jobqueue.tick import Decision, Reason, TickRecord, due_steps, next_tick_ms

_log = structlog.get_logger("jobqueue.scheduler")

_MOST_ROUNDS = 1_000
_FRESH_MS = 60_000
ENDED = (ScheduleState.RETIRED, ScheduleState.REMOVED)


class Pass(msgspec.Struct, kw_only=True, frozen=True):
    """What a pass over a schedule came to."""

    standing: Standing | None
    """Where it stands now; None: nowhere."""
    now_ms: int
    asked: bool
    """*now_ms* is what the broker said just now; else what the pass was told."""


async def fire_due(
    timetable: Timetable,
    schedule: Schedule,
    seen: Standing,
    now_ms: int,
    *,
    until_ms: int | None = None,
    rounds: int = 1,
) -> Pass:
    """Decide the ticks of *schedule* that are due, and look after those that wait; in at most so many steps.

    Where the schedule does not stand as *seen* by now, another scheduler did it: then it goes on from there, and ends
    where another version stands.

    Args:
        now_ms: the broker's time, as far as it is known; never ahead of it.
        until_ms: decide only those up to then.

    Raises:
        InvalidSchedule, InvalidJob: this version of jobqueue cannot read the schedule.
        Backpressure: the broker is full; what was decided before stays decided.
        BrokerUnavailable: no answer.
    """
    standing = seen
    for number in range(rounds):
        steps = due_steps(schedule, after_ms=standing.last_ms, now_ms=now_ms, until_ms=until_ms)
        if not steps and (number > 0 or not standing.waiting):
            return Pass(standing=standing, now_ms=now_ms, asked=number > 0)
        fired = await timetable.fire(schedule, standing, steps)
        _report(schedule, fired.records)
        now_ms = fired.now_ms
        if fired.standing is None or fired.standing.version != seen.version:
            return Pass(standing=fired.standing, now_ms=now_ms, asked=True)
        standing = fired.standing
    return Pass(standing=standing, now_ms=now_ms, asked=True)


async def adopt(timetable: Timetable, definition: Definition, look: Look | None = None) -> Standing:
    """Let this version count: what its former one had not decided is decided first. Returns where it stands.

    Nothing is done where this version or a newer one stands already. *look* is a look at it of this moment, from who
    has one.

    Raises:
        As `fire_due`; call again, nothing is done twice.
    """
    queue, name = definition.schedule.queue, definition.name
    look = look or await timetable.look(queue, [name])
    standing = look.standings.get(name)
    if standing is None or standing.version < definition.version:
        standing = await _begin(timetable, definition, look)
    if definition.state in ENDED and standing.version == definition.version and standing.waiting:
        dropped = await timetable.drop(queue, name, version=definition.version)
        _log.info("schedule.skipped", schedule=name, queue=queue, reason=str(Reason.ENDED), count=dropped)
        standing = msgspec.structs.replace(standing, waiting=())
    return standing


async def _begin(timetable: Timetable, definition: Definition, look: Look) -> Standing:
    definition = _with_readable_former(definition)
    former = definition.former
    queue, name, version = definition.schedule.queue, definition.name, definition.version
    stood, now_ms = look.standings.get(name), look.now_ms
    moved = former is not None and former.queue != queue
    if former is not None and moved:
        look = await timetable.look(former.queue, [name])
        stood, now_ms = look.standings.get(name), look.now_ms
    if former is not None and definition.former_active and stood is not None and stood.version < version:
        passed = await fire_due(timetable, former, stood, now_ms, until_ms=definition.since_ms, rounds=_MOST_ROUNDS)
        stood, now_ms = passed.standing, passed.now_ms
    if former is not None and moved:
        look = await timetable.end(former.queue, name, version=version)
        crash.point("after_schedule_end")
        stood, now_ms = look.standings.get(name), look.now_ms
    stood = _by_a_right_clock(stood, definition, now_ms)
    begun = await timetable.begin(
        queue,
        name,
        version=version,
        at_ms=_first_ms(definition, stood, now_ms),
        waiting=stood.waiting if stood is not None and moved else (),
        job_id=stood.job_id if stood is not None and moved else None,
    )
    crash.point("after_schedule_begin")
    return begun


def _with_readable_former(definition: Definition) -> Definition:
    """Ticks of a former version that cannot be read are left undecided: else no version could ever follow it."""
    if definition.former is None or not definition.former_active:
        return definition
    try:
        definition.former.cron.next(from_ms(definition.since_ms))
        definition.former.tick_job(0)
    except (InvalidSchedule, InvalidJob) as error:
        facts = {"schedule": definition.name, "queue": definition.former.queue, "version": definition.version}
        _log.error("schedule.former_unreadable", error=str(error), **facts)
        return msgspec.structs.replace(definition, former_active=False)
    return definition


def _by_a_right_clock(stood: Standing | None, definition: Definition, now_ms: int) -> Standing | None:
    """A standing far ahead of the clock is of a clock that was wrong: this version has its ticks all the same."""
    if stood is None or stood.last_ms <= now_ms + to_ms(AHEAD):
        return stood
    _log.warning("schedule.was_ahead", schedule=definition.name, until=from_ms(stood.last_ms).isoformat())
    return msgspec.structs.replace(stood, last_ms=min(definition.since_ms, now_ms), waiting=())


def _first_ms(definition: Definition, stood: Standing | None, now_ms: int) -> int:
    """The instant from which a version counts, where its former one stands as *stood*, at this time of that broker."""
    since_ms = definition.since_ms
    if stood is None:
        # Redis was emptied: what was decided before is not known. Else it was made just now.
        return since_ms if now_ms - since_ms < _FRESH_MS else now_ms
    if definition.former is None or not definition.former_active:
        return max(since_ms, stood.last_ms)
    # The clock of the former queue may be behind, and not have reached all of the former version's ticks: they are
    # this version's then.
    left_ms = next_tick_ms(definition.former, stood.last_ms)
    if left_ms is not None and left_ms <= since_ms:
        since_ms = left_ms - 1
    return max(since_ms, stood.last_ms)


def _report(schedule: Schedule, records: Sequence[TickRecord]) -> None:
    caught_up = [record for record in records if record.reason is Reason.CAUGHT_UP]
    for record in records:
        facts = {"schedule": record.name, "queue": record.queue, "tick": from_ms(record.tick_ms).isoformat()}
        if record.decision is Decision.FIRED:
            _log.debug("schedule.fired", reason=str(record.reason), job_id=record.job_id, **facts)
        elif record.decision is Decision.WAITING:
            _log.debug("schedule.waiting", job_id=record.job_id, **facts)
        elif record.decision is Decision.SKIPPED:
            first = from_ms(record.first_ms).isoformat()
            _log.info("schedule.skipped", reason=str(record.reason), first=first, count=record.count, **facts)
    if caught_up:
        _log.info(
            "schedule.caught_up",
            schedule=schedule.name,
            queue=schedule.queue,
            count=len(caught_up),
            first=from_ms(caught_up[0].tick_ms).isoformat(),
            last=from_ms(caught_up[-1].tick_ms).isoformat(),
        )
