"""Looks at every queue ten times a second while the plant runs, past the proxies."""

import asyncio
from pathlib import Path

import msgspec

from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats
from jobqueue.errors import JobQueueError
from testutil.chaos.crew import NAMESPACE, QUEUES
from testutil.chaos.history import Writer, now, read

_PATIENCE_S = 2.0
_PAUSE_AFTER_ERROR_S = 0.2


class Sample(msgspec.Struct, kw_only=True):
    """One queue at one instant; a line of `samples.jsonl`."""

    at: float
    queue: str
    drift: int
    live: int
    ready: int
    running: int
    delayed: int
    dead: int
    journal: int
    workers: int
    enqueued: int
    completed: int
    died: int
    cancelled: int
    expired: int


async def sample(url: str, folder: Path, *, period_s: float = 0.1) -> None:
    """Write samples until cancelled; a server that is away is tolerated."""
    writer = Writer(folder / "samples.jsonl")
    try:
        async with JobQueue.connect(url, namespace=NAMESPACE) as queue:
            while True:
                await asyncio.gather(*(_look(queue, name, writer) for name in QUEUES))
                await asyncio.sleep(period_s)
    finally:
        writer.close()


def read_samples(folder: Path) -> list[Sample]:
    """What was sampled, in order of time."""
    return read(folder / "samples.jsonl", Sample)


async def _look(queue: JobQueue, name: str, writer: Writer) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            stats = await queue.stats(name)
    except (JobQueueError, OSError):
        # Also TimeoutError. One shard of a cluster may be away while the others answer.
        await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        return
    writer.write(_sample(stats))


def _sample(stats: QueueStats) -> Sample:
    return Sample(
        at=now(),
        queue=stats.queue,
        drift=stats.drift,
        live=stats.live,
        ready=stats.depth,
        running=stats.running,
        delayed=stats.delayed,
        dead=stats.dead,
        journal=stats.journal,
        workers=stats.workers,
        enqueued=stats.enqueued,
        completed=stats.completed,
        died=stats.died,
        cancelled=stats.cancelled,
        expired=stats.expired,
    )
