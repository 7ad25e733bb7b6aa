"""What `jobqueue scheduler` tells of its app's schedules, once, at its start."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from jobqueue.app import JobQueue
from jobqueue.errors import JobQueueError
from jobqueue.schedule import Schedule

_log = structlog.get_logger("jobqueue.scheduler")
_SHORTEST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


async def declare(queue: JobQueue, schedules: Sequence[Schedule], *, app: str) -> None:
    """Declare the schedules that *app* defines in code; while servers are away, again and again."""
    pause_s = _SHORTEST_PAUSE_S
    while True:
        try:
            declared = await queue.schedules.declare(schedules, app=app)
        except JobQueueError as error:
            _log.warning("schedules.not_declared", app=app, error=str(error), again_in_s=pause_s)
        else:
            refused = sum(each.change == "refused" for each in declared)
            _log.info("schedules.declared", app=app, schedules=len(schedules), refused=refused)
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
