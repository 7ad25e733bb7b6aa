"""A broker in memory, for tests of programs that use jobqueue: no server, and a clock of your choice.

It keeps every promise of `jobqueue.broker.base`, in the same contract suite as Redis, but for what only
a server has: it cannot be full or away, its journal has no bound, and reaping knows no amnesty.
"""

from jobqueue.testing.memory.access import memory_access
from jobqueue.testing.memory.broker import MemoryBroker
from jobqueue.testing.memory.consumer import MemoryConsumer, MemoryHeartbeat
from jobqueue.testing.memory.dead_letters import MemoryDeadLetters
from jobqueue.testing.memory.journal import MemoryJournal
from jobqueue.testing.memory.timetable import MemoryTimetable

__all__ = [
    "MemoryBroker",
    "MemoryConsumer",
    "MemoryDeadLetters",
    "MemoryHeartbeat",
    "MemoryJournal",
    "MemoryTimetable",
    "memory_access",
]
