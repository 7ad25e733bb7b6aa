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


async def carry_out(act: Callable[[], Awaitable[Many]], *, doing: str, done: str, thing: str, total: int) -> int:
    """Call *act* until nothing remains, or *total* were done; says what was refused. Returns the exit code."""
    finished, failed = 0, dict[str, str]()
    with progress(doing, total, things=f"{thing}s") as show:
        while finished < total:
            try:
                many = await act()
            except BrokerError:
                click.echo(f"{done} {counted(finished, thing)}", err=True)
                raise
            finished += many.done
            failed |= many.failed
            show(min(finished, total))
            if not many.done or not many.remaining:
                break
    for job_id, why in failed.items():
        click.echo(f"{job_id}: {why}", err=True)
    click.echo(f"{done} {counted(finished, thing)}")
    return FAILED if failed else OK
