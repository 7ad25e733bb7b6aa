"""The drain under other circumstances: two processes, history in Postgres, jobs that were delayed."""

import asyncio
import os
import subprocess
import tempfile
import time

import asyncpg

from benchmarks.harness.error import Failed
from benchmarks.harness.measure import (
    CONCURRENCY,
    Figures,
    await_all,
    counts,
    new_tally,
    rate,
    wait_while,
)
from benchmarks.harness.server import Server
from benchmarks.harness.system import STOP_LIMIT_S, System
from jobqueue.embedded import start_postgres

WARM_UP = 10  # jobs that every producer enqueues before it is timed; they leave rows, too
_SHIPPED_LIMIT_S = 60.0
_POLL_S = 0.05
_DELAY_S = 2.0
_ROWS = "SELECT count(*) FROM jobqueue.executions WHERE outcome = 'completed'"
_JOBS = "SELECT count(DISTINCT job_id) FROM jobqueue.executions WHERE outcome = 'completed'"  # sorts: asked once


def measure_two_processes(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """The rate of the second half, when both have surely started."""
    with new_tally(jobs) as (path, tally):
        system.produce(url=server.url, mode=mode, jobs=jobs, task="noop")
        options = {"url": server.url, "concurrency": CONCURRENCY, "tally": str(path), "capacity": jobs}
        with system.working(**options) as one, system.working(**options) as other:
            await_all(tally, jobs, [one, other])
        times = sorted(tally.ran_at.tolist())
        half = jobs // 2
        second_half = (jobs - 1 - half) / max(times[-1] - times[half], 1e-9)
        return {"drain_two_processes_per_s": second_half, **counts(tally, jobs)}


def measure_promotion(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """A backlog of delayed jobs, all due, when the worker starts: promoted and drained a second."""
    with new_tally(jobs) as (path, tally):
        system.produce(url=server.url, mode=mode, jobs=jobs, task="noop", delay_s=_DELAY_S)
        time.sleep(_DELAY_S + 0.1)
        with system.working(url=server.url, concurrency=CONCURRENCY, tally=str(path), capacity=jobs) as worker:
            await_all(tally, jobs, [worker])
        return {"promoted_per_s": rate(tally, jobs), **counts(tally, jobs)}


def measure_history(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """Until every execution is a row in Postgres, fsync on: from the first job that ran to the last row committed."""
    with start_postgres(fsync=True) as postgres, new_tally(jobs) as (path, tally), tempfile.TemporaryFile("w+") as log:
        environment = {**os.environ, **system.environment, "REDIS_URL": server.url, "DATABASE_URL": postgres.url}
        environment["LOG_LEVEL"] = "warning"
        command = [system.command[0], "-m", "jobqueue"]
        subprocess.run([*command, "migrate"], env=environment, capture_output=True, timeout=60, check=True)
        system.produce(url=server.url, mode=mode, jobs=jobs, task="noop")
        options = {"concurrency": CONCURRENCY, "tally": str(path), "capacity": jobs, "history": postgres.url}
        shipping = subprocess.Popen([*command, "scheduler"], env=environment, stdout=log, stderr=log)
        try:
            with system.working(url=server.url, **options) as worker:
                wait_while(tally, jobs, [worker], more_than=0, poll_s=_POLL_S)
                committed = asyncio.run(_await_rows(postgres.url, jobs + WARM_UP))
        finally:
            shipping.terminate()
            shipping.wait(STOP_LIMIT_S)
        first, _ = tally.span(jobs)
        return {"drain_history_per_s": jobs / (committed - first), **counts(tally, jobs)}


async def _await_rows(url: str, expected: int) -> float:
    """When the last of so many executions was seen in Postgres; each must be there once."""
    connection = await asyncpg.connect(url)
    try:
        ends = time.monotonic() + _SHIPPED_LIMIT_S
        while True:
            seen_at = time.perf_counter()
            rows = await connection.fetchval(_ROWS)
            if rows >= expected:
                break
            if time.monotonic() > ends:
                raise Failed(f"{rows} of {expected} executions are in Postgres after {_SHIPPED_LIMIT_S:.0f} s")
            await asyncio.sleep(_POLL_S)
        jobs = await connection.fetchval(_JOBS)
    finally:
        await connection.close()
    if (rows, jobs) != (expected, expected):
        raise Failed(f"{rows} rows of {jobs} jobs in Postgres, expected {expected} of each")
    return seen_at
