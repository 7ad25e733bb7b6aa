"""Dead, cut off, fenced and blocked workers; and a Redis that goes away."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter

import pytest

from jobqueue.app import JobQueue
from jobqueue.broker import scripts
from jobqueue.context import JobContext
from jobqueue.embedded import RedisServer
from jobqueue.registry import Registry
from jobqueue.repository.base import LetterFilter
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.proxy import fault_proxy

BRIEF = seconds(1)


async def die_with_a_job(queue: JobQueue) -> None:
    """A worker that takes a job and is heard of no more."""
    doomed = await queue.parts.broker.join(["default"])
    await eventually(lambda: doomed.fetch(1))
    await doomed.close()


async def take_behind_its_back(queue: JobQueue, worker: str, *, rank: int = 2) -> None:
    """Take the job at the head of a stream in a worker's name: it is pending there, and the worker knows nothing."""
    redis = queue.parts.redis
    assert redis is not None
    stream = redis.keys("default").streams[rank]
    (read,) = await redis.call(["XREADGROUP", "GROUP", "workers", worker, "COUNT", 1, "STREAMS", stream, ">"])
    assert len(read[1]) == 1


async def test_a_lone_worker_gives_the_jobs_of_a_dead_one_back(scene: Scene, registry: Registry) -> None:
    attempts: list[int] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)

    scene.lease = BRIEF
    queue = scene.queue()
    await queue.enqueue(handler.job())
    await die_with_a_job(queue)
    async with scene.working():
        stats = await scene.ended(queue, 1)

    assert attempts == [2]
    assert stats.completed == 1


async def test_f22_what_is_pending_under_a_workers_name_unknown_to_it_is_found(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then a worker compares what is pending under its name with what it knows, and runs the difference."""
    monkeypatch.setattr("jobqueue.worker.incarnation._TAKE_STOCK_S", 0.2)
    go_on = asyncio.Event()
    ran: list[str] = []

    @registry.task("t")
    async def handler(name: str) -> None:
        ran.append(name)
        await go_on.wait()

    queue = scene.queue()
    async with scene.working(concurrency=1) as started:
        await queue.enqueue(handler.job(name="known"))
        await eventually(lambda: ran)
        await queue.enqueue(handler.job(name="unknown"))
        await take_behind_its_back(queue, started.name)
        go_on.set()
        await scene.ended(queue, 2, within_s=30)

    assert ran == ["known", "unknown"]


async def test_a_look_at_what_is_pending_leaves_running_jobs_the_time_since_they_were_taken(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a job has been running goes on, however often its worker takes stock."""
    monkeypatch.setattr("jobqueue.worker.incarnation._TAKE_STOCK_S", 0.05)
    go_on = asyncio.Event()

    @registry.task("t")
    async def handler() -> None:
        await go_on.wait()

    queue = scene.queue()
    async with scene.working(concurrency=2):
        job = await queue.enqueue(handler.job())

        async def ran_for_long() -> bool:
            status = await queue.get(job.id)
            return status is not None and (status.duration_ms or 0) >= 1_500

        await eventually(ran_for_long, within_s=30)
        go_on.set()
        await scene.ended(queue, 1, within_s=30)


async def test_f52_a_worker_with_no_free_slot_takes_stock_and_gives_back(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found pending under the name of a worker whose slots are all taken is run by another."""
    monkeypatch.setattr("jobqueue.worker.incarnation._TAKE_STOCK_S", 0.2)
    go_on = asyncio.Event()
    ran: list[str] = []

    @registry.task("t")
    async def handler(name: str) -> None:
        ran.append(name)
        if name == "long":
            await go_on.wait()

    queue = scene.queue()
    async with scene.working(concurrency=1) as full:
        await queue.enqueue(handler.job(name="long"))
        await eventually(lambda: ran)
        await queue.enqueue(handler.job(name="unknown"))
        await take_behind_its_back(queue, full.name)
        async with scene.working(concurrency=1):
            await eventually(lambda: ran == ["long", "unknown"])
            go_on.set()
            await scene.ended(queue, 2, within_s=30)


async def test_f52_a_burst_does_not_end_before_it_has_looked_at_what_a_new_connection_knows(
    scene: Scene, registry: Registry
) -> None:
    """Where the last settlement went out on a new connection, a burst takes stock before it ends."""
    ran: list[str] = []
    queue = scene.queue()

    @registry.task("t")
    async def handler(name: str) -> None:
        ran.append(name)
        if name == "first":
            # As after a failover that forgot a settlement: pending under the name of a worker that knows nothing of it.
            await queue.enqueue(handler.job(name="second"), priority="high")
            await take_behind_its_back(queue, started.name, rank=1)

    await queue.enqueue(handler.job(name="first"))
    async with fault_proxy(scene.url) as proxy:
        proxy.drop_reply(scripts.SETTLE.sha.encode())
        started = scene.start(burst=True, url=proxy.url, concurrency=1)
        await asyncio.wait_for(started.work, 30)

    assert ran == ["first", "second"]


async def test_f19_a_job_whose_workers_die_again_and_again_is_a_dead_letter(scene: Scene, registry: Registry) -> None:
    """After three dead workers the job is a dead letter, for the reason that it crashed them."""
    handler = registry.task("t")(lambda: None)
    queue = scene.queue(lease=seconds(0.4))
    job = handler.job()
    await queue.enqueue(job)
    broker = queue.parts.broker

    async def reaped(ended: int) -> bool:
        await broker.reap("default")
        stats = await queue.stats("default")
        return stats.depth + stats.died == 1 and stats.died == ended

    for death in range(3):
        await die_with_a_job(queue)
        await eventually(lambda death=death: reaped(int(death == 2)))  # type: ignore[misc]

    (stored,), _ = await queue.dead_letters.list(LetterFilter(), limit=10)
    assert (stored.letter.job_id, stored.letter.reason, stored.letter.crashes) == (job.id, "crashed", 3)


async def test_f16_a_fenced_worker_settles_nothing_and_comes_back_under_a_new_name(
    scene: Scene, registry: Registry
) -> None:
    """A worker that has been reaped cancels its handlers, settles nothing, and comes back under a new name."""
    attempts: list[str] = []
    cancelled = asyncio.Event()

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        attempts.append(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    scene.lease = seconds(1.5)
    queue = scene.queue()
    broker = queue.parts.redis
    assert broker is not None
    await queue.enqueue(handler.job())
    async with scene.working() as started:
        first = await started.joined()
        await eventually(lambda: attempts)
        await broker.call(["ZREM", broker.keys("default").workers, first])
        stats = await scene.ended(queue, 1)
        second = started.name

    assert cancelled.is_set()
    assert attempts == ["attempt 1", "attempt 2"]
    assert first != second
    assert (stats.completed, started.outcomes()) == (1, ["Completed"])
    assert started.worker.metrics.leases_lost == 1


async def test_f16_an_outcome_that_comes_after_the_lease_was_lost_is_void(scene: Scene, registry: Registry) -> None:
    """A settlement that comes after the lease was lost is refused, and the new owner's stands."""
    go_on = asyncio.Event()
    attempts: list[int] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await go_on.wait()

    scene.lease = seconds(1.5)
    queue = scene.queue()
    broker = queue.parts.redis
    assert broker is not None
    await queue.enqueue(handler.job())
    async with scene.working() as started:
        first = await started.joined()
        await eventually(lambda: attempts)
        await broker.call(["ZREM", broker.keys("default").workers, first])
        go_on.set()
        stats = await scene.ended(queue, 1)

    assert attempts == [1, 2]
    assert (stats.completed, started.outcomes()) == (1, ["Completed"])


async def test_f23_some_lost_beats_lose_nothing(scene: Scene, registry: Registry) -> None:
    """Beats that fail for less than a lease cost nothing."""
    lease = seconds(4)  # three beats of it that fail leave 1.5 s to a busy machine
    cancelled = False
    beaten_again = asyncio.Event()

    @registry.task("t")
    async def handler() -> None:
        nonlocal cancelled
        try:
            await beaten_again.wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def lease_ms() -> int:
        (worker,) = await queue.workers("default")
        return worker.lease_ms

    queue = scene.queue(lease=lease)
    await queue.enqueue(handler.job())
    async with fault_proxy(scene.url) as proxy, scene.working(url=proxy.url, lease=lease) as started:
        await eventually(lambda: started.worker.running)
        proxy.drop_request(scripts.BEAT.sha.encode(), times=3)
        await eventually(lambda: proxy.faults == 3)
        left_ms = await lease_ms()

        async def renewed() -> bool:
            return await lease_ms() > left_ms

        await eventually(renewed)
        beaten_again.set()
        stats = await scene.ended(queue, 1)

    assert not cancelled
    assert (stats.completed, started.worker.metrics.leases_lost) == (1, 0)


async def test_f23_f57_a_worker_that_is_cut_off_stops_before_its_jobs_are_given_away(
    scene: Scene, registry: Registry
) -> None:
    """The worker cancels its handlers before its lease runs out, and another runs the job after that."""
    ends: list[tuple[str, float]] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(("stopped", time.monotonic()))
        ends.append(("run again", time.monotonic()))

    scene.lease = BRIEF
    queue = scene.queue()
    await queue.enqueue(handler.job())
    async with fault_proxy(scene.url) as proxy, scene.working(url=proxy.url) as cut_off:
        await eventually(lambda: cut_off.worker.running)
        async with scene.working():
            proxy.refusing = True
            proxy.cut()
            await scene.ended(queue, 1)
            await eventually(lambda: cut_off.worker.metrics.leases_lost == 1)
        proxy.refusing = False

    assert [what for what, _ in ends] == ["stopped", "run again"]


async def test_f17_a_handler_that_blocks_the_event_loop_for_three_leases_runs_once(
    scene: Scene, registry: Registry
) -> None:
    """The lease is renewed from a thread: the job runs once."""
    ran: list[int] = []
    lease = seconds(0.8)

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ran.append(ctx.attempt)
        time.sleep(3 * lease.total_seconds())  # noqa: ASYNC251 - the block is what is tested

    reaping = threading.Event()

    async def reap() -> None:
        other = Scene(scene.url, scene.namespace, lease=lease, registry=registry)
        queue = other.queue()
        try:
            while not reaping.wait(0.05):
                await queue.parts.broker.reap("default")
        finally:
            await queue.close()

    # Reapers in a loop of their own: the one under test is blocked.
    thread = threading.Thread(target=lambda: asyncio.run(reap()))
    thread.start()
    queue = scene.queue()
    try:
        await queue.enqueue(handler.job())
        async with scene.working(lease=lease) as started:
            stats = await scene.ended(queue, 1)
    finally:
        reaping.set()
        thread.join()

    assert ran == [1]
    assert (stats.completed, started.worker.metrics.leases_lost) == (1, 0)


async def test_f34_a_redis_that_is_killed_and_comes_back_soon_costs_no_run(
    own_server: RedisServer, own_scene: Scene, registry: Registry
) -> None:
    """The living renew before anyone is judged: no job runs twice."""
    lease = seconds(4)  # of which this leaves half a second to a server that starts on a busy machine
    runs: Counter[int] = Counter()
    go_on = asyncio.Event()

    @own_scene.registry.task("long")
    async def long(n: int) -> None:
        runs[n] += 1
        await go_on.wait()

    queue = own_scene.queue(lease=lease)
    await queue.enqueue_many([long.job(n) for n in range(100)])
    async with (
        own_scene.working(lease=lease, concurrency=50),
        own_scene.working(lease=lease, concurrency=50),
    ):
        await eventually(lambda: len(runs) == 100)
        own_server.kill()
        await asyncio.sleep(0.5 * lease.total_seconds())  # reapers have missed their ticks
        own_server.restart()
        await asyncio.sleep(0.5 * lease.total_seconds())  # in which who did not renew would be judged
        go_on.set()
        stats = await own_scene.ended(queue, 100, within_s=30)

    assert stats.completed == 100
    assert set(runs.values()) == {1}


async def test_f34_a_redis_that_is_away_for_longer_than_a_lease_costs_time_and_no_job(
    own_server: RedisServer, own_scene: Scene
) -> None:
    """After an outage longer than the lease every job is run to its end."""
    runs: Counter[int] = Counter()
    ends: Counter[int] = Counter()

    @own_scene.registry.task("t")
    async def handler(n: int) -> None:
        runs[n] += 1
        await asyncio.sleep(0.3)
        ends[n] += 1

    lease = seconds(0.5)
    queue = own_scene.queue(lease=lease)
    await queue.enqueue_many([handler.job(n) for n in range(60)])
    async with own_scene.working(lease=lease, concurrency=10) as started:
        await eventually(lambda: len(ends) >= 10)
        first, lost = started.name, started.worker.metrics.leases_lost
        own_server.kill()
        await eventually(lambda: started.worker.metrics.leases_lost > lost)
        own_server.restart()
        stats = await own_scene.ended(queue, 60, within_s=30)

        assert started.name != first

    assert stats.completed == 60
    assert set(ends) == set(range(60))


async def test_f35_a_redis_that_stands_still_costs_no_job(own_server: RedisServer, own_scene: Scene) -> None:
    """No job is lost; a worker whose lease ran out comes back under a new name."""
    ends: Counter[int] = Counter()

    @own_scene.registry.task("t")
    async def handler(n: int) -> None:
        await asyncio.sleep(0.1)
        ends[n] += 1

    own_scene.lease = BRIEF
    queue = own_scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(100)])
    async with own_scene.working(concurrency=10) as started:
        await eventually(lambda: len(ends) >= 10)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: started.worker.metrics.leases_lost)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        stats = await own_scene.ended(queue, 100, within_s=30)

    assert stats.completed == 100
    assert set(ends) == set(range(100))


async def test_f37_a_flush_ends_what_was_and_work_goes_on_without_spinning(
    own_server: RedisServer, own_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker loses its lease, comes back, and does not spin."""
    ran: list[int] = []
    go_on = asyncio.Event()

    @own_scene.registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)
        if n == 0:
            await go_on.wait()

    queue = own_scene.queue()
    broker = queue.parts.redis
    assert broker is not None
    async with own_scene.working() as started:
        await queue.enqueue(handler.job(0))
        await eventually(lambda: ran)
        before = _commands(await broker.call(["INFO", "stats"]))
        await broker.call(["FLUSHALL"])
        go_on.set()
        await eventually(lambda: started.worker.metrics.leases_lost >= 1)
        await queue.enqueue(handler.job(1))
        await eventually(lambda: 1 in ran)
        await own_scene.ended(queue, 1)
        after = _commands(await broker.call(["INFO", "stats"]))

    assert started.worker.metrics.leases_lost <= 3
    assert after - before < 2_000  # a loop without a pause makes tens of thousands


def _commands(info: bytes) -> int:
    (line,) = [each for each in info.decode().splitlines() if each.startswith("total_commands_processed:")]
    return int(line.partition(":")[2])


async def test_f22_a_reply_to_a_fetch_that_is_lost_costs_no_job(scene: Scene, registry: Registry) -> None:
    """The worker takes up what the lost reply brought, and every job runs once."""
    ran: Counter[int] = Counter()

    @registry.task("t")
    async def handler(n: int) -> None:
        ran[n] += 1
        await asyncio.sleep(0.001)

    queue = scene.queue()
    await queue.enqueue_many([handler.job(n) for n in range(300)])
    async with fault_proxy(scene.url) as proxy:
        proxy.drop_reply(scripts.FETCH.sha.encode(), after=2, times=2)
        proxy.drop_reply(scripts.SETTLE.sha.encode(), after=1, times=2)
        async with scene.working(url=proxy.url) as started:
            stats = await scene.ended(queue, 300)
            assert proxy.faults >= 2

    assert stats.completed == 300
    assert set(ran.values()) == {1}
    assert started.worker.metrics.leases_lost == 0
