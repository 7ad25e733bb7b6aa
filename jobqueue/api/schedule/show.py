"""From what jobqueue knows of schedules to what callers are shown. Pure."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from jobqueue.api.mask import mask
from jobqueue.api.schedule import view
from jobqueue.clock import format_duration, from_ms
from jobqueue.cron import TickPreview
from jobqueue.job import Priority
from jobqueue.schedule import Schedule
from jobqueue.status import Backfill, ScheduleStatus
from jobqueue.tick import TickRecord

Masked = Collection[str]
_SECOND = timedelta(seconds=1)


def schedule(status: ScheduleStatus, masked: Masked) -> view.Schedule:
    """A schedule, and where it stands."""
    return view.Schedule(**_fields(status, masked))


def detail(
    status: ScheduleStatus, masked: Masked, *, ticks: Iterable[TickRecord], can: Sequence[view.Can]
) -> view.ScheduleDetail:
    """A schedule with its newest *ticks*, and what *can* be done with it."""
    return view.ScheduleDetail(**_fields(status, masked), ticks=[tick(each) for each in ticks], can=list(can))


def _fields(status: ScheduleStatus, masked: Masked) -> dict[str, Any]:
    return {
        "name": status.name,
        "state": status.state,
        "source": status.source,
        "app": status.app,
        "version": status.version,
        "description": status.description,
        "definition": definition(status.schedule, masked),
        "next_at": status.next_at,
        "never": status.never,
        "last": None if status.last is None else tick(status.last),
        "busy_job_id": status.busy_job_id,
        "waiting": status.waiting,
        "created_at": status.created_at,
        "changed_at": status.changed_at,
    }


def definition(schedule: Schedule, masked: Masked) -> view.Definition:
    """When which job is made."""
    return view.Definition(
        expression=schedule.expression,
        timezone=schedule.timezone,
        seconds=schedule.seconds,
        misfire=schedule.misfire,
        max_catchup=schedule.max_catchup,
        grace=format_duration(schedule.grace),
        overlap=schedule.overlap,
        jitter=format_duration(schedule.jitter),
        type=schedule.type,
        payload=mask(msgspec.json.decode(schedule.payload), masked),
        queue=schedule.queue,
        priority=Priority(schedule.priority).value,
        max_retries=schedule.max_retries,
        timeout=_text(schedule.timeout),
        expires=_text(schedule.expires),
        result_ttl=_text(schedule.result_ttl),
        headers=mask(dict(schedule.headers), masked),
    )


def tick(record: TickRecord) -> view.Tick:
    """What was decided about a tick."""
    return view.Tick(
        name=record.name,
        queue=record.queue,
        version=record.version,
        decision=record.decision,
        reason=record.reason,
        at=from_ms(record.tick_ms),
        first_at=from_ms(record.first_ms),
        count=record.count,
        job_id=record.job_id,
        decided_at=from_ms(record.at_ms),
    )


def coming(previews: Iterable[TickPreview]) -> list[view.ComingTick]:
    """Ticks to come."""
    return [view.ComingTick(at=each.at, local=each.local, note=each.note) for each in previews]


def backfill(done: Backfill) -> view.Backfill:
    """What came of a backfill. Ticks are whole seconds: the next call begins one after the last."""
    return view.Backfill(
        ticks=[view.BackfillTick(at=each.at, job_id=each.job_id, new=each.new) for each in done.ticks],
        new=sum(each.new for each in done.ticks),
        next_from=_after(done),
    )


def _after(done: Backfill) -> datetime | None:
    return done.ticks[-1].at + _SECOND if done.more and done.ticks else None


def _text(duration: timedelta | None) -> str | None:
    return None if duration is None else format_duration(duration)
