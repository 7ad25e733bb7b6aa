"""Herd: what the others do when one of many sleeping workers gets a job."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from benchmarks.scale.app import filling
from benchmarks.scale.crew import Crew
from benchmarks.scale.lab import KEYS, Lab, queue_at
from benchmarks.scale.probe import Probe
from benchmarks.scale.row import Row, rows_of
from jobqueue import JobQueue

COUNTS = (1, 32)
_QUICK = (1, 4)
_JOBS = 100
_INTERVAL_S = 0.05
_WINDOWS = 4
_CONCURRENCY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    commands: float
    """INFO commandstats, calls inside scripts too."""
    sent: float
    """By clients."""


def measure(lab: Lab) -> Iterator[Row]:
    """Windows with a small job each 50 ms, and as long idle windows, in turn: their difference is the job's."""
    counts = _QUICK if lab.quick else COUNTS
    costs = {count: uvloop.run(_calls_per_job(lab, count)) for count in counts}
    for count, cost in costs.items():
        figures = {"herd_commands_per_job": cost.commands, "herd_sent_per_job": cost.sent}
        yield from rows_of(count, {name: (value, "commands/job") for name, value in figures.items()})
    alone, many = costs[counts[0]], costs[counts[-1]]
    extra = {
        "herd_extra_commands_per_job": many.commands - alone.commands,
        "herd_extra_sent_per_job": many.sent - alone.sent,
    }
    yield from rows_of(counts[-1], {name: (value, "commands/job") for name, value in extra.items()})


async def _calls_per_job(lab: Lab, count: int) -> _Calls:
    lab.say(f"herd: {count} sleeping workers")
    jobs = lab.many(_JOBS)
    with lab.server() as (server, probe), Crew(count, server, probe, concurrency=_CONCURRENCY):
        async with queue_at(server.url) as queue:
            await queue.enqueue_many(filling(1))
            await asyncio.sleep(1)
            idle, busy = [], []
            for _ in range(_WINDOWS):
                idle.append(await _window(probe, queue, jobs, with_jobs=False))
                busy.append(await _window(probe, queue, jobs, with_jobs=True))
            ended = int(probe.ask("HGET", KEYS.meta, "completed"))
    total = jobs * _WINDOWS
    if ended != 1 + total:
        raise AssertionError(f"{ended} of {1 + total} jobs have ended within their windows")
    return _Calls(
        commands=(sum(each.commands for each in busy) - sum(each.commands for each in idle)) / total,
        sent=(sum(each.sent for each in busy) - sum(each.sent for each in idle)) / total,
    )


async def _window(probe: Probe, queue: JobQueue, ticks: int, *, with_jobs: bool) -> _Calls:
    before, started = probe.read(), time.perf_counter()
    with probe.listen() as sent:
        for n in range(ticks):
            if with_jobs:
                await queue.enqueue_many(filling(1))
            await asyncio.sleep(max(started + (n + 1) * _INTERVAL_S - time.perf_counter(), 0))
    return _Calls(commands=probe.read().since(before).commands, sent=sent.commands)
