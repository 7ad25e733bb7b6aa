"""Who is served when: priorities, queues, pauses, delays, and what one worker leaves to another."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.broker.base import Delivery
from jobqueue.broker.consumer import RedisConsumer
from jobqueue.context import JobContext
from jobqueue.job import PRIORITIES
from jobqueue.registry import Registry
from jobqueue.retry import RetryPolicy
from jobqueue.worker import lease
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually

LONG_LEASE = seconds(60)


async def test_two_workers_serve_queues_and_priorities_strictly_in_order(scene: Scene, registry: Registry) -> None:
    started_order: list[tuple[str, str]] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        started_order.append((ctx.queue, ctx.job.priority.value))
        await asyncio.sleep(0.003)

    queue = scene.queue()
    names = ("first", "second")
    for name in reversed(names):
        for priority in reversed(PRIORITIES):
            await queue.enqueue_many([handler.job().replace(queue=name, priority=priority) for _ in range(20)])
    at_work = {"queues": names, "lease": LONG_LEASE}
    async with scene.working(**at_work), scene.working(**at_work):
        for name in names:
            await scene.ended(queue, 80, name=name)

    # What runs at once, and the little that was read ahead, may change places; no more than that.
    wanted = [(name, priority.value) for name in names for priority in PRIORITIES for _ in range(20)]
    for n, each in enumerate(started_order):
        begin = wanted.index(each)
        assert begin - 16 <= n < begin + 20 + 16, (n, each)


async def test_the_first_jobs_of_every_priority_keep_their_places(scene: Scene, registry: Registry) -> None:
    """COUNT counts per stream: a read for one slot took the first of each, and gave back what it could not run:
    behind all the others."""
    ran: list[tuple[str, int]] = []

    @registry.task("t")
    async def handler(ctx: JobContext, n: int) -> None:
        ran.append((ctx.job.priority.value, n))

    queue = scene.queue()
    for priority in reversed(PRIORITIES):
        await queue.enqueue_many([handler.job(n).replace(priority=priority) for n in range(30)])
    async with scene.working(concurrency=1, lease=LONG_LEASE):
        await scene.ended(queue, 120)

    assert ran == [(priority.value, n) for priority in PRIORITIES for n in range(30)]


async def test_f43_a_worker_with_thousands_of_slots_takes_five_hundred_jobs_at_once(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many slots are free, no read takes more than 500 jobs, and the higher priority still goes first."""
    taken_at_once: list[int] = []
    ran: list[str] = []
    fetch = RedisConsumer.fetch

    async def counted(self: RedisConsumer, want: int, **options: Any) -> list[Delivery]:
        taken = await fetch(self, want, **options)
        taken_at_once.append(len(taken))
        return taken

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ran.append(ctx.job.priority.value)

    queue = scene.queue()
    for priority in ("low", "high"):
        await queue.enqueue_many([handler.job().replace(priority=priority) for _ in range(1_200)])
    monkeypatch.setattr(RedisConsumer, "fetch", counted)
    async with scene.working(concurrency=5_000, lease=LONG_LEASE):
        await scene.ended(queue, 2_400)

    assert 0 < max(taken_at_once) <= 500
    assert ran == ["high"] * 1_200 + ["low"] * 1_200


async def test_a_job_that_comes_late_and_is_critical_is_next(scene: Scene, registry: Registry) -> None:
    ran: list[str] = []
    go_on = asyncio.Event()

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ran.append(ctx.job.priority.value)
        if len(ran) == 1:
            await go_on.wait()

    queue = scene.queue()
    await queue.enqueue_many([handler.job().replace(priority="low") for _ in range(50)])
    async with scene.working(concurrency=1):
        await eventually(lambda: ran)
        await queue.enqueue(handler.job(), priority="critical")
        go_on.set()
        await scene.ended(queue, 51)

    assert ran.index("critical") == 1


async def test_jobs_of_one_priority_are_started_in_the_order_of_their_enqueueing(
    scene: Scene, registry: Registry
) -> None:
    ran: list[int] = []

    @registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(2000)])
    async with scene.working(concurrency=1, lease=LONG_LEASE):
        await scene.ended(queue, 2000)

    assert ran == list(range(2000))


async def test_f30_a_worker_full_of_a_long_job_holds_nothing_that_an_idle_one_could_run(
    scene: Scene, registry: Registry
) -> None:
    """What a worker has taken and cannot start is given back: an idle worker runs all of it.

    COUNT counts per stream: a read for one slot may bring a job of every priority.
    """
    go_on = asyncio.Event()
    ran: list[int] = []

    @registry.task("long")
    async def long() -> None:
        await go_on.wait()

    @registry.task("short")
    async def short(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    async with scene.working(concurrency=1) as busy:
        # A run of short ones first, so that the worker has reason to read ahead.
        await queue.enqueue_many([short.job(n).replace(priority=PRIORITIES[n % 4]) for n in range(400)])
        await queue.enqueue(long.job(), priority="critical")
        await eventually(lambda: len(ran) > 10)
        await eventually(lambda: len(busy.worker._pool._incarnation._runs) == 1)  # type: ignore[union-attr]
        await queue.enqueue_many([short.job(n).replace(priority=PRIORITIES[n % 4]) for n in range(400, 800)])
        async with scene.working(concurrency=1):
            await eventually(lambda: len(ran) == 800)
            go_on.set()
            await scene.ended(queue, 801)

    assert sorted(ran) == list(range(800))


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(scene: Scene, registry: Registry) -> None:
    ran: list[str] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ran.append(ctx.queue)

    queue = scene.queue()
    async with scene.working(queues=("a", "b")) as started:
        await started.joined()
        await queue.pause("a")
        await eventually(lambda: started.worker._pool._incarnation._paused == {"a"})  # type: ignore[union-attr]
        await queue.enqueue_many([handler.job().replace(queue="a") for _ in range(20)])
        await queue.enqueue_many([handler.job().replace(queue="b") for _ in range(20)])
        await scene.ended(queue, 20, name="b")

        assert set(ran) == {"b"}
        assert (await queue.stats("a")).depth == 20

        await queue.resume("a")
        await scene.ended(queue, 20, name="a")


async def test_a_worker_that_slept_hears_of_a_pause_before_it_starts_a_job(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asleep, it beats seldom: what it knew of pauses when the job came was older than is promised."""
    ran: list[int] = []
    monkeypatch.setattr(lease, "_ASLEEP", 1_000)
    monkeypatch.setattr(lease, "_BEATS_PER_LEASE", 600)  # a beat that is late is old, and the lease not over

    @registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    async with scene.working(lease=LONG_LEASE) as started:
        await started.joined()
        incarnation = started.worker._pool._incarnation
        assert incarnation is not None
        await eventually(incarnation._oriented.is_set)
        await eventually(incarnation._lease.is_old)
        await queue.pause("default")
        await queue.enqueue(handler.job(1))
        await eventually(lambda: incarnation._paused == {"default"})
        await asyncio.sleep(0.2)
        assert ran == []

        await queue.resume("default")
        await eventually(lambda: ran == [1])


async def test_a_worker_that_comes_to_a_paused_queue_starts_nothing(scene: Scene, registry: Registry) -> None:
    """It heard of the pause with its first heartbeat, seconds later, and took jobs until then."""
    ran: list[str] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ran.append(ctx.queue)

    queue = scene.queue()
    await queue.enqueue_many([handler.job().replace(queue=name) for name in ("a", "b") for _ in range(20)])
    await queue.pause("a")
    async with scene.working(queues=("a", "b"), lease=seconds(15)):
        await scene.ended(queue, 20, name="b")

        assert set(ran) == {"b"}

    await queue.resume("a")
    async with scene.working(queues=("a", "b")):
        await scene.ended(queue, 20, name="a")


async def test_a_delayed_job_starts_when_it_is_due_while_a_worker_waits(scene: Scene, registry: Registry) -> None:
    due: dict[str, float] = {}
    began: dict[str, float] = {}

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        began[ctx.job_id] = time.monotonic()

    queue = scene.queue()
    async with scene.working() as started:
        await started.joined()
        for ms in (50, 300, 700, 1100):
            job = handler.job()
            due[job.id] = time.monotonic() + ms / 1000
            await queue.enqueue(job, delay=timedelta(milliseconds=ms))
        await scene.ended(queue, 4)

    # It is due by the server's clock, which may go a little faster or slower.
    late = [(began[job_id] - at) * 1000 for job_id, at in due.items()]
    assert all(ms >= -20 for ms in late), late
    # The promise is a second, whoever enqueued it. On a busy machine one may miss it; a blocking read takes five.
    assert sorted(late)[1] < 1000, late


async def test_a_retry_of_a_few_milliseconds_is_not_late_by_the_promoters_tick(
    scene: Scene, registry: Registry
) -> None:
    every_5_ms = timedelta(milliseconds=5)

    @registry.task("t", retry=RetryPolicy(base=every_5_ms, max_delay=every_5_ms, jitter="none", max_retries=30))
    async def handler(ctx: JobContext) -> None:
        if ctx.attempt <= 20:
            raise ValueError

    queue = scene.queue()
    await queue.enqueue(handler.job())
    began = time.monotonic()
    async with scene.working():
        await scene.ended(queue, 1, within_s=30)

    # Twenty looks a second apart would take 20 s.
    assert time.monotonic() - began < 10


async def test_a_burst_ends_when_the_queues_are_empty(scene: Scene, registry: Registry) -> None:
    @registry.task("child")
    async def child() -> None: ...

    queue = scene.queue()

    @registry.task("parent")
    async def parent() -> None:
        # Its child must be run while it waits: a burst ends when nothing runs any more.
        handle = await queue.enqueue(child.job())
        await queue.wait(handle.id, timeout=seconds(30))

    await queue.enqueue_many([parent.job(), *(child.job() for _ in range(50))])
    started = scene.start(burst=True)
    await asyncio.wait_for(started.work, 30)

    assert (await queue.stats("default")).completed == 52


async def test_a_burst_on_empty_queues_ends_at_once(scene: Scene) -> None:
    started = scene.start(burst=True, queues=("a", "b"))

    await asyncio.wait_for(started.work, 30)


async def test_a_job_one_crash_short_of_the_limit_runs_alone(scene: Scene, registry: Registry) -> None:
    running = most = 0
    beside: dict[str, int] = {}

    @registry.task("t")
    async def handler(name: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        beside[name] = max(beside.get(name, 0), running)
        running -= 1

    queue = scene.queue(lease=seconds(1))
    broker = queue.parts.broker
    await queue.enqueue(handler.job("suspect 1"))
    await queue.enqueue(handler.job("suspect 2"), priority="low")
    for _ in range(2):  # their workers die, twice
        doomed = await broker.join(["default"])
        taken: list[object] = []

        async def take(doomed: object = doomed, taken: list[object] = taken) -> bool:
            taken += await doomed.fetch(5)  # type: ignore[attr-defined]
            return len(taken) == 2

        await eventually(take)
        await doomed.leave()
        await doomed.close()
        await eventually(lambda: _reaped(broker, queue))
    await queue.enqueue_many([handler.job(f"{n}") for n in range(8)])

    async with scene.working(concurrency=4, lease=LONG_LEASE):
        stats = await scene.ended(queue, 10)

    assert stats.completed == 10
    assert (beside["suspect 1"], beside["suspect 2"]) == (1, 1)
    assert most > 1


async def _reaped(broker: object, queue: object) -> bool:
    await broker.reap("default")  # type: ignore[attr-defined]
    return (await queue.stats("default")).depth == 2  # type: ignore[attr-defined,no-any-return]
