"""Schedules made, changed, held, removed, and run by hand."""

from datetime import timedelta
from typing import Any, Final

import click

from jobqueue.app import JobQueue
from jobqueue.cli.asked import asked_job, asked_priority, tell_defaults
from jobqueue.cli.cron.asked import Quoted, in_options
from jobqueue.cli.cron.record import record_of, say_coming
from jobqueue.cli.discover import find_app, load_registry
from jobqueue.cli.option import app_option, confirm, duration, output_option, yes_option
from jobqueue.cli.output import Form, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.cli.trail import note
from jobqueue.config import Settings
from jobqueue.errors import ScheduleConflict, ScheduleNotFound
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.schedule import DEFAULT_CATCHUP, Misfire, Overlap, Schedule, ScheduleState, Source
from jobqueue.status import ScheduleStatus

_SHOWN: Final = 3

name_argument = click.argument("name", metavar="NAME")


@click.command("add", cls=Quoted)
@name_argument
@click.argument("expression")
@click.argument("type", metavar="TYPE")
@click.argument("payload", metavar="[JSON]", default="{}")
@app_option
@click.option("-q", "--queue", help="The queue; else the task's, else default.")
@click.option("-p", "--priority", help="critical, high, medium, low, or 0 to 9 (9 most urgent).")
@click.option(
    "--timezone",
    default="UTC",
    show_default=True,
    help="Such as Europe/Madrid: the expression is about the wall clock there.",
)
@click.option("--seconds", is_flag=True, help="EXPRESSION has six fields, seconds first.")
@click.option(
    "--misfire",
    type=click.Choice([each.value for each in Misfire]),
    default=Misfire.ONCE.value,
    show_default=True,
    help="What becomes of ticks that nobody decided in time.",
)
@click.option(
    "--max-catchup",
    type=int,
    default=DEFAULT_CATCHUP,
    show_default=True,
    help="Of more missed or waiting ticks, only so many are made up for.",
)
@click.option("--grace", type=duration, default="1m", show_default=True, help="How late a tick may be decided.")
@click.option(
    "--overlap",
    type=click.Choice([each.value for each in Overlap]),
    default=Overlap.ALLOW.value,
    show_default=True,
    help="What becomes of a tick while the job of the one before has not ended.",
)
@click.option(
    "--jitter", type=duration, default="0s", show_default=True, help="Each job is due up to so much after its tick."
)
@click.option("--max-retries", type=click.IntRange(0), help="How often to try again.")
@click.option("--timeout", type=duration, help="Longest run of one attempt.")
@click.option("--expires", type=duration, help="Drop a job that has not started after this long.")
@click.option("--result-ttl", type=duration, help="Keep each job's result for so long; else as the task says.")
@click.option("--replace", is_flag=True, help="Change it if there is one of this name.")
@output_option
@in_loop
async def add(
    name: str,
    expression: str,
    type: str,
    payload: str,
    app: str | None,
    queue: str | None,
    priority: str | None,
    max_retries: int | None,
    timeout: timedelta | None,
    expires: timedelta | None,
    result_ttl: timedelta | None,
    replace: bool,
    output: Form,
    **timing: Any,
) -> None:
    """Make a schedule: at each tick of EXPRESSION, a job of TYPE with the arguments in JSON is queued.

    Where an app is known, by -A or JOBQUEUE_APP, the task and its arguments are checked first. Ticks fire while a
    `jobqueue scheduler` runs. Quote the expression: '0 9 * * mon-fri'.
    """
    settings = Settings.load()
    found = find_app(app, settings)
    registry = load_registry(found) if found is not None else None
    options = {
        "queue": queue,
        "priority": asked_priority(priority),
        "max_retries": max_retries,
        "timeout": timeout,
        "expires": expires,
        "result_ttl": result_ttl,
    }
    job = asked_job(type, payload, registry).replace(
        **{option: value for option, value in options.items() if value is not None}
    )
    _check(job, registry)
    with in_options():
        schedule = Schedule.of(name, expression, job, **timing)
    async with opened(settings, registry) as jobs:
        there = await _existing(jobs, name)
        if there is not None:
            _refuse_code(there)
            if not replace:
                raise ScheduleConflict(f"schedule {name!r} exists: {there.description}; --replace changes it")
        await note(jobs, "schedule.change" if there is not None else "schedule.create", name, _told(schedule))
        status = await jobs.schedules.save(schedule, create=not replace)
        tell_defaults(registry)
        await _show(jobs, status, output, said="changed" if there is not None else "added")


async def _existing(jobs: JobQueue, name: str) -> ScheduleStatus | None:
    try:
        return await jobs.schedules.get(name)
    except ScheduleNotFound:
        return None


def _refuse_code(status: ScheduleStatus) -> None:
    """Refuse what is defined in code before the audit log says that it was changed."""
    _refuse_retired(status)
    if status.source is Source.CODE:
        raise ScheduleConflict(f"schedule {status.name!r} is defined in code, by {status.app}; change it there")


def _refuse_retired(status: ScheduleStatus) -> None:
    if status.state is ScheduleState.RETIRED:
        raise ScheduleConflict(
            f"schedule {status.name!r} is retired: {status.app} defines it no more; "
            f"jobqueue cron rm {status.name} removes it"
        )


def _check(job: Job, registry: Registry | None) -> None:
    if registry is not None:
        registry.get(job.type).check(job.payload_json)


def _told(schedule: Schedule) -> dict[str, object]:
    """What the audit log keeps: never the payload."""
    return {
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "type": schedule.type,
        "queue": schedule.queue,
        "misfire": schedule.misfire.value,
        "overlap": schedule.overlap.value,
    }


async def _show(jobs: JobQueue, status: ScheduleStatus, output: Form, *, said: str) -> None:
    ticks = await jobs.schedules.next(status.name, _SHOWN)
    if output is not Form.TABLE:
        show_one({**record_of(status), "next": [each.at for each in ticks]}, output)
        return
    click.echo(f"{said} {status.name}: {status.description}")
    say_coming(ticks)
    if status.state is ScheduleState.PAUSED:
        click.echo(f"it is paused; jobqueue cron resume {status.name}", err=True)


@click.command("pause")
@name_argument
@in_loop
async def pause(name: str) -> None:
    """Let a schedule have no ticks until `resume`. Jobs that it has made go on."""
    async with opened() as jobs:
        _refuse_retired(await jobs.schedules.get(name))
        await note(jobs, "schedule.pause", name)
        await jobs.schedules.pause(name)
    click.echo(f"{name} is paused; jobqueue cron resume {name}")


@click.command("resume")
@name_argument
@in_loop
async def resume(name: str) -> None:
    """Undo `pause`. The ticks of the time between are not made up for; `cron backfill` can."""
    async with opened() as jobs:
        _refuse_retired(await jobs.schedules.get(name))
        await note(jobs, "schedule.resume", name)
        status = await jobs.schedules.resume(name)
        await _show(jobs, status, Form.TABLE, said="resumed")


@click.command("rm")
@name_argument
@yes_option
@in_loop
async def rm(name: str, yes: bool) -> None:
    """Remove a schedule. Jobs that it has made go on; the record of its ticks stays."""
    async with opened() as jobs:
        status = await jobs.schedules.get(name)
        if status.state is not ScheduleState.RETIRED:
            _refuse_code(status)
        confirm(f"Remove schedule {name} ({status.description})?", yes=yes)
        await note(jobs, "schedule.remove", name)
        await jobs.schedules.remove(name)
    click.echo(f"removed {name}")


@click.command("run")
@name_argument
@output_option
@in_loop
async def run(name: str, output: Form) -> None:
    """Queue a job of a schedule now, whatever its ticks, and print its id. A paused one can be run, too."""
    async with opened() as jobs:
        await jobs.schedules.get(name)
        await note(jobs, "schedule.run", name)
        handle = await jobs.schedules.run(name)
    if output is Form.TABLE:
        click.echo(handle.id)
    else:
        show_one({"id": handle.id, "queue": handle.queue}, output)
