"""What is to be done about the ticks of a schedule, and the record of what was decided. Pure.

Every tick is decided once: it fires (its job is queued), it is skipped, or it waits for the job of the tick
before it, and then fires.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.clock import from_ms, to_ms
from jobqueue.schedule import Misfire, Schedule

if TYPE_CHECKING:
    from jobqueue.cron import CronSchedule

MAX_STEPS: Final = 100
"""So many ticks are decided in one step; the rest in the next."""

_COUNTED: Final = 1_000


class Decision(StrEnum):
    """What was decided about a tick."""

    FIRED = "fired"
    SKIPPED = "skipped"
    WAITING = "waiting"
    """It waits for the job before it; when it is fired or skipped, another record says so."""
    RUN = "run"
    """No tick: somebody asked for a job now."""
    BACKFILLED = "backfilled"


class Reason(StrEnum):
    """Why."""

    ON_TIME = "on_time"
    CAUGHT_UP = "caught_up"
    """Fired by the misfire rule."""
    WAITED = "waited"
    """Fired when the job before it had ended."""
    MISSED = "missed"
    """Skipped by `misfire="skip"`."""
    MADE_UP = "made_up"
    """Skipped by `misfire="once"`: a newer one fires for it."""
    MAX_CATCHUP = "max_catchup"
    """Skipped: more were missed, or wait, than `max_catchup`."""
    OVERLAP = "overlap"
    """Skipped, or waiting: a job before it has not ended."""
    ENDED = "ended"
    """It waited, and the schedule was removed or retired."""
    ASKED = "asked"
    """Somebody asked for it."""


class TickRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. Of ticks that were skipped together there is one record, from *first_ms* to *tick_ms*."""

    name: str
    queue: str
    version: int
    decision: Decision
    reason: Reason
    tick_ms: int
    first_ms: int
    count: int | None = 1
    """How many ticks; None: more than 1000."""
    job_id: str | None = None
    """The tick's job; of one that overlaps, the job that is in its way."""
    at_ms: int
    """When it was decided, by the broker's clock."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done next: fire a tick, or skip a run of ticks, the last of which is *tick_ms*."""

    fires: bool
    reason: Reason
    tick_ms: int
    first_ms: int
    count: int | None = 1


def due_steps(schedule: Schedule, *, after_ms: int, now_ms: int, until_ms: int | None = None) -> list[Step]:
    """What is to be done about the ticks after *after_ms* that have come, oldest first; at most `MAX_STEPS` of them.

    Only those up to *until_ms*, where it is given. A tick is missed when its time is more than the grace ago.
    """
    end_ms = now_ms if until_ms is None else min(now_ms, until_ms)
    missed_before_ms = min(now_ms - to_ms(schedule.grace), end_ms + 1)
    steps = _missed(schedule, after_ms, missed_before_ms)
    if len(steps) < MAX_STEPS:
        after_ms = max(after_ms, missed_before_ms - 1)
        steps += [_fire(tick_ms, Reason.ON_TIME) for tick_ms in islice(_ticks(schedule, after_ms, end_ms), MAX_STEPS)]
    return steps[:MAX_STEPS]


def next_tick_ms(schedule: Schedule, after_ms: int) -> int | None:
    """The first tick after this instant; None: there is none any more."""
    return _next_ms(schedule.cron, after_ms)


@lru_cache(maxsize=32_768)
def _next_ms(cron: "CronSchedule", after_ms: int) -> int | None:
    """Kept: one tick is asked for several times, and many schedules are due at the same instants."""
    return _ms(cron.next(from_ms(after_ms)))


def _missed(schedule: Schedule, after_ms: int, before_ms: int) -> list[Step]:
    """The steps for ticks between the two instants: those to be fired, behind one for those that are skipped."""
    first_ms = next_tick_ms(schedule, after_ms)
    if first_ms is None or first_ms >= before_ms:
        return []
    fired: list[int] = []
    newest_ms = _previous(schedule, before_ms)
    while newest_ms is not None and newest_ms > after_ms and len(fired) < _made_up(schedule):
        fired.append(newest_ms)
        newest_ms = _previous(schedule, newest_ms)
    steps = [_fire(tick_ms, Reason.CAUGHT_UP) for tick_ms in reversed(fired)]
    if newest_ms is not None and newest_ms > after_ms:
        steps.insert(0, _skip(schedule, first_ms, newest_ms))
    return steps


def _made_up(schedule: Schedule) -> int:
    return {Misfire.SKIP: 0, Misfire.ONCE: 1, Misfire.ALL: schedule.max_catchup}[schedule.misfire]


_SKIPPED_FOR: Final = {
    Misfire.SKIP: Reason.MISSED,
    Misfire.ONCE: Reason.MADE_UP,
    Misfire.ALL: Reason.MAX_CATCHUP,
}


def _skip(schedule: Schedule, first_ms: int, last_ms: int) -> Step:
    count = sum(1 for _ in islice(_ticks(schedule, first_ms - 1, last_ms), _COUNTED + 1))
    return Step(
        fires=False,
        reason=_SKIPPED_FOR[schedule.misfire],
        tick_ms=last_ms,
        first_ms=first_ms,
        count=count if count <= _COUNTED else None,
    )


def _fire(tick_ms: int, reason: Reason) -> Step:
    return Step(fires=True, reason=reason, tick_ms=tick_ms, first_ms=tick_ms)


def _ticks(schedule: Schedule, after_ms: int, end_ms: int) -> Iterator[int]:
    """The ticks after *after_ms* up to *end_ms*."""
    tick_ms = next_tick_ms(schedule, after_ms)
    while tick_ms is not None and tick_ms <= end_ms:
        yield tick_ms
        tick_ms = next_tick_ms(schedule, tick_ms)


def _previous(schedule: Schedule, before_ms: int) -> int | None:
    return _previous_ms(schedule.cron, before_ms)


@lru_cache(maxsize=32_768)
def _previous_ms(cron: "CronSchedule", before_ms: int) -> int | None:
    """Kept: of many that were missed, each step begins at the newest."""
    return _ms(cron.previous(from_ms(before_ms)))


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp()) * 1000  # ticks are whole seconds
