"""`jobqueue demo`: the main job on real input, to its end."""

import asyncio
import os
import platform
import signal

import click

from jobqueue.cli.demo import report, tasks
from jobqueue.cli.demo.run import Account, analyse_all, stage
from jobqueue.cli.exit import FAILED, INTERRUPTED, OK
from jobqueue.cli.log import configure_logging
from jobqueue.cli.progress import progress
from jobqueue.config import LogSettings
from jobqueue.errors import require


@click.command(name="demo")
@click.option("--processes", type=click.IntRange(1, 64), help="Worker processes; else one per processor, from 2 to 8.")
def command(processes: int | None) -> int:
    """Analyse the Python standard library: one job per file, some 1 800.

    On a private Valkey and Postgres that are gone afterwards, with real worker processes and a scheduler. The
    files that do not parse are tried again and end as dead letters. Exit code 0 only if every file is
    accounted for.
    """
    require("asyncpg", "postgres")
    configure_logging(LogSettings(), at_least="warning")
    try:
        return asyncio.run(_demo(processes or min(max(os.cpu_count() or 2, 2), 8)))
    except asyncio.CancelledError:
        _say("stopped before its end; nothing is left behind")
        return INTERRUPTED


async def _demo(processes: int) -> int:
    _end_on_sigterm()
    files = tasks.source_files()
    _say(f"{len(files)} files of Python {platform.python_version()} in {tasks.LIBRARY}")
    _say("starting a private Valkey and Postgres ...")
    async with stage(processes) as (queue, servers):
        _say(
            f"{servers.redis.flavour} {servers.redis.version} and Postgres {servers.postgres.version} are up; "
            f"{processes} worker processes and a scheduler start"
        )
        with progress("analysing", len(files), things="files") as show:
            account = await analyse_all(queue, files, show)
    _report(account)
    return OK if account.settled else FAILED


def _end_on_sigterm() -> None:
    demo = asyncio.current_task()
    assert demo is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, demo.cancel)


def _report(account: Account) -> None:
    click.echo()
    click.echo(report.summary(account))
    click.echo()
    if account.letters:
        click.echo(report.dead_letters(account))
        click.echo()
    click.echo(report.account_lines(account))
    click.echo()
    click.echo(f"{report.NEXT}{tasks.__file__}")


def _say(line: str) -> None:
    click.echo(line, err=True)
