"""Workers: real worker processes on a backlog of no-ops, all on this machine."""

import signal
import time
from collections.abc import Iterator

import uvloop

from benchmarks.scale.crew import Crew
from benchmarks.scale.lab import KEYS, Lab, fill, queue_at
from benchmarks.scale.probe import Probe
from benchmarks.scale.row import Row, rows_of

COUNTS = (1, 2, 4, 8, 16, 32)
_QUICK = 2
_JOBS = 100_000
_CONCURRENCY = 100
_BLOCK_S = 2.5
_LIMIT_S = 300.0


def measure(lab: Lab) -> Iterator[Row]:
    """How the drain of the same backlog changes with the number of processes."""
    for count in COUNTS:
        if count <= _QUICK or not lab.quick:
            lab.say(f"workers: {count} processes")
            yield from _drain(lab, count)


def _drain(lab: Lab, count: int) -> list[Row]:
    """The workers are stopped while the backlog is queued, and then go on all at once."""
    jobs = lab.many(_JOBS)
    with lab.server() as (server, probe), Crew(count, server, probe, concurrency=_CONCURRENCY) as crew:
        crew.signal(signal.SIGSTOP)
        try:
            time.sleep(_BLOCK_S)  # until the server has ended their blocked reads, which would take a job each
            uvloop.run(_fill(server.url, jobs))
            before, cpu = probe.read(), crew.cpu_us()
        finally:
            crew.signal(signal.SIGCONT)
        started = time.perf_counter()
        _wait(probe, jobs)
        seconds = time.perf_counter() - started
        spent, cpu = probe.read().since(before), crew.cpu_us() - cpu
    return rows_of(
        count,
        {
            "workers_drain_per_s": (jobs / seconds, "jobs/s"),
            "workers_redis_us_per_job": (spent.cpu_us / jobs, "us/job"),
            "workers_commands_per_job": (spent.commands / jobs, "commands/job"),
            "workers_python_us_per_job": (cpu / jobs, "us/job"),
        },
    )


async def _fill(url: str, jobs: int) -> None:
    async with queue_at(url) as queue:
        await fill(queue, jobs)


def _wait(probe: Probe, jobs: int) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while int(probe.ask("HGET", KEYS.meta, "completed") or 0) < jobs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{jobs} jobs have not ended within {_LIMIT_S:.0f} s")
        time.sleep(0.01)
