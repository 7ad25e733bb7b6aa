"""The measurements that every system takes: enqueue, drain, IO, latency. Each needs a fresh server."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.error import Failed
from benchmarks.harness.server import Server
from benchmarks.harness.system import System, Worker
from benchmarks.systems.tally import Tally

Figures = dict[str, float]

CONCURRENCY = 100
IO_SECONDS = 0.010
LATENCY_JOBS = 250
LATENCY_INTERVAL_S = 0.020
MODES = ("bulk", "gathered", "one")  # fastest first

# No job ran for so long, or all took so long: it will not end.
STALLED_S = 20.0
LONGEST_S = 120.0
_SETTLING_S = 0.1
_TALLIED_BYTES = 9  # that a run writes into the tally: pages of the worker, but none of its making
_START_POLL_S = 0.001
_POLL_S = 0.010
_US = 1e6


def measure_enqueue(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """Jobs enqueued a second, and what one costs its producer."""
    produced = system.produce(url=server.url, mode=mode, jobs=jobs, task="noop")
    return {
        f"enqueue_{mode}_per_s": jobs / produced.seconds,
        f"enqueue_{mode}_cpu_us": produced.cpu_seconds / jobs * _US,
    }


def measure_drain(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """No-ops drained a second, and everything that a job costs Redis and the worker."""
    with new_tally(jobs) as (path, tally):
        # Scripts, groups and the first jobs of the warm-up are there before the memory is read.
        system.produce(url=server.url, mode=mode, jobs=1, task="noop", first=-1)
        empty, kept_before = server.read(), server.kept_bytes()
        system.produce(url=server.url, mode=mode, jobs=jobs, task="noop")
        queued = server.read()
        with system.working(url=server.url, concurrency=CONCURRENCY, tally=str(path), capacity=jobs) as worker:
            figures = await_all(tally, jobs, [worker])
            time.sleep(_SETTLING_S)
            figures["worker_rss_mb"] = (worker.peak_rss_bytes() - _TALLIED_BYTES * jobs) / 2**20
        drained = server.read()
        return {
            "drain_per_s": rate(tally, jobs),
            "redis_enqueue_us": (queued.cpu_seconds - empty.cpu_seconds) / jobs * _US,
            "redis_drain_us": (drained.cpu_seconds - queued.cpu_seconds) / jobs * _US,
            "redis_us_per_job": (drained.cpu_seconds - empty.cpu_seconds) / jobs * _US,
            "redis_commands_per_drained_job": (drained.commands - queued.commands) / jobs,
            "bytes_per_queued_job": (queued.used_memory - empty.used_memory) / jobs,
            "bytes_left_per_job": max(0, server.kept_bytes() - kept_before) / jobs,
            **figures,
            **counts(tally, jobs),
        }


def measure_drain_rate(
    system: System, server: Server, mode: str, jobs: int, *, figure: str, results: bool = False
) -> Figures:
    """No-ops drained a second, under another setting."""
    with new_tally(jobs) as (path, tally):
        system.produce(url=server.url, mode=mode, jobs=jobs, task="noop", results=results)
        options = {"concurrency": CONCURRENCY, "tally": str(path), "capacity": jobs, "results": results}
        with system.working(url=server.url, **options) as worker:
            await_all(tally, jobs, [worker])
        return {figure: rate(tally, jobs), **counts(tally, jobs)}


def measure_io(system: System, server: Server, mode: str, jobs: int) -> Figures:
    """Jobs of 10 ms at concurrency 100: how much of what 100 slots could do is done."""
    with new_tally(jobs) as (path, tally):
        system.produce(url=server.url, mode=mode, jobs=jobs, task="io")
        with system.working(url=server.url, concurrency=CONCURRENCY, tally=str(path), capacity=jobs) as worker:
            await_all(tally, jobs, [worker])
        first, last = tally.span(jobs)
        per_s = jobs / (last - first + IO_SECONDS)
        ideal_per_s = CONCURRENCY / IO_SECONDS
        return {"io_ideal_percent": 100 * per_s / ideal_per_s, "io_per_s": per_s, **counts(tally, jobs)}


def measure_latency(system: System, server: Server, jobs: int = LATENCY_JOBS) -> Figures:
    """From just before a job is sent until its handler is done, one job at a time into an idle worker."""
    capacity = jobs + 1
    with new_tally(capacity) as (path, tally):
        shared = {"url": server.url, "tally": str(path), "capacity": capacity}
        with system.working(**shared, concurrency=CONCURRENCY) as worker:
            system.produce(**shared, mode="one", jobs=1, task="noop")
            await_all(tally, 1, [worker])
            system.produce(**shared, mode="one", jobs=jobs, first=1, task="noop", interval_s=LATENCY_INTERVAL_S)
            await_all(tally, capacity, [worker])
        waits = [(tally.ran_at[n] - tally.sent_at[n]) * 1000 for n in range(1, capacity)]
        percentiles = statistics.quantiles(waits, n=100)
        return {"latency_p50_ms": percentiles[49], "latency_p99_ms": percentiles[98], **counts(tally, capacity)}


@contextmanager
def new_tally(capacity: int) -> Iterator[tuple[Path, Tally]]:
    with tempfile.TemporaryDirectory(prefix="jobqueue-bench-") as folder:
        path = Path(folder, "tally")
        yield path, Tally(str(path), capacity)


def await_all(tally: Tally, jobs: int, workers: Sequence[Worker]) -> Figures:
    """Wait until every job has run. The worker's CPU is counted from the first job seen on, so without its start.

    Raises:
        Failed: no progress for STALLED_S, not done in LONGEST_S, or a worker ended.
    """
    wait_while(tally, jobs, workers, more_than=jobs - 1, poll_s=_START_POLL_S)
    cpu_before, missing_before = sum(each.cpu_seconds() for each in workers), tally.missing(jobs)
    wait_while(tally, jobs, workers, more_than=0, poll_s=_POLL_S)
    if missing_before < jobs / 2:  # too few were left to be told apart from the start
        return {}
    cpu = sum(each.cpu_seconds() for each in workers) - cpu_before
    return {"worker_cpu_us_per_job": cpu / missing_before * _US}


def wait_while(tally: Tally, jobs: int, workers: Sequence[Worker], *, more_than: int, poll_s: float) -> None:
    """Wait while more than so many jobs have not run."""
    ends = time.monotonic() + LONGEST_S
    missing, moved = jobs, time.monotonic()
    while (now_missing := tally.missing(jobs)) > more_than:
        now = time.monotonic()
        if now_missing < missing:
            missing, moved = now_missing, now
        if now > ends or now - moved > STALLED_S:
            tails = "; ".join(each.log_tail() for each in workers)
            raise Failed(f"{now_missing} of {jobs} jobs did not run; the worker said: {tails!r}", counts(tally, jobs))
        for worker in workers:
            worker.check()
        time.sleep(poll_s)


def counts(tally: Tally, jobs: int) -> Figures:
    return {"ran_twice": tally.ran_twice(jobs), "missing": tally.missing(jobs)}


def rate(tally: Tally, jobs: int) -> float:
    first, last = tally.span(jobs)
    return (jobs - 1) / max(last - first, 1e-9)


def fastest(modes: Sequence[str]) -> str:
    """The fastest way of enqueueing that a system has."""
    return next(mode for mode in MODES if mode in modes)


def fit(seconds_for: Callable[[int], float], *, aim_s: float, fewest: int, most: int) -> int:
    """How many jobs take about *aim_s*, found by trying more and more."""
    jobs = min(300, most)
    while True:
        took = max(seconds_for(jobs), 1e-3)
        wanted = max(fewest, min(most, int(jobs / took * aim_s)))
        if took > aim_s / 5 or wanted <= jobs:
            return wanted
        jobs = min(wanted, 10 * jobs)
