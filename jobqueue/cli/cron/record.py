"""How schedules, their ticks and what was decided are printed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from jobqueue.cli.output import Form, show_all
from jobqueue.clock import format_duration, from_ms, to_ms
from jobqueue.cron import TickPreview
from jobqueue.schedule import Misfire, Overlap
from jobqueue.status import ScheduleStatus
from jobqueue.tick import Decision, TickRecord

_COMING: Final = ("local", "utc", "note")
_DECIDED: Final = ("tick", "schedule", "decision", "reason", "count", "job_id", "at")


def record_of(status: ScheduleStatus) -> dict[str, Any]:
    """All that is known of a schedule."""
    schedule = status.schedule
    return {
        "name": status.name,
        "state": status.state.value,
        "source": status.source.value,
        "app": status.app,
        "expression": schedule.expression,
        "description": status.description,
        "timezone": schedule.timezone,
        "seconds": schedule.seconds,
        "misfire": schedule.misfire.value,
        "max_catchup": schedule.max_catchup,
        "grace_ms": to_ms(schedule.grace),
        "overlap": schedule.overlap.value,
        "jitter_ms": to_ms(schedule.jitter),
        "type": schedule.type,
        "payload": schedule.job().payload,
        "queue": schedule.queue,
        "priority": schedule.priority.value,
        "max_retries": schedule.max_retries,
        "timeout_ms": None if schedule.timeout is None else to_ms(schedule.timeout),
        "expires_ms": None if schedule.expires is None else to_ms(schedule.expires),
        "result_ttl_ms": None if schedule.result_ttl is None else to_ms(schedule.result_ttl),
        "headers": dict(schedule.headers),
        "version": status.version,
        "created_at": status.created_at,
        "changed_at": status.changed_at,
        "next_at": status.next_at,
        "never": status.never,
        "last": None if status.last is None else decided(status.last),
        "busy_job_id": status.busy_job_id,
        "waiting": status.waiting,
    }


def line_of(status: ScheduleStatus) -> dict[str, Any]:
    """What a list tells of a schedule."""
    last = status.last
    return {
        "name": status.name,
        "expression": status.schedule.expression,
        "timezone": status.schedule.timezone,
        "task": status.schedule.type,
        "queue": status.schedule.queue,
        "state": status.state.value,
        "source": status.source.value,
        "next": status.next_at,
        "last": last and from_ms(last.tick_ms),
        "decision": last and last.decision.value,
        "job_id": last and _job_of(last),
    }


def options_of(status: ScheduleStatus) -> str:
    """Its rules on one line."""
    schedule = status.schedule
    rules = [f"misfire {schedule.misfire.value}", f"grace {format_duration(schedule.grace)}"]
    rules.append(f"overlap {schedule.overlap.value}")
    if schedule.misfire is Misfire.ALL or schedule.overlap is Overlap.QUEUE:
        rules.append(f"at most {schedule.max_catchup} made up for")
    if schedule.jitter:
        rules.append(f"jitter {format_duration(schedule.jitter)}")
    return ", ".join(rules)


def _job_of(record: TickRecord) -> str | None:
    """Its job; of a tick that had none, the job that was in its way."""
    behind = record.job_id is not None and record.decision in (Decision.SKIPPED, Decision.WAITING)
    return f"behind {record.job_id}" if behind else record.job_id


def decided(record: TickRecord) -> dict[str, Any]:
    """A decision. Of ticks skipped together, *first* is the first and *tick* the last."""
    return {
        "tick": from_ms(record.tick_ms),
        "first": from_ms(record.first_ms),
        "schedule": record.name,
        "queue": record.queue,
        "version": record.version,
        "decision": record.decision.value,
        "reason": record.reason.value,
        "count": record.count,
        "job_id": record.job_id,
        "at": from_ms(record.at_ms),
    }


def show_decided(records: Sequence[TickRecord], form: Form, *, empty: str = "nothing was decided yet") -> None:
    """Print decisions, newest first."""
    lines = [decided(each) for each in records]
    if form is Form.TABLE:
        lines = [
            line | {"count": line["count"] or "over 1000", "job_id": _job_of(each)}
            for line, each in zip(lines, records, strict=True)
        ]
    show_all(lines, form, columns=_DECIDED, empty=empty)


def show_coming(ticks: Sequence[TickPreview], form: Form, *, empty: str) -> None:
    """Print ticks to come: by the clock of their zone, in UTC, and what the clock there does then."""
    if form is not Form.TABLE:
        records = [{"local": each.local.isoformat(), "utc": each.at, "note": each.note} for each in ticks]
        return show_all(records, form, columns=_COMING)
    lines = [{"local": local_time(each.local), "utc": utc_time(each.at), "note": each.note or ""} for each in ticks]
    show_all(lines, form, columns=_COMING, empty=empty)
    return None


def say_coming(ticks: Sequence[TickPreview]) -> None:
    """Tell of the next ticks, a line each."""
    for each in ticks:
        note = f"  {each.note}" if each.note else ""
        click.echo(f"next  {local_time(each.local)}  {utc_time(each.at)}{note}")


def local_time(local: datetime) -> str:
    """`Mon 2026-03-30 09:00:00 CEST`."""
    return local.strftime("%a %Y-%m-%d %H:%M:%S %Z")


def utc_time(at: datetime) -> str:
    """`2026-03-30 07:00:00Z`."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ")
