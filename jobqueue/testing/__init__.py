"""What tests of programs import: a queue in memory, a clock, `drain`, `fire_due`, `assert_enqueued`.

Nothing here needs a server. `jobqueue.testing.plugin` has fixtures for pytest.

Ticks of schedules fire by `fire_due` alone, not by `drain`. One jump of the clock is an outage: what became due
meanwhile is missed, and the misfire rule decides. For each tick on time, go from one to the next:

    (tick,) = await queue.schedules.next("report", 1)
    clock.advance(tick.at - from_ms(clock.now_ms()))  # from_ms is in jobqueue.clock
    await fire_due(queue)
    await drain(queue, registry)

What it decided is in `queue.schedules.ticks()`.
"""

from jobqueue.testing.assertion import assert_enqueued, enqueued
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.memory import MemoryBroker, MemoryDeadLetters
from jobqueue.testing.queue import memory_queue
from jobqueue.testing.runner import drain
from jobqueue.testing.schedules import fire_due

__all__ = [
    "ManualClock",
    "MemoryBroker",
    "MemoryDeadLetters",
    "assert_enqueued",
    "drain",
    "enqueued",
    "fire_due",
    "memory_queue",
]
