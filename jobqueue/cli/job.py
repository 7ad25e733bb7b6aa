"""`jobqueue job`: one job, wherever it is."""

from typing import Any

import click

from jobqueue.cli.exit import OK
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.clock import from_ms
from jobqueue.errors import JobQueueError
from jobqueue.job import JobState
from jobqueue.status import JobStatus

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
    """Tell where a job is now, or what came of it."""
    async with opened() as jobs:
        status = await jobs.get(job_id, queue=queue)
    if status is None:
        raise JobQueueError(
            f"nothing is known of job {job_id}; without Postgres, a job that has completed leaves nothing behind"
        )
    show_one(record_of(status), output)
    return OK


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
