"""Past ticks made up for, each once."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import click

from jobqueue.app import JobQueue
from jobqueue.cli.cron.asked import in_options, instant_in, moment
from jobqueue.cli.cron.change import name_argument
from jobqueue.cli.cron.record import local_time, utc_time
from jobqueue.cli.option import confirm, output_option, yes_option
from jobqueue.cli.output import Form, counted, show_all
from jobqueue.cli.progress import progress
from jobqueue.cli.session import in_loop, opened
from jobqueue.cli.trail import note
from jobqueue.errors import BrokerError, RepositoryError
from jobqueue.status import Backfill, BackfillTick

_AT_A_CALL: Final = 200
_MOST: Final = 100_000
_SECOND: Final = timedelta(seconds=1)
_SHOWN: Final = 20
_COLUMNS: Final = ("local", "utc", "job_id", "job")


@click.command("backfill")
@name_argument
@click.option("--from", "start", type=moment, required=True, metavar="TIME", help="From this time or date on.")
@click.option("--to", "end", type=moment, required=True, metavar="TIME", help="Up to this one, but without it.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=1_000, show_default=True, help="So many ticks, oldest first."
)
@click.option("--dry-run", is_flag=True, help="Only show which they are.")
@yes_option
@output_option
@in_loop
async def backfill(name: str, start: date, end: date, limit: int, dry_run: bool, yes: bool, output: Form) -> None:
    """Queue the jobs of past ticks. Each once: a tick whose job was made before is left out.

    A TIME is a date, such as 2026-01-01 for its midnight, or a time such as 2026-01-01T09:00; without Z or an
    offset it is of the schedule's time zone.
    """
    async with opened() as jobs:
        timezone = (await jobs.schedules.get(name)).schedule.timezone
        zone = ZoneInfo(timezone)
        since, until = instant_in("--from", start, timezone), instant_in("--to", end, timezone)
        if until <= since:
            raise click.UsageError("--to must be after --from")
        run = _Run(jobs, name, since, until, limit)
        planned = await run.pages(dry_run=True)
        new = _new(planned.ticks)
        if dry_run or output is Form.TABLE:
            _show(planned.ticks, zone, output, shown=limit if dry_run else _SHOWN)
        if planned.more:
            click.echo(f"these are the first {limit} ticks; --limit takes more", err=True)
        if dry_run or not new:
            click.echo(f"would queue {_said(planned)}" if new else _nothing(planned), err=True)
            return
        confirm(f"Queue {_said(planned)}?", yes=yes)
        detail = {"since": since.isoformat(), "until": until.isoformat(), "ticks": len(planned.ticks), "jobs": new}
        await note(jobs, "schedule.backfill", name, detail)
        with progress("queueing", len(planned.ticks), things="ticks") as show:
            done = await run.pages(dry_run=False, show=show)
    if output is not Form.TABLE:
        _show(done.ticks, zone, output, shown=limit)
    click.echo(f"queued {_said(done)}", err=output is not Form.TABLE)


class _Run:
    """A backfill in calls of some ticks each."""

    def __init__(self, jobs: JobQueue, name: str, since: datetime, until: datetime, limit: int) -> None:
        self._jobs, self._name = jobs, name
        self._since, self._until, self._limit = since, until, limit

    async def pages(self, *, dry_run: bool, show: Callable[[int], None] = lambda _: None) -> Backfill:
        ticks: list[BackfillTick] = []
        since, more = self._since, True
        while more and len(ticks) < self._limit:
            size = min(_AT_A_CALL, self._limit - len(ticks))
            try:
                with in_options():
                    page = await self._jobs.schedules.backfill(
                        self._name, since=since, until=self._until, limit=size, dry_run=dry_run
                    )
            except (BrokerError, RepositoryError):
                if not dry_run:
                    click.echo(f"queued {_said(Backfill(ticks=ticks))}; give the command again to go on", err=True)
                raise
            ticks += page.ticks
            more = page.more and bool(page.ticks)
            show(len(ticks))
            if page.ticks:
                since = page.ticks[-1].at + _SECOND
        return Backfill(ticks=ticks, more=more)


def _show(ticks: Sequence[BackfillTick], zone: ZoneInfo, output: Form, *, shown: int) -> None:
    if output is not Form.TABLE:
        records = [{"tick": each.at, "job_id": each.job_id, "new": each.new} for each in ticks]
        return show_all(records, output, columns=_COLUMNS)
    lines = [
        {
            "local": local_time(each.at.astimezone(zone)),
            "utc": utc_time(each.at),
            "job_id": each.job_id,
            "job": "new" if each.new else "made before",
        }
        for each in ticks[:shown]
    ]
    show_all(lines, output, columns=_COLUMNS, empty="no ticks in that time")
    if len(ticks) > shown:
        click.echo(f"and {len(ticks) - shown} more", err=True)
    return None


def _new(ticks: Sequence[BackfillTick]) -> int:
    return sum(each.new for each in ticks)


def _nothing(found: Backfill) -> str:
    match len(found.ticks):
        case 0:
            return "nothing to queue"
        case 1:
            return "nothing to queue: the one tick had its job before"
        case count:
            return f"nothing to queue: all {count} had theirs before"


def _said(found: Backfill) -> str:
    new = _new(found.ticks)
    before = len(found.ticks) - new
    return counted(new, "job") + (f"; {before} of these ticks had theirs before" if before else "")
