"""Retention: what a kept result takes in Redis until its time is up."""

from collections.abc import Iterator

import uvloop

from benchmarks.scale.app import echo, registry
from benchmarks.scale.lab import QUEUE, Lab, queue_at
from benchmarks.scale.row import Row, rows_of
from jobqueue import Worker

SIZES = (10, 100, 1_000)
_JOBS = 10_000
_CONCURRENCY = 100


def measure(lab: Lab) -> Iterator[Row]:
    """A task that returns so many bytes; the job itself is gone when it has run."""
    for size in SIZES:
        lab.say(f"retention: results of {size:,} bytes")
        yield from uvloop.run(_keep(lab, size))


async def _keep(lab: Lab, size: int) -> list[Row]:
    jobs = lab.many(_JOBS)
    text = "x" * (size - 2)  # it is kept as JSON, in quotes
    with lab.server() as (server, probe):
        async with queue_at(server.url) as queue:
            await queue.enqueue_many([echo.job(text=text).replace(result_ttl=None)])
            await Worker(queue, registry, queues=[QUEUE]).run(burst=True)
            before = probe.read()
            await queue.enqueue_many([echo.job(text=text) for _ in range(jobs)])
            await Worker(queue, registry, queues=[QUEUE], concurrency=_CONCURRENCY).run(burst=True)
            # Not `dataset`: a result is a key of its own, and its place in the table of keys counts.
            kept = probe.read().since(before).memory
    return rows_of(size, {"retention_bytes_per_result": (kept / jobs, "B/result, all in")})
