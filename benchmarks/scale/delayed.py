"""Delayed: how fast jobs become ready that all fall due at once."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import uvloop

from benchmarks.scale.lab import KEYS, QUEUE, Lab, fill, queue_at
from benchmarks.scale.row import Row, rows_of
from jobqueue import JobQueue
from jobqueue.scheduler.promote import promote_due

COUNTS = (1_000, 10_000, 100_000)
_LEAST_PER_S = (10_000, 2_000)
_START_S = 2.0


def measure(lab: Lab) -> Iterator[Row]:
    """One promoter, as a scheduler runs it, with nobody to run the jobs."""
    for count in COUNTS:
        jobs = lab.many(count)
        lab.say(f"delayed: {jobs:,} fall due at once")
        yield from uvloop.run(_promote(lab, jobs))


async def _promote(lab: Lab, jobs: int) -> list[Row]:
    with lab.server() as (server, probe):
        async with queue_at(server.url) as queue:
            await _fill_in_time(lab, queue, jobs)
            before, started, cpu = probe.read(), time.perf_counter(), time.process_time()
            while await promote_due(queue.parts.broker, QUEUE) == timedelta(0):
                pass
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            spent = probe.read().since(before)
            left = probe.ask("ZCARD", KEYS.delayed)
    if left:
        raise AssertionError(f"{left} jobs were not promoted")
    return rows_of(
        jobs,
        {
            "promoted_per_s": (jobs / seconds, "jobs/s"),
            "promoted_redis_us_per_job": (spent.cpu_us / jobs, "us/job"),
            "promoted_python_us_per_job": (cpu / jobs * 1e6, "us/job"),
        },
    )


async def _fill_in_time(lab: Lab, queue: JobQueue, jobs: int) -> None:
    """Returns when all of them are due. Where they could not all be queued before, once more with more time."""
    for per_s in _LEAST_PER_S:
        due = datetime.now(UTC) + timedelta(seconds=_START_S + jobs / per_s)
        await fill(queue, jobs, run_at=due)
        left_s = (due - datetime.now(UTC)).total_seconds()
        if left_s > 0:
            await asyncio.sleep(left_s + 0.01)
            return
        lab.say("delayed: they were due before all were queued; once more, with more time")
        await queue.purge(QUEUE)
    raise TimeoutError("the jobs were due before all were queued")
