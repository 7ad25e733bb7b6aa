"""What tests of programs that use jobqueue import: a queue in memory, a clock, `drain`, `assert_enqueued`.

Nothing here needs a server. `jobqueue.testing.plugin` has fixtures for pytest.
"""

from jobqueue.testing.assertion import assert_enqueued, enqueued
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.memory import MemoryBroker, MemoryDeadLetters
from jobqueue.testing.queue import memory_queue
from jobqueue.testing.runner import drain

__all__ = [
    "ManualClock",
    "MemoryBroker",
    "MemoryDeadLetters",
    "assert_enqueued",
    "drain",
    "enqueued",
    "memory_queue",
]
