"""Workers whose connections fall silent, whose replies never come, and whose handlers keep Redis busy."""

import asyncio
import socket
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio
import structlog

from jobqueue.app import JobQueue
from jobqueue.broker import consumer, reader, roster, scripts
from jobqueue.broker.base import Delivery
from jobqueue.errors import BrokerUnavailable, ConfigError
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.runner import Worker
from tests.contract.scene import raised
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.proxy import FaultProxy

LEASE = seconds(6)


async def test_f24_connections_that_fall_silent_are_given_up(
    scene: Scene, registry: Registry, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker gives up connections that say nothing any more and dials again: every job runs once."""
    monkeypatch.setattr(reader, "READ_GRACE_S", 0.3)
    ran: Counter[int] = Counter()

    @registry.task("t")
    async def handler(n: int) -> None:
        ran[n] += 1

    queue = scene.queue(lease=LEASE)
    async with scene.working(url=proxy.url, lease=LEASE) as started:
        await started.joined()
        proxy.swallow_reply(b"XREADGROUP")  # an idle worker reads so only when it blocks
        await eventually(lambda: proxy.faults == 1)
        for script in (scripts.SETTLE, scripts.BEAT):
            proxy.swallow_reply(script.sha.encode())
        await queue.enqueue_many([handler.job(n) for n in range(50)])
        await scene.ended(queue, 50, within_s=30)
        await eventually(lambda: proxy.faults == 3, within_s=30)

        assert started.worker.metrics.leases_lost == 0
    assert set(ran.values()) == {1}


async def test_f24_a_network_that_swallows_everything_costs_time_and_no_job(
    scene: Scene, registry: Registry, proxy: FaultProxy
) -> None:
    """A worker that hears nothing at all stops at its deadline, and works on under a new name when it hears again."""
    cancelled: list[int] = []
    ends: Counter[int] = Counter()

    @registry.task("t")
    async def handler(n: int) -> None:
        if n == 0 and not cancelled:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(n)
        ends[n] += 1

    queue = scene.queue()
    await queue.enqueue(handler.job(0))
    async with scene.working(url=proxy.url) as started:
        await eventually(lambda: started.worker.running)
        first = started.name
        proxy.half_open()
        await queue.enqueue_many([handler.job(n) for n in range(1, 20)])
        await eventually(lambda: started.worker.metrics.leases_lost >= 1, within_s=30)
        proxy.heal()
        await scene.ended(queue, 20, within_s=30)

        assert started.name != first
    assert cancelled == [0]
    assert ends == Counter(range(20))


async def test_f25_a_timeout_shorter_than_a_blocking_read_disturbs_no_idle_worker(
    scene: Scene, registry: Registry, raw: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocking read has a timeout of its own: an idle worker keeps its connections and loses no reply."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 2_200)
    ran: Counter[int] = Counter()
    empty_reads = 0
    block = reader.Reader.block

    async def counted(self: reader.Reader, *args: Any) -> list[Delivery]:
        nonlocal empty_reads
        taken = await block(self, *args)
        empty_reads += not taken
        return taken

    monkeypatch.setattr(reader.Reader, "block", counted)

    @registry.task("t")
    async def handler(n: int) -> None:
        ran[n] += 1

    settings = scene.settings(lease=LEASE)
    settings = replace(settings, redis=replace(settings.redis, timeout=seconds(1.5)))
    with structlog.testing.capture_logs() as logs:
        async with JobQueue.from_settings(settings) as queue:
            worker = Worker(queue, registry)
            work = asyncio.create_task(worker.run())
            await eventually(lambda: empty_reads >= 1, within_s=30)
            before = (await raw.info("stats"))["total_connections_received"]
            read = empty_reads
            await eventually(lambda: empty_reads > read, within_s=30)
            after = (await raw.info("stats"))["total_connections_received"]
            await queue.enqueue_many([handler.job(n) for n in range(10)])
            await eventually(lambda: len(ran) == 10, within_s=30)
            worker.stop()
            await asyncio.wait_for(work, 30)
            await scene.ended(scene.queue(lease=LEASE), 10)

    assert after == before
    assert set(ran.values()) == {1}
    assert [each for each in logs if each["event"] == "fetch.failed"] == []


async def test_f26_handlers_that_keep_redis_busy_do_not_hold_up_the_lease(
    scene: Scene, registry: Registry, proxy: FaultProxy
) -> None:
    """The lease has a connection of its own; operations wait for each other, and fail when it takes too long."""
    lease = seconds(3)
    behind = scene.queue(url=proxy.url, lease=lease)
    operations: Counter[str] = Counter()

    @registry.task("busy")
    async def busy(n: int) -> None:
        for operate in (
            lambda: behind.stats("default"),
            lambda: behind.get(job_ids[n]),
            lambda: behind.enqueue(Job("small", {}), queue="x"),
        ):
            try:
                await operate()
                operations["answered"] += 1
            except BrokerUnavailable:
                operations["failed"] += 1

    queue = scene.queue(lease=lease)
    jobs = [busy.job(n) for n in range(50)]
    job_ids = [each.id for each in jobs]
    await queue.enqueue_many(jobs)
    proxy.latency(0.01)
    async with scene.working(url=proxy.url, lease=lease, concurrency=50) as started:
        await eventually(lambda: sum(operations.values()) == 150, within_s=60)
        proxy.heal()
        stats = await scene.ended(queue, 50, within_s=30)

        assert started.worker.metrics.leases_lost == 0
    assert stats.completed == 50
    assert operations["answered"] > 30
    await queue.purge("x")


async def test_f29_a_name_that_is_in_use_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker has a name of its own, with a random part; a second one under a name in use does not start."""
    broker = scene.queue().parts.broker
    one, two = await broker.join(["default"]), await broker.join(["default"])
    assert one.name != two.name

    monkeypatch.setattr(roster, "consumer_name", lambda: one.name)
    error = await raised(lambda: broker.join(["default"]))

    assert isinstance(error, ConfigError)
    assert one.name in str(error)
    assert socket.gethostname().split(".")[0][:8] in one.name
    for each in (one, two):
        await each.leave()
        await each.close()
