"""`jobqueue enqueue`: one job, from the shell."""

from datetime import datetime, timedelta
from typing import Any

import click

from jobqueue.app import JobQueue
from jobqueue.cli.asked import asked_job, asked_priority, tell_defaults
from jobqueue.cli.discover import find_app, load_registry
from jobqueue.cli.exit import FAILED, OK
from jobqueue.cli.option import app_option, duration, instant, output_option
from jobqueue.cli.output import Form, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.cli.status import show_job
from jobqueue.clock import format_duration
from jobqueue.config import Settings
from jobqueue.errors import BrokerUnavailable, JobQueueError
from jobqueue.job import JobState
from jobqueue.status import JobHandle

_KEPT_FOR_WAITING = timedelta(minutes=10)


@click.command(name="enqueue")
@click.argument("type", metavar="TYPE")
@click.argument("payload", metavar="[JSON]", default="{}")
@app_option
@click.option("-q", "--queue", help="The queue; else the task's, else default.")
@click.option("-p", "--priority", help="critical, high, medium, low, or 0 to 9 (9 most urgent).")
@click.option("--delay", type=duration, help="Run it after this long, e.g. 1h.")
@click.option("--at", type=instant, help="Run it at this time, e.g. 2026-12-25T09:00:00+01:00.")
@click.option("--max-retries", type=click.IntRange(0), help="How often to try again.")
@click.option("--timeout", type=duration, help="Longest run of one attempt.")
@click.option("--expires", type=duration, help="Drop it when it has not started after this long.")
@click.option("--idempotency-key", help="The same key again, within a day, queues nothing.")
@click.option("--durability", help="local, fsync, replicated or replicated:2; else JOBQUEUE_DURABILITY.")
@click.option("--unique-key", help="At most one live job of the queue holds a key.")
@click.option(
    "--wait",
    type=duration,
    is_flag=False,
    flag_value="5m",
    metavar="[=DURATION]",
    help="Wait until it has ended and print its result; --wait alone waits 5m. Exit 1 unless it completed.",
)
@output_option
@in_loop
async def command(
    type: str,
    payload: str,
    app: str | None,
    queue: str | None,
    priority: str | None,
    delay: timedelta | None,
    at: datetime | None,
    wait: timedelta | None,
    output: Form,
    idempotency_key: str | None,
    durability: str | None,
    **options: Any,
) -> int:
    """Queue one job of TYPE with the arguments in JSON, an object; `-` reads it from stdin.

    Prints its id. Where an app is known, by -A or JOBQUEUE_APP, the task and its arguments are checked first,
    and the task's own options apply; else the job gets the defaults.
    """
    if delay is not None and at is not None:
        raise click.UsageError("give --delay or --at, not both")
    settings = Settings.load()
    found = find_app(app, settings)
    registry = load_registry(found) if found is not None else None
    job = asked_job(type, payload, registry)
    if wait is not None and job.result_ttl is None:
        options["result_ttl"] = _KEPT_FOR_WAITING
    options |= {"queue": queue, "priority": asked_priority(priority)}
    job = job.replace(**{name: value for name, value in options.items() if value is not None})
    async with opened(settings, registry) as jobs:
        await _reach(jobs)
        handle = await jobs.enqueue(job, delay=delay, run_at=at, idempotency_key=idempotency_key, durability=durability)
        tell_defaults(registry)
        if wait is None:
            _show_handle(handle, output)
            return OK
        return await _wait(jobs, handle, type, wait, output)


async def _reach(jobs: JobQueue) -> None:
    """Ask the server once: a program's enqueue waits for a server that is away, but here somebody watches."""
    if jobs.parts.redis is None:
        return
    try:
        await jobs.parts.redis.server()
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"{error}; nothing was queued") from error


def _show_handle(handle: JobHandle, output: Form) -> None:
    if output is not Form.TABLE:
        show_one({"id": handle.id, "queue": handle.queue, "created": handle.created}, output)
        return
    click.echo(handle.id)
    if not handle.created:
        click.echo("it was queued before; nothing was added", err=True)


async def _wait(jobs: JobQueue, handle: JobHandle, type: str, patience: timedelta, output: Form) -> int:
    try:
        status = await jobs.wait(handle.id, timeout=patience, queue=handle.queue)
    except TimeoutError as error:
        raise JobQueueError(
            f"job {handle.id} has not ended within {format_duration(patience)}; "
            f"`jobqueue job show {handle.id}` tells where it is"
        ) from error
    if status is None:
        raise JobQueueError(f"job {handle.id} has ended, and nothing is known of how")
    status.type = status.type or type
    show_job(status, output)
    return OK if status.state is JobState.COMPLETED else FAILED
