"""Making due jobs ready, to the millisecond where somebody waits for them."""

from datetime import timedelta

from jobqueue import crash
from jobqueue.broker.base import Broker

LONGEST_PAUSE = timedelta(seconds=5)
"""For jobs whose promoter died or stalled; other jobs that are due before the next look ring: `Broker.listen`."""
_MOST_ROUNDS = 50


async def promote_due(broker: Broker, queue: str) -> timedelta:
    """Promote what is due on *queue*. Returns how long to wait before the next call."""
    for _ in range(_MOST_ROUNDS):
        wait = await broker.promote(queue)
        crash.point("after_promote")
        if wait is None:
            return LONGEST_PAUSE
        if wait > timedelta(0):
            return min(wait, LONGEST_PAUSE)
    return timedelta(0)
