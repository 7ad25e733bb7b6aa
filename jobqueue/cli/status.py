"""How a job is printed."""

from typing import Any

import click

from jobqueue.cli.output import Form, show_all, show_one
from jobqueue.clock import from_ms, to_ms
from jobqueue.planning.origin import Origin
from jobqueue.status import JobStatus

_COLUMNS = ("generation", "attempt", "outcome", "started_at", "duration_ms", "error")


def show_job(status: JobStatus, output: Form, *, made_by: Origin | None = None) -> None:
    """Print what is known of a job; in a table, its executions are a table of their own below."""
    record = record_of(status, made_by)
    executions = record.pop("executions", None) if output is Form.TABLE else None
    show_one(record, output)
    if executions:
        click.echo()
        show_all(executions, output, columns=_COLUMNS)


def record_of(status: JobStatus, made_by: Origin | None = None) -> dict[str, Any]:
    """What is known of a job, and of the schedule that made it, without what is not."""
    record: dict[str, Any] = {
        "id": status.id,
        "type": status.type,
        "queue": status.queue,
        "priority": status.priority.value,
        "state": status.state.value,
        "attempt": status.attempt or None,
        "schedule": None if made_by is None else made_by.schedule,
        "tick": None if made_by is None else made_by.tick,
        "payload": status.payload,
        "created_at": status.created_at,
        "due_at": status.due_at,
        "started_at": status.started_at,
        "finished_at": status.finished_at,
        "duration_ms": status.duration_ms,
        "max_retries": status.max_retries,
        "timeout_ms": to_ms(status.timeout) if status.timeout is not None else None,
        "worker": status.worker,
        "progress": status.progress,
        "cancel_requested": status.cancel_requested or None,
        "last_error": status.last_error,
        "error_message": status.error_message,
        "result": status.result,
        "executions": [
            {
                "generation": each.generation,
                "attempt": each.attempt,
                "outcome": each.outcome,
                "started_at": from_ms(each.started_ms) if each.started_ms else None,
                "duration_ms": each.duration_ms,
                "error": each.error_class and f"{each.error_class}: {each.error_message}",
            }
            for each in status.executions
        ]
        or None,
    }
    return {name: value for name, value in record.items() if value is not None and value != ""}


def line_of(status: JobStatus) -> dict[str, Any]:
    """What a list tells of a job. *at*: when it ended, else started, else is due, else was made."""
    return {
        "id": status.id,
        "queue": status.queue,
        "type": status.type or None,
        "state": status.state.value,
        "attempt": status.attempt,
        "at": status.finished_at or status.started_at or status.due_at or status.created_at,
        "error": f"{status.last_error}: {status.error_message}" if status.error_message else status.last_error,
    }
