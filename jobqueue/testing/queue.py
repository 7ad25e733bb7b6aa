"""A `JobQueue` that lives in this process, for application code that takes one."""

from datetime import UTC, datetime

from jobqueue.app import JobQueue
from jobqueue.bootstrap import Parts
from jobqueue.broker.ticks import BrokerTickRecords
from jobqueue.clock import Clock
from jobqueue.config import Settings
from jobqueue.job import MAX_DURATION
from jobqueue.registry import Registry
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.memory.access import memory_access
from jobqueue.testing.memory.broker import MemoryBroker
from jobqueue.testing.memory.dead_letters import MemoryDeadLetters
from jobqueue.testing.memory.schedules import MemoryScheduleStore


def memory_queue(registry: Registry | None = None, clock: Clock | None = None) -> JobQueue:
    """A queue with no server behind it, with dead letters and without history; a `Worker` runs on it as on any.

    Settings are the defaults, whatever the environment says. With a *registry*, payloads of jobs made
    without their handler's code are validated too, as by `JobQueue.connect`.

    Args:
        clock: decides what is due or expired. Otherwise a `ManualClock` that stands still at this
            instant, found in `queue.parts.clock`. Give a `SystemClock` to let delays pass by themselves.
    """
    clock = clock or ManualClock(datetime.now(UTC))
    # Whoever moves the clock by an hour means jobs to become due, not the workers of the test to be dead.
    broker = MemoryBroker(clock=clock, lease=MAX_DURATION)
    parts = Parts(
        settings=Settings(),
        broker=broker,
        redis=None,
        dead_letters=MemoryDeadLetters(broker),
        schedules=MemoryScheduleStore(),
        ticks=BrokerTickRecords(broker),
        open_access=lambda: memory_access(clock),
        clock=clock,
    )
    return JobQueue(parts, registry)


def broker_of(queue: JobQueue) -> MemoryBroker:
    """The broker of a `memory_queue`; TypeError for any other queue."""
    broker = queue.parts.broker
    if isinstance(broker, MemoryBroker):
        return broker
    raise TypeError(
        f"this works on a memory_queue(), got a queue on {type(broker).__name__}; "
        f"run the jobs of that one with Worker(...).run(burst=True)"
    )
