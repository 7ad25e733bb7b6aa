"""Schedules looked at: what there is, what comes, what was decided."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import click

from jobqueue.app import JobQueue
from jobqueue.cli.cron.asked import Quoted, in_options, instant_in, moment
from jobqueue.cli.cron.change import name_argument
from jobqueue.cli.cron.record import line_of, options_of, record_of, show_coming, show_decided
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_all, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.cron import CronSchedule, TickPreview
from jobqueue.cron.schedule import FIRST
from jobqueue.errors import ScheduleNotFound
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import ScheduleState
from jobqueue.status import ScheduleStatus
from jobqueue.tick import Decision, TickRecord

_COLUMNS: Final = (
    "name",
    "expression",
    "timezone",
    "task",
    "queue",
    "state",
    "source",
    "next",
    "last",
    "decision",
    "job_id",
)
_NOT_IN_A_TABLE: Final = ("seconds", "misfire", "max_catchup", "grace_ms", "overlap", "jitter_ms", "last")
_LAST: Final = 10
_PAGE: Final = 200
_MOST: Final = 1_000
_EARLIEST: Final = FIRST - timedelta(days=1)
"""1900-01-01 begins before it does in UTC where the clock is ahead."""


@click.command("ls")
@click.option("-q", "--queue", help="Those whose jobs go to this queue.")
@click.option("--all", "removed", is_flag=True, help="Also those that were removed.")
@output_option
@in_loop
async def ls(queue: str | None, removed: bool, output: Form) -> None:
    """List the schedules, with their next tick and what was decided about the last."""
    async with opened() as jobs:
        found = await jobs.schedules.list(queues=None if queue is None else [queue], removed=removed)
    records = [line_of(each) if output is Form.TABLE else record_of(each) for each in found]
    empty = "no schedules; jobqueue cron add makes one, as does @registry.cron once a scheduler of that app has started"
    show_all(records, output, columns=_COLUMNS, empty=empty)


@click.command("show")
@name_argument
@output_option
@in_loop
async def show(name: str, output: Form) -> None:
    """Show a schedule in full, with what was decided last; one that was removed, too, until it is forgotten."""
    async with opened() as jobs:
        status = await _kept(jobs, name)
        last, _ = await jobs.schedules.ticks(TickFilter(name=name), limit=_LAST)
    record = record_of(status)
    if output is not Form.TABLE:
        return show_one(record, output)
    kept = {key: value for key, value in record.items() if key not in _NOT_IN_A_TABLE and value is not None}
    for key in ("headers", "never"):
        if not record[key]:
            del kept[key]
    show_one({**kept, "rules": options_of(status)}, output)
    if last:
        click.echo()
        show_decided(last, output)
    return None


async def _kept(jobs: JobQueue, name: str) -> ScheduleStatus:
    """A schedule, also one that was removed."""
    try:
        return await jobs.schedules.get(name)
    except ScheduleNotFound:
        removed = [each for each in await jobs.schedules.list(removed=True) if each.name == name]
        if not removed:
            raise
        return removed[0]


@click.command("next", cls=Quoted)
@click.argument("which", metavar="NAME|EXPRESSION")
@click.option("-n", "count", type=click.IntRange(1, _MOST), default=10, show_default=True, help="How many.")
@click.option("--timezone", metavar="ZONE", help="With an expression: by the wall clock there; else UTC.")
@click.option("--seconds", is_flag=True, help="With an expression: it has six fields, seconds first.")
@click.option("--after", type=moment, metavar="TIME", help="Those after this time or date; else after now.")
@output_option
@in_loop
async def coming(which: str, count: int, timezone: str | None, seconds: bool, after: date | None, output: Form) -> None:
    """Show the ticks to come of a schedule, or of an expression, for which no server is needed.

    By the clock of the schedule's zone and in UTC, with a note where the clock there is set meanwhile. A TIME
    without Z or an offset is read by the clock of that zone, or of --timezone: 2026-03-28 is its midnight.
    """
    if _is_expression(which):
        with in_options():
            cron = CronSchedule.parse(which, timezone="UTC" if timezone is None else timezone, seconds=seconds)
        start = datetime.now(UTC) if after is None else _after(after, cron.timezone)
        show_coming(cron.preview(start, count), output, empty="it has no ticks any more")
        if output is Form.TABLE:
            click.echo(cron.describe(), err=True)
        return
    if timezone is not None or seconds:
        raise click.UsageError("a schedule has its own time zone and fields; give those with an expression")
    async with opened() as jobs:
        ticks, empty = await _coming(jobs, which, count, after)
    show_coming(ticks, output, empty=empty)


def _is_expression(text: str) -> bool:
    """No name has spaces or begins with @."""
    return text.startswith("@") or " " in text.strip()


def _after(asked: date, timezone: str) -> datetime:
    """The instant of `--after`. Earlier than the first tick that there is, it would be answered as if it were that."""
    after = instant_in("--after", asked, timezone)
    if after < _EARLIEST:
        raise click.UsageError(f"--after: {asked} is too early; ticks are known from the year {FIRST.year} on")
    return after


async def _coming(jobs: JobQueue, name: str, count: int, after: date | None) -> tuple[Sequence[TickPreview], str]:
    status = await jobs.schedules.get(name)
    if status.state is not ScheduleState.ACTIVE:
        return [], f"{name} is {status.state.value} and has no ticks"
    if after is not None:
        start = _after(after, status.schedule.timezone)
        return status.schedule.cron.preview(start, count), "it has no ticks after that"
    return await jobs.schedules.next(name, count), "it has no ticks any more"


@click.command("ticks")
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--decision", type=click.Choice([each.value for each in Decision]), help="Only where this was decided.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, newest first.")
@output_option
@in_loop
async def ticks(name: str | None, decision: str | None, limit: int, output: Form) -> None:
    """List what was decided about ticks, and why: of one schedule or of all, newest first."""
    where = TickFilter(name=name, decision=Decision(decision) if decision else None)
    async with opened() as jobs:
        found, more = await _first(jobs, where, limit)
        if name is not None and not found:
            await _refuse_unknown(jobs, name)
    show_decided(found, output)
    if more:
        click.echo(f"these are the newest {limit}; --limit shows more", err=True)


async def _refuse_unknown(jobs: JobQueue, name: str) -> None:
    """Raise `ScheduleNotFound` for a name of which there is nothing. Records outlive a schedule that is forgotten."""
    records, _ = await jobs.schedules.ticks(TickFilter(name=name), limit=1)
    if not records:
        await _kept(jobs, name)


async def _first(jobs: JobQueue, where: TickFilter, limit: int) -> tuple[list[TickRecord], bool]:
    found: list[TickRecord] = []
    after: str | None = None
    while True:
        page, after = await jobs.schedules.ticks(where, limit=min(limit - len(found), _PAGE), after=after)
        found += page
        if after is None or len(found) >= limit:
            return found, after is not None
