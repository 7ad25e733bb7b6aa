"""Payload: what a job costs by its size, to Redis and to Python."""

import asyncio
import gc
import time
from collections.abc import Iterator

import uvloop

from benchmarks.scale.app import filling, registry
from benchmarks.scale.lab import QUEUE, Lab, fill, queue_at
from benchmarks.scale.row import Row, rows_of
from jobqueue import Worker
from jobqueue.broker.base import Settlement

SIZES = (100, 1_000, 10_000, 100_000)
_MOST_JOBS = 20_000
_MOST_BYTES = 100_000_000
_PORTION_BYTES = 5_000_000
_CONCURRENCY = 100
_LIMIT_S = 300.0


def measure(lab: Lab) -> Iterator[Row]:
    """The same number of bytes at most, so fewer of the large ones."""
    for size in SIZES:
        jobs = lab.many(min(_MOST_JOBS, _MOST_BYTES // size))
        lab.say(f"payload: {jobs:,} jobs of {size:,} bytes")
        yield from uvloop.run(_cost(lab, size, jobs))


async def _cost(lab: Lab, size: int, jobs: int) -> list[Row]:
    seen, done = 0, asyncio.Event()

    def count(_: Settlement) -> None:
        nonlocal seen
        seen += 1
        if seen == jobs:
            done.set()

    with lab.server() as (server, probe):
        async with queue_at(server.url) as queue:
            await fill(queue, _CONCURRENCY)
            await Worker(queue, registry, queues=[QUEUE]).run(burst=True)
            gc.collect()
            before, cpu = probe.read(), time.process_time()
            portion = max(_PORTION_BYTES // size, 1)
            for first in range(0, jobs, portion):
                await queue.enqueue_many(filling(min(portion, jobs - first), size))
            enqueue_cpu = time.process_time() - cpu
            queued = probe.read()
            worker = Worker(queue, registry, queues=[QUEUE], concurrency=_CONCURRENCY, observe=count)
            cpu = time.process_time()
            running = asyncio.create_task(worker.run())
            await asyncio.wait_for(done.wait(), _LIMIT_S)
            drain_cpu = time.process_time() - cpu
            drained = probe.read().since(queued)
            worker.stop()
            await running
    enqueued = queued.since(before)
    return rows_of(
        size,
        {
            "payload_enqueue_redis_us": (enqueued.cpu_us / jobs, "us/job"),
            "payload_drain_redis_us": (drained.cpu_us / jobs, "us/job"),
            "payload_enqueue_python_us": (enqueue_cpu / jobs * 1e6, "us/job"),
            "payload_drain_python_us": (drain_cpu / jobs * 1e6, "us/job"),
            "payload_bytes_per_job": (enqueued.dataset / jobs, "B/job"),
        },
    )
