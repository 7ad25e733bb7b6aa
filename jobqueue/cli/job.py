"""`jobqueue job`: one job, wherever it is, or many by a filter."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import click

from jobqueue.app import JobQueue
from jobqueue.cli.exit import OK
from jobqueue.cli.many import AT_A_CALL, carry_out
from jobqueue.cli.option import confirm, output_option, yes_option
from jobqueue.cli.output import Form, counted, show_all
from jobqueue.cli.session import in_loop, opened
from jobqueue.cli.status import line_of, record_of, show_job
from jobqueue.errors import JobQueueError, RepositoryUnavailable
from jobqueue.job import JobState
from jobqueue.planning.origin import Origin, origin_of
from jobqueue.record import Many
from jobqueue.search import JobFilter
from jobqueue.status import JobStatus

_PATIENCE_S: Final = 3.0
_PAUSE_S: Final = 0.25
_PAGE: Final = 200
_COLUMNS: Final = ("id", "queue", "type", "state", "attempt", "at", "error")

_Command = TypeVar("_Command", bound=Callable[..., Any])

_queue = click.option("--queue", help="Its queue, if known: saves looking into all.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only tell how many there are.")


def _filters(command: _Command) -> _Command:
    """The options that choose jobs, handed on as one `where`."""

    @functools.wraps(command)
    def choose(queue: Any, type: Any, state: Any, search: Any, **rest: Any) -> Any:
        state = JobState(state) if state else None
        return command(where=JobFilter(state=state, type=type, queue=queue, q=search), **rest)

    decorated: Any = choose
    for option in (
        click.option(
            "--search", metavar="WORDS", help="These words are in the payload or the error; or this is its id."
        ),
        click.option("--queue", help="Of this queue."),
        click.option("--type", help="Of this task."),
        click.option("--state", type=click.Choice([each.value for each in JobState]), help="In this state."),
    ):
        decorated = option(decorated)
    result: _Command = decorated
    return result


@click.group(name="job")
def command() -> None:
    """List, show, cancel and retry jobs."""


@command.command("ls")
@_filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@output_option
@in_loop
async def ls(where: JobFilter, limit: int, output: Form) -> None:
    """List jobs: running, queued, delayed, then those that ended, newest first.

    Jobs that ended come from Postgres; without it, only dead ones are known.
    """
    async with opened() as jobs:
        found, more = await _first(jobs, where, limit)
    records = [line_of(each) if output is Form.TABLE else record_of(each) for each in found]
    show_all(records, output, columns=_COLUMNS, empty="no jobs")
    if more:
        click.echo(f"these are the first {limit}; --limit shows more", err=True)


async def _first(jobs: JobQueue, where: JobFilter, limit: int) -> tuple[list[JobStatus], bool]:
    found: dict[str, JobStatus] = {}
    after: str | None = None
    while True:
        page, after = await jobs.find(where, limit=min(limit - len(found), _PAGE), after=after)
        found |= {each.id: each for each in page}
        if after is None or len(found) >= limit:
            return list(found.values()), after is not None


@command.command("show")
@click.argument("job_id", metavar="ID")
@_queue
@output_option
@in_loop
async def show(job_id: str, queue: str | None, output: Form) -> int:
    """Tell where a job is now, or what came of it, and the schedule and tick that it is of.

    What has just ended arrives in Postgres within about a second; so an unknown job is looked for for 3 s.
    """
    async with opened() as jobs:
        status = await _find(jobs, job_id, queue)
        made_by = None if status is None else await _origin(jobs, status)
        history = jobs.settings.postgres.url is not None
    if status is None:
        why = (
            f"looked for {_PATIENCE_S:g} s; history arrives within about a second of the end, "
            "where a scheduler runs with this DATABASE_URL"
            if history
            else "without Postgres, a job that has completed leaves nothing behind"
        )
        raise JobQueueError(f"nothing is known of job {job_id}; {why}")
    show_job(status, output, made_by=made_by)
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


async def _origin(jobs: JobQueue, status: JobStatus) -> Origin | None:
    """The schedule that made it; None also where the records are away: the job is shown all the same."""
    try:
        return await origin_of(status, jobs.parts.ticks)
    except RepositoryUnavailable:
        return None


@command.command("cancel")
@click.argument("job_id", metavar="[ID]", required=False)
@_filters
@_dry_run
@yes_option
@in_loop
async def cancel(job_id: str | None, where: JobFilter, dry_run: bool, yes: bool) -> int:
    """Cancel a job, or all live jobs that the filters choose.

    One that waits ends now, one that runs is asked to stop.
    """
    _check_choice(job_id, where, dry_run)
    async with opened() as jobs:
        if job_id is None:
            return await _many(jobs.cancel_where, where, dry_run, yes, ("cancel", "cancelling", "cancelled {}"))
        state = await jobs.cancel(job_id, queue=where.queue)
    if state is None:
        raise JobQueueError(f"job {job_id} is not live: it has ended, or never was; there is nothing to cancel")
    click.echo("cancelled" if state is JobState.CANCELLED else "it runs; its worker has been asked to stop it")
    return OK


@command.command("retry")
@click.argument("job_id", metavar="[ID]", required=False)
@_filters
@_dry_run
@yes_option
@in_loop
async def retry(job_id: str | None, where: JobFilter, dry_run: bool, yes: bool) -> int:
    """Let a job run now: one that waits for its time, or a dead one; or all that the filters choose.

    With filters, --state is one of scheduled, retrying and dead.
    """
    _check_choice(job_id, where, dry_run)
    async with opened() as jobs:
        if job_id is None:
            return await _many(jobs.retry_where, where, dry_run, yes, ("retry", "retrying", "retried {}"))
        state = await jobs.retry(job_id, queue=where.queue)
    if state is None:
        raise JobQueueError(f"job {job_id} is neither live nor dead; there is nothing to retry")
    click.echo("it runs already" if state is JobState.RUNNING else "queued")
    return OK


class _OnMany(Protocol):
    def __call__(self, where: JobFilter, *, limit: int = ..., dry_run: bool = ...) -> Awaitable[Many]: ...


async def _many(act: _OnMany, where: JobFilter, dry_run: bool, yes: bool, verbs: tuple[str, str, str]) -> int:
    do, doing, said = verbs
    seen = await act(where, dry_run=True)
    number = counted(seen.matched, "job") + (", and maybe more" if seen.more_than else "")
    if dry_run or not seen.matched:
        click.echo(f"would {do} {number}")
        return OK
    confirm(f"{do.capitalize()} {number}?", yes=yes)
    once = functools.partial(act, where, limit=AT_A_CALL)
    return await carry_out(once, doing=doing, said=said, thing="job", total=seen.matched)


def _check_choice(job_id: str | None, where: JobFilter, dry_run: bool) -> None:
    narrowed = where != JobFilter(queue=where.queue)
    if job_id is not None and (narrowed or dry_run):
        raise click.UsageError("give an id, or filters, not both")
    if job_id is None and where == JobFilter():
        raise click.UsageError("which jobs? give an id, or filters: --state, --type, --queue, --search")
