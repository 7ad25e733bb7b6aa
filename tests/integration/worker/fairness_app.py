"""A task that stops its own worker process. What happens is told by `tests.acceptance.app.tell`."""

import asyncio
import os
import signal
from pathlib import Path

from jobqueue import JobContext, Registry
from tests.acceptance.app import registry as acceptance
from tests.acceptance.app import tell

registry = Registry()
registry.include(acceptance)


@registry.task("stop_its_worker")
async def stop_its_worker(ctx: JobContext, path: str, n: int, times: int) -> None:
    """Send so many SIGTERM to this process, and go on until there is such a file."""
    tell("start", ctx, n)
    while not Path(path).exists():  # noqa: ASYNC240 - it is another process that makes it
        if times > 0:
            os.kill(os.getpid(), signal.SIGTERM)
            times -= 1
        await asyncio.sleep(0.01)
    tell("end", ctx, n)
