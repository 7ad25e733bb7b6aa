"""`jobqueue job`: one job, wherever it is."""

import asyncio
import time
from typing import Any

import click

from jobqueue.app import JobQueue
from jobqueue.cli.exit import OK
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_all, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.clock import from_ms
from jobqueue.errors import JobQueueError
from jobqueue.job import JobState
from jobqueue.status import JobStatus

_PATIENCE_S = 3.0
_PAUSE_S = 0.25
_COLUMNS = ("generation", "attempt", "outcome", "started_at", "duration_ms", "error")

_queue = click.option("--queue", help="Its queue, if known: saves looking into all.")


@click.group(name="job")
def command() -> None:
    """Show or cancel a job."""


@command.command("show")
@click.argument("job_id", metavar="ID")
@_queue
@output_option
@in_loop
async def show(job_id: str, queue: str | None, output: Form) -> int:
    """Tell where a job is now, or what came of it.

    What has just ended arrives in Postgres within about a second; so an unknown job is looked for for 3 s.
    """
    async with opened() as jobs:
        status = await _find(jobs, job_id, queue)
        history = jobs.settings.postgres.url is not None
    if status is None:
        why = (
            f"looked for {_PATIENCE_S:g} s; history arrives within about a second of the end, "
            "where a scheduler runs with this DATABASE_URL"
            if history
            else "without Postgres, a job that has completed leaves nothing behind"
        )
        raise JobQueueError(f"nothing is known of job {job_id}; {why}")
    show_job(status, output)
    return OK


async def _find(jobs: JobQueue, job_id: str, queue: str | None) -> JobStatus | None:
    """Look again for a while: between its end and the next shipment, a job is neither live nor history."""
    patience_s = _PATIENCE_S if jobs.settings.postgres.url is not None else 0
    deadline = time.monotonic() + patience_s
    while True:
        status = await jobs.get(job_id, queue=queue)
        if status is not None or time.monotonic() >= deadline:
            return status
        await asyncio.sleep(_PAUSE_S)


@command.command("cancel")
@click.argument("job_id", metavar="ID")
@_queue
@in_loop
async def cancel(job_id: str, queue: str | None) -> int:
    """Cancel a job: one that waits ends now, one that runs is asked to stop."""
    async with opened() as jobs:
        state = await jobs.cancel(job_id, queue=queue)
    if state is None:
        raise JobQueueError(f"job {job_id} is not live: it has ended, or never was; there is nothing to cancel")
    click.echo("cancelled" if state is JobState.CANCELLED else "it runs; its worker has been asked to stop it")
    return OK


def show_job(status: JobStatus, output: Form) -> None:
    """Print what is known of a job; in a table, its executions are a table of their own below."""
    record = record_of(status)
    executions = record.pop("executions", None) if output is Form.TABLE else None
    show_one(record, output)
    if executions:
        click.echo()
        show_all(executions, output, columns=_COLUMNS)


def record_of(status: JobStatus) -> dict[str, Any]:
    """What is known of a job, without what is not."""
    record: dict[str, Any] = {
        "id": status.id,
        "type": status.type,
        "queue": status.queue,
        "priority": status.priority.value,
        "state": status.state.value,
        "attempt": status.attempt or None,
        "payload": status.payload,
        "created_at": status.created_at,
        "due_at": status.due_at,
        "worker": status.worker,
        "progress": status.progress,
        "cancel_requested": status.cancel_requested or None,
        "last_error": status.last_error,
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
