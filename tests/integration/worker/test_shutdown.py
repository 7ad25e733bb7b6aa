"""Ends in order: what runs is finished or given back, and nothing waits for a lease to run out."""

import asyncio
import random
import signal
import threading
from collections import Counter

from jobqueue.context import JobContext
from jobqueue.registry import Registry
from jobqueue.retry import RetryPolicy
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.proxy import fault_proxy

LONG_LEASE = seconds(60)


async def test_f20_what_does_not_finish_is_given_back_and_no_attempt_is_counted(
    scene: Scene, registry: Registry
) -> None:
    """What does not finish within the grace is given back without counting an attempt, and waits for no lease."""
    attempts: list[int] = []
    last = False

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if not last:
            await asyncio.Event().wait()

    queue = scene.queue(lease=LONG_LEASE)
    await queue.enqueue_many([handler.job() for _ in range(5)])
    async with scene.working(lease=LONG_LEASE, concurrency=3, shutdown_timeout=seconds(0.1)) as started:
        await eventually(lambda: len(attempts) == 3)
        await started.stop()
    stats = await queue.stats("default")
    assert (stats.depth, stats.running, stats.workers) == (5, 0, 0)

    last = True
    async with scene.working(lease=LONG_LEASE):
        await scene.ended(queue, 5)  # long before the lease would have run out

    assert set(attempts) == {1}


async def test_f20_outcomes_outlive_an_outage_at_the_end(scene: Scene, registry: Registry) -> None:
    """Outcomes that are known when Redis is away at the moment of SIGTERM are settled when it is back."""
    go_on = asyncio.Event()
    runs: list[str] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        await go_on.wait()
        runs.append(ctx.job_id)

    queue = scene.queue()
    await queue.enqueue_many([handler.job() for _ in range(4)])
    async with fault_proxy(scene.url) as proxy:
        async with scene.working(url=proxy.url, concurrency=4, lease=LONG_LEASE) as started:
            await eventually(lambda: started.worker.running == 4)
            proxy.refuse()
            proxy.cut()
            go_on.set()
            started.worker.stop()
            await asyncio.sleep(0.5)
            proxy.heal()
            await asyncio.wait_for(started.work, 30)
        await scene.ended(queue, 4)
    assert len(runs) == 4
    assert (await queue.stats("default")).workers == 0


async def test_what_finishes_within_the_grace_is_settled(scene: Scene, registry: Registry) -> None:
    go_on = asyncio.Event()

    @registry.task("t")
    async def handler() -> None:
        await go_on.wait()

    queue = scene.queue()
    await queue.enqueue_many([handler.job() for _ in range(20)])
    async with scene.working(concurrency=4) as started:
        await eventually(lambda: started.worker.running == 4)
        started.worker.stop()
        go_on.set()
        await asyncio.wait_for(started.work, 30)

    stats = await queue.stats("default")
    assert (stats.completed, stats.depth, stats.running) == (4, 16, 0)


async def test_f21_a_hurried_worker_waits_for_nothing(scene: Scene, registry: Registry) -> None:
    """A second signal gives back at once what runs."""

    @registry.task("t")
    async def handler() -> None:
        await asyncio.Event().wait()

    queue = scene.queue()
    await queue.enqueue(handler.job())
    async with scene.working(shutdown_timeout=seconds(60)) as started:
        await eventually(lambda: started.worker.running)
        started.worker.stop()
        await asyncio.sleep(0)
        started.worker.hurry()
        await asyncio.wait_for(started.work, 30)

    stats = await queue.stats("default")
    assert (stats.depth, stats.running) == (1, 0)


async def test_f20_stopping_at_any_moment_of_a_busy_worker_loses_and_doubles_nothing(
    scene: Scene, registry: Registry
) -> None:
    """Whenever a busy worker is stopped, no job is lost and none runs twice."""
    ran: Counter[int] = Counter()

    @registry.task("t")
    async def handler(n: int) -> None:
        await asyncio.sleep(0)
        ran[n] += 1

    queue = scene.queue(lease=LONG_LEASE)
    await queue.enqueue_many([handler.job(n).replace(priority=n % 10) for n in range(3000)])
    for stop_at in (1, 40, 200, 777, 1500, 2400):
        async with scene.working(lease=LONG_LEASE, concurrency=10) as started:
            await eventually(lambda at=stop_at: len(ran) >= at, poll_s=0.001)  # type: ignore[misc]
            await started.stop()
        stats = await queue.stats("default")
        assert (stats.running, stats.workers, stats.completed) == (0, 0, len(ran))
    async with scene.working(lease=LONG_LEASE, concurrency=10):
        await scene.ended(queue, 3000)

    assert set(ran.values()) == {1}
    assert len(ran) == 3000


async def test_a_worker_that_is_cancelled_by_its_own_loop_shuts_down_in_order(scene: Scene, registry: Registry) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    go_on = asyncio.Event()

    @registry.task("quick")
    async def quick() -> None:
        await go_on.wait()

    @registry.task("endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    queue = scene.queue(lease=LONG_LEASE)
    await queue.enqueue_many([quick.job(), endless.job()])
    started = scene.start(lease=LONG_LEASE, shutdown_timeout=seconds(0.6))
    await eventually(lambda: started.worker.running == 2)
    assert {number: signal.getsignal(number) for number in before} == before

    started.work.cancel()
    await asyncio.sleep(0)  # the shutdown has begun
    go_on.set()
    await asyncio.wait([started.work], timeout=30)

    assert started.work.cancelled()
    stats = await queue.stats("default")
    assert (stats.completed, stats.depth, stats.running, stats.workers) == (1, 1, 0, 0)
    async with scene.working(lease=LONG_LEASE):
        await queue.purge("default")


async def test_a_worker_that_is_cancelled_twice_hurries(scene: Scene, registry: Registry) -> None:
    @registry.task("endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    queue = scene.queue(lease=LONG_LEASE)
    await queue.enqueue(endless.job())
    started = scene.start(lease=LONG_LEASE, shutdown_timeout=seconds(60))
    await eventually(lambda: started.worker.running)

    started.work.cancel()
    await asyncio.sleep(0)
    started.work.cancel()
    await asyncio.wait([started.work], timeout=30)

    assert started.work.cancelled()
    assert (await queue.stats("default")).depth == 1


async def test_a_worker_that_is_stopped_while_a_suspect_waits_gives_it_back_unblamed(
    scene: Scene, registry: Registry
) -> None:
    go_on = asyncio.Event()

    @registry.task("t")
    async def handler() -> None:
        await go_on.wait()

    queue = scene.queue(max_crashes=2, lease=seconds(1))
    broker = queue.parts.broker
    await queue.enqueue(handler.job())
    doomed = await broker.join(["default"])
    await eventually(lambda: doomed.fetch(1))
    await doomed.leave()
    await doomed.close()

    async def reaped() -> bool:
        await broker.reap("default")
        return (await queue.stats("default")).depth == 1

    await eventually(reaped)
    await queue.enqueue(handler.job(), priority="critical")
    async with scene.working(max_crashes=2) as started:
        await started.joined()
        await eventually(lambda: _alone(started))
        await started.stop_with(go_on)
    stats = await queue.stats("default")
    assert (stats.running, stats.workers, stats.died) == (0, 0, 0)
    async with scene.working(max_crashes=2):
        await scene.ended(queue, 2)


def _alone(started: object) -> bool:
    return bool(started.worker._pool._incarnation._alone)  # type: ignore[attr-defined]


async def test_threads_end_with_their_worker(scene: Scene, registry: Registry) -> None:
    @registry.task("t")
    def handler() -> None: ...

    queue = scene.queue()
    await queue.enqueue_many([handler.job() for _ in range(20)])
    async with scene.working():
        await scene.ended(queue, 20)

    await eventually(lambda: not [each for each in threading.enumerate() if each.name.startswith("jobqueue")])


async def test_a_worker_stopped_at_any_moment_ends(scene: Scene, registry: Registry) -> None:
    """`asyncio.wait_for` could swallow the cancellation of a loop, before Python 3.12: one stop in twenty hung."""
    rng = random.Random(7)

    @registry.task("t", retry=RetryPolicy(max_retries=100, base=seconds(0.001), max_delay=seconds(0.01)))
    async def handler() -> None:
        raise ValueError("again")

    queue = scene.queue()
    await queue.enqueue_many([handler.job() for _ in range(50)])
    for _ in range(40):
        async with scene.working() as started:
            await asyncio.sleep(rng.uniform(0, 0.03))
            await started.stop()

    assert (await queue.stats("default")).running == 0
    await queue.purge("default")


async def test_a_scheduler_cancelled_at_any_moment_ends(scene: Scene) -> None:
    rng = random.Random(7)
    queue = scene.queue()
    for _ in range(60):
        caring = asyncio.create_task(queue.scheduler().run())
        await asyncio.sleep(rng.uniform(0, 0.01))
        caring.cancel()
        done, _ = await asyncio.wait([caring], timeout=30)
        assert done == {caring}
