"""An action on many jobs or dead letters, call after call, with a progress bar on stderr."""

from collections.abc import Awaitable, Callable
from typing import Final

import click

from jobqueue.cli.exit import FAILED, OK
from jobqueue.cli.output import counted
from jobqueue.cli.progress import progress
from jobqueue.errors import BrokerError
from jobqueue.record import Many

AT_A_CALL: Final = 200


async def carry_out(act: Callable[[], Awaitable[Many]], *, doing: str, said: str, thing: str, total: int) -> int:
    """Call *act* until nothing remains, *total* are done, or none will; tells what was refused. The exit code.

    *said* tells of how many it was done, as in `deleted {}`.
    """
    done, failed, remaining = 0, dict[str, str](), 0
    with progress(doing, total, things=f"{thing}s") as show:
        while done < total:
            try:
                many = await act()
            except BrokerError:
                click.echo(said.format(counted(done, thing)), err=True)
                raise
            done, failed, remaining = done + many.done, failed | many.failed, many.remaining
            show(min(done, total))
            if not many.done or not remaining:
                break
    for job_id, why in failed.items():
        click.echo(f"{job_id}: {why}", err=True)
    click.echo(said.format(counted(done, thing)))
    if remaining:
        click.echo("there are more; give the command again", err=True)
    return FAILED if failed else OK
