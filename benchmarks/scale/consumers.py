"""Consumers: what one job costs while so many others sleep, and what they cost asleep.

Consumers are simulated: each has its lease and its connections, as a worker process has, and blocks in reads; all
live in one process. Reads end every 2 s and begin again, so what idle windows cost is subtracted.
"""

import asyncio
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks.scale.app import filling
from benchmarks.scale.lab import QUEUE, Lab, completed, queue_at
from benchmarks.scale.probe import Probe, Spent
from benchmarks.scale.row import Row, rows_of
from jobqueue import JobQueue, Settings
from jobqueue.broker.base import Consumer, Heartbeat

COUNTS = (1, 10, 100, 1_000)
_QUICK = 10
_JOBS = 100
_INTERVAL_S = 0.02
_WINDOWS = 3
_AT_ONCE = 50
_ROUNDS = 20
_LEASE = {"JOBQUEUE_LEASE": "6s", "JOBQUEUE_REAP_INTERVAL": "2s"}
_AMNESTY_S = 6.5  # a lease after the first look, for which nobody is judged
_BEAT_S = 1.0
_DEFAULT_BEAT_S = 2.0
_DEFAULT_REAP_S = Settings.load({}).worker.reap_interval.total_seconds()
_FILES = 8_192


@dataclass(frozen=True, slots=True)
class _Window:
    spent: Spent
    seconds: float


def measure(lab: Lab) -> Iterator[Row]:
    """One job each 20 ms, enqueued, taken by whoever is first in line, and settled."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    for count in COUNTS:
        if count <= _QUICK or not lab.quick:
            lab.say(f"consumers: {count} asleep")
            yield from uvloop.run(_cost(lab, count))


async def _cost(lab: Lab, count: int) -> list[Row]:
    jobs = lab.many(_JOBS)
    with lab.server() as (server, probe):
        async with queue_at(server.url, **_LEASE) as queue:
            consumers = await _join(queue, count)
            arrivals: asyncio.Queue[float] = asyncio.Queue()
            sleeping = [asyncio.create_task(_sleep_and_settle(each, arrivals)) for each in consumers]
            await asyncio.sleep(3)
            waits: list[float] = []
            idle, busy = [], []
            for _ in range(_WINDOWS):
                idle.append(await _window(probe, queue, jobs, None, waits))
                busy.append(await _window(probe, queue, jobs, arrivals, waits))
            care = await _care(queue, consumers, probe)
            for task in sleeping:
                task.cancel()
            await asyncio.gather(*sleeping, return_exceptions=True)
            for consumer in consumers:
                await consumer.close()
    total = jobs * _WINDOWS
    return rows_of(
        count,
        {
            "consumers_redis_us_per_job": (_beyond_idle_us(busy, idle) / total, "us/job"),
            "consumers_latency_ms": (statistics.median(waits) * 1000, "ms"),
            "consumers_asleep_redis_percent": (
                sum(each.spent.cpu_us for each in idle) / sum(each.seconds for each in idle) / 1e4,
                "% of a core",
            ),
            **care,
        },
    )


async def _join(queue: JobQueue, count: int) -> list[Consumer]:
    consumers: list[Consumer] = []
    while len(consumers) < count:
        some = min(_AT_ONCE, count - len(consumers))
        consumers += await asyncio.gather(*(queue.parts.broker.join([QUEUE]) for _ in range(some)))
    return consumers


async def _sleep_and_settle(consumer: Consumer, arrivals: "asyncio.Queue[float]") -> None:
    while True:
        taken = list(await consumer.fetch(1))
        if taken:
            arrived = time.perf_counter()
            await consumer.settle(completed(taken, consumer.now_ms()))
            arrivals.put_nowait(arrived)


async def _window(
    probe: Probe, queue: JobQueue, jobs: int, arrivals: "asyncio.Queue[float] | None", waits: list[float]
) -> _Window:
    """A window with jobs, or, without *arrivals*, an idle one of the same length."""
    before, started = probe.read(), time.perf_counter()
    for n in range(jobs):
        if arrivals is not None:
            asked = time.perf_counter()
            await queue.enqueue_many(filling(1))
            waits.append(await asyncio.wait_for(arrivals.get(), 10) - asked)
        await asyncio.sleep(max(started + (n + 1) * _INTERVAL_S - time.perf_counter(), 0))
    return _Window(probe.read().since(before), time.perf_counter() - started)


def _beyond_idle_us(busy: Sequence[_Window], idle: Sequence[_Window]) -> float:
    """What the busy windows cost above idle ones of exactly their length.

    Sleepers begin their reads again a little later while Redis is busy, so at 1 000 of them it is some percent less
    than the truth, and a count of commands would be noise: see `herd` for that.
    """
    idle_us_per_s = sum(each.spent.cpu_us for each in idle) / sum(each.seconds for each in idle)
    return sum(each.spent.cpu_us - idle_us_per_s * each.seconds for each in busy)


async def _care(queue: JobQueue, consumers: Sequence[Consumer], probe: Probe) -> dict[str, tuple[float, str]]:
    """The cost of one beat, and of one look for dead workers, and what they come to when each worker does them.

    That is computed, from the default intervals. Measured while all sleep in their reads, whose cost is in it.
    """
    beats = [consumer.heartbeat() for consumer in consumers]
    await asyncio.to_thread(_beat_all, beats)  # which connects
    await queue.parts.broker.reap(QUEUE)
    ends = time.monotonic() + _AMNESTY_S
    while time.monotonic() < ends:
        await asyncio.to_thread(_beat_all, beats)
        await asyncio.sleep(_BEAT_S)
    rounds = max(_ROUNDS // len(beats), 1)
    before = probe.read()
    for _ in range(rounds):
        await asyncio.to_thread(_beat_all, beats)
    beaten = probe.read()
    for _ in range(_ROUNDS):
        if await queue.parts.broker.reap(QUEUE):
            raise AssertionError("a living consumer was reaped")
    reaped = probe.read().since(beaten)
    beaten = beaten.since(before)
    for beat in beats:
        beat.close()
    number = rounds * len(beats)
    beat_us, reap_us = beaten.cpu_us / number, reaped.cpu_us / _ROUNDS
    return {
        "consumers_beat_redis_us": (beat_us, "us/beat"),
        "consumers_beat_commands": (beaten.commands / number, "commands/beat"),
        "consumers_reap_redis_us": (reap_us, "us/look"),
        "consumers_beats_redis_percent": (len(beats) * beat_us / _DEFAULT_BEAT_S / 1e4, "% of a core"),
        "consumers_reaps_redis_percent": (len(beats) * reap_us / _DEFAULT_REAP_S / 1e4, "% of a core"),
    }


def _beat_all(beats: Sequence[Heartbeat]) -> None:
    for beat in beats:
        assert beat.beat({})[0].alive
