"""The tasks of the worker acceptance tests. What happens is told in a file that outlives kill -9.

One line per event, by one write to a file opened for appending: event, job id, pid, attempt, n, monotonic ns.
"""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

from jobqueue import JobContext, Registry

registry = Registry()
_file = -1


def tell(event: str, ctx: JobContext, n: int) -> None:
    global _file
    if _file < 0:
        _file = os.open(os.environ["ACCEPTANCE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = f"{event} {ctx.job_id} {os.getpid()} {ctx.attempt} {n} {time.monotonic_ns()}\n"
    os.write(_file, line.encode())


@registry.task("count")
async def count(ctx: JobContext, n: int = 0, ms: int = 0) -> None:
    """Take so long, and say so before and after."""
    tell("start", ctx, n)
    await asyncio.sleep(ms / 1000)
    tell("end", ctx, n)


@registry.task("hold", result_ttl=timedelta(minutes=5))
async def hold(ctx: JobContext, path: str, n: int = 0) -> int:
    """Wait until there is such a file."""
    tell("start", ctx, n)
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - it is another process that makes it
        await asyncio.sleep(0.01)
    tell("end", ctx, n)
    return os.getpid()
