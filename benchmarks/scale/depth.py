"""Depth: what a job costs with so many queued before it, ready or delayed. Flat is good."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import uvloop

from benchmarks.scale.lab import QUEUE, Lab, completed, fill, queue_at
from benchmarks.scale.probe import Probe
from benchmarks.scale.row import Row, rows_of
from jobqueue import JobQueue
from jobqueue.broker.base import Consumer

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
DELAYED = (1_000, 10_000, 100_000)
_QUICK = 10_000
_BLOCK = 1_000
_BLOCKS = 20
_BATCH = 100


def measure(lab: Lab) -> Iterator[Row]:
    """In turn, blocks of 1 000 jobs are queued and drained, so the depth stays what it is."""
    for depth in DEPTHS:
        if depth <= _QUICK or not lab.quick:
            lab.say(f"depth: {depth:,} jobs queued before")
            yield from uvloop.run(_ready(lab, depth))
    for depth in DELAYED:
        if depth <= _QUICK or not lab.quick:
            lab.say(f"depth: {depth:,} delayed jobs")
            yield from uvloop.run(_delayed(lab, depth))


async def _ready(lab: Lab, depth: int) -> list[Row]:
    with lab.server() as (server, probe):
        async with queue_at(server.url) as queue:
            consumer = await _warmed_up(queue)
            empty = probe.read()
            await fill(queue, depth)
            full = probe.read().since(empty)
            enqueue_us, drain_us = await _in_turn(lab, queue, consumer, probe)
            await _end(consumer)
    return rows_of(
        depth,
        {
            "depth_enqueue_redis_us": (enqueue_us, "us/job"),
            "depth_drain_redis_us": (drain_us, "us/job"),
            "depth_bytes_per_job": (full.dataset / depth, "B/job"),
        },
    )


async def _delayed(lab: Lab, depth: int) -> list[Row]:
    """The cost of ready jobs beside delayed ones, and of delaying and promoting one among them."""
    with lab.server() as (server, probe):
        async with queue_at(server.url) as queue:
            consumer = await _warmed_up(queue)
            empty = probe.read()
            await fill(queue, depth, delay=timedelta(hours=1))
            full = probe.read().since(empty)
            enqueue_us, drain_us = await _in_turn(lab, queue, consumer, probe)
            delay_us, promote_us = await _delay_and_promote(lab, queue, consumer, probe)
            await _end(consumer)
    return rows_of(
        depth,
        {
            "delayed_enqueue_redis_us": (enqueue_us, "us/ready job"),
            "delayed_drain_redis_us": (drain_us, "us/ready job"),
            "delayed_delay_redis_us": (delay_us, "us/delayed job"),
            "delayed_promote_redis_us": (promote_us, "us/delayed job"),
            "delayed_bytes_per_job": (full.dataset / depth, "B/job"),
        },
    )


async def _warmed_up(queue: JobQueue) -> Consumer:
    """A consumer, and every script loaded."""
    consumer = await queue.parts.broker.join([QUEUE])
    await fill(queue, _BATCH)
    await _drain(consumer, _BATCH)
    await queue.parts.broker.promote(QUEUE)
    return consumer


async def _in_turn(lab: Lab, queue: JobQueue, consumer: Consumer, probe: Probe) -> tuple[float, float]:
    """Redis CPU of an enqueued and of a drained job, us."""
    enqueuing = draining = 0.0
    blocks = lab.many(_BLOCKS)
    for _ in range(blocks):
        before = probe.read()
        await fill(queue, _BLOCK)
        queued = probe.read()
        await _drain(consumer, _BLOCK)
        enqueuing += queued.since(before).cpu_us
        draining += probe.read().since(queued).cpu_us
    return enqueuing / blocks / _BLOCK, draining / blocks / _BLOCK


async def _delay_and_promote(lab: Lab, queue: JobQueue, consumer: Consumer, probe: Probe) -> tuple[float, float]:
    """Redis CPU of a job that is delayed, and of one that is promoted, us."""
    delaying = promoting = 0.0
    blocks = lab.many(_BLOCKS)
    for _ in range(blocks):
        before = probe.read()
        await fill(queue, _BLOCK, delay=timedelta(milliseconds=300))
        delayed = probe.read()
        await asyncio.sleep(0.35)
        due = probe.read()
        while await queue.parts.broker.promote(QUEUE) == timedelta(0):
            pass
        delaying += delayed.since(before).cpu_us
        promoting += probe.read().since(due).cpu_us
        await _drain(consumer, _BLOCK)
    return delaying / blocks / _BLOCK, promoting / blocks / _BLOCK


async def _drain(consumer: Consumer, jobs: int) -> None:
    """In batches of 100, as a busy worker takes them."""
    while jobs > 0:
        taken = list(await consumer.fetch(min(_BATCH, jobs)))
        await consumer.settle(completed(taken, consumer.now_ms()))
        jobs -= len(taken)


async def _end(consumer: Consumer) -> None:
    await consumer.leave()
    await consumer.close()
