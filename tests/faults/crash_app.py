"""The tasks of the crash tests. What happens is told in a file that outlives kill -9, by `tests.acceptance.app.tell`.

A `start` is the side effect of a job: it is told before the handler ends in whatever way.
"""

import asyncio
from datetime import timedelta
from pathlib import Path

from jobqueue import JobContext, Registry, RetryPolicy, Snooze
from tests.acceptance.app import tell

registry = Registry()

FLAKY_ATTEMPTS = 3
_SOON = RetryPolicy(base=timedelta(milliseconds=1), jitter="none", max_retries=10)
_NEVER = RetryPolicy(max_retries=0)


@registry.task("ok")
async def ok(ctx: JobContext, ms: int = 0) -> None:
    """Take so long and end well."""
    tell("start", ctx, 0)
    await asyncio.sleep(ms / 1000)


@registry.task("flaky", retry=_SOON)
async def flaky(ctx: JobContext) -> None:
    """End well at the third attempt."""
    tell("start", ctx, 0)
    if ctx.attempt < FLAKY_ATTEMPTS:
        raise ConnectionError(f"attempt {ctx.attempt}")


@registry.task("doomed", retry=_NEVER)
async def doomed(ctx: JobContext) -> None:
    """Fail for good at the first failure."""
    tell("start", ctx, 0)
    raise ValueError("doomed")


@registry.task("mendable", retry=_NEVER)
async def mendable(ctx: JobContext, path: str) -> None:
    """Fail for good until there is such a file."""
    tell("start", ctx, 0)
    if not Path(path).exists():  # noqa: ASYNC240
        raise FileNotFoundError(path)


@registry.task("later")
async def later(ctx: JobContext, path: str) -> None:
    """Ask for a second time once, and leave a file to remember that."""
    tell("start", ctx, 0)
    if not Path(path).exists():  # noqa: ASYNC240
        Path(path).touch()  # noqa: ASYNC240
        raise Snooze(timedelta(milliseconds=1))


@registry.task("hold")
async def hold(ctx: JobContext, path: str) -> None:
    """Wait until there is such a file."""
    tell("start", ctx, 0)
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - it is another process that makes it
        await asyncio.sleep(0.01)
