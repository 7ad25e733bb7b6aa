"""Firing what is due on a queue in memory, without a scheduler."""

from jobqueue.app import JobQueue
from jobqueue.schedule import ScheduleState
from jobqueue.scheduler import firing
from jobqueue.testing.queue import broker_of

_ROUNDS = 1_000


async def fire_due(queue: JobQueue) -> None:
    """Decide all ticks that have come by the queue's clock, as a scheduler would; `queue.schedules.ticks` tells what.

    A tick longer ago than the schedule's `grace` is missed, as ever: after one jump of the clock over five ticks, the
    misfire rule `once` fires the newest, for all. Advance to each tick, `schedules.next(name, 1)`, to fire it on time.

    Args:
        queue: a `memory_queue`.

    Raises:
        TypeError: the queue is not in memory.
    """
    timetable = broker_of(queue).timetable
    for definition in await queue.parts.schedules.list():
        standing = await firing.adopt(timetable, definition)
        if definition.state is ScheduleState.ACTIVE:
            look = await timetable.look(definition.schedule.queue, [])
            await firing.fire_due(timetable, definition.schedule, standing, look.now_ms, rounds=_ROUNDS)
