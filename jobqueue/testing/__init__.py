"""What tests of programs import: a queue in memory, a clock, `drain`, `fire_due`, `assert_enqueued`.

Nothing here needs a server. `jobqueue.testing.plugin` has fixtures for pytest.
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
