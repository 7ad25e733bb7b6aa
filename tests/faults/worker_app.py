"""Tasks that do to their worker what handlers should not. What happens is told by `tests.acceptance.app.tell`."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from jobqueue import JobContext, Registry
from tests.acceptance.app import registry as acceptance
from tests.acceptance.app import tell

registry = Registry()
registry.include(acceptance)


@registry.task("kill_its_worker")
async def kill_its_worker(ctx: JobContext) -> None:
    """End this process as the out-of-memory killer does."""
    tell("start", ctx, 0)
    os.kill(os.getpid(), signal.SIGKILL)


@registry.task("block")
async def block(ctx: JobContext, path: str) -> None:
    """In its first attempt, hold up the event loop until there is such a file."""
    tell("start", ctx, 0)
    while ctx.attempt == 1 and not Path(path).exists():  # noqa: ASYNC240
        time.sleep(0.01)  # noqa: ASYNC251 - the block is what is tested
    tell("end", ctx, 0)


@registry.task("stubborn")
async def stubborn(ctx: JobContext) -> None:
    """Go on for ever, whoever asks."""
    tell("start", ctx, 0)
    while True:
        with suppress(BaseException):
            await asyncio.sleep(0.01)
