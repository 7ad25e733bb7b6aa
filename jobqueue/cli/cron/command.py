"""`jobqueue cron`: the group and its commands."""

import click

from jobqueue.cli.cron.backfill import backfill
from jobqueue.cli.cron.change import add, pause, resume, rm, run
from jobqueue.cli.cron.look import coming, ls, show, ticks


@click.group(name="cron")
def command() -> None:
    """Make, list, preview, pause, run, backfill and remove schedules.

    They fire while a `jobqueue scheduler` runs; any number may.
    """


for each in (add, ls, show, coming, run, pause, resume, rm, ticks, backfill):
    command.add_command(each)
