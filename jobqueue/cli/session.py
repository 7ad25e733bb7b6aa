"""What the short commands have in common: settings, a queue that is closed again, a loop to run in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from jobqueue.app import JobQueue
from jobqueue.cli.log import configure_logging
from jobqueue.config import Settings
from jobqueue.errors import JobQueueError
from jobqueue.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")


def in_loop(command: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make a coroutine function a plain one that runs in an event loop of its own."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return asyncio.run(command(*args, **kwargs))

    return run


@asynccontextmanager
async def opened(settings: Settings | None = None, registry: Registry | None = None) -> AsyncIterator[JobQueue]:
    """The queue that the settings lead to; only warnings and worse are logged."""
    settings = settings or Settings.load()
    configure_logging(settings.log, at_least="warning")
    async with JobQueue.from_settings(settings, registry=registry) as queue:
        yield queue


async def existing(queue: JobQueue, name: str) -> str:
    """*name*, if there is a queue of that name.

    Raises:
        JobQueueError: there is none; names those that there are.
    """
    names = await queue.queues()
    if name in names:
        return name
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise JobQueueError(
        f"no queue named {name!r} (there are: {shown or 'none yet'}); a queue begins with its first job or worker"
    )
