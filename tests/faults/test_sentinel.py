"""Failovers between a primary and its replicas, chosen by three Sentinels."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from jobqueue.errors import BrokerError, BrokerUnavailable, EnqueueUncertain
from jobqueue.job import Job
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.topology import Node, SentinelTopology, start_topology


@pytest.fixture
async def sentinel() -> AsyncIterator[SentinelTopology]:
    topology = await asyncio.to_thread(start_topology, "sentinel")
    assert isinstance(topology, SentinelTopology)
    yield topology
    await asyncio.to_thread(topology.stop)


@pytest.fixture
async def scene(sentinel: SentinelTopology, namespace: str) -> AsyncIterator[Scene]:
    scene = Scene(sentinel.url, namespace, lease=seconds(3))
    yield scene
    await scene.close()


async def test_f50_a_failover_under_load_is_followed(scene: Scene, sentinel: SentinelTopology) -> None:
    """After a failover producers and workers go on with the new primary; what a replica had confirmed all runs."""
    ran: Counter[int] = Counter()

    @scene.registry.task("count")
    async def count(n: int) -> None:
        ran[n] += 1

    queue = scene.queue()
    acknowledged: list[int] = []

    async def produce() -> None:
        for n in range(400):
            job = count.job(n=n)
            for _ in range(20):
                try:
                    await queue.enqueue(job, durability="replicated:1")
                    acknowledged.append(n)
                    break
                except (BrokerUnavailable, EnqueueUncertain):
                    continue
            await asyncio.sleep(0.01)

    async with scene.working(concurrency=5):
        producing = asyncio.create_task(produce())
        await eventually(lambda: len(ran) > 50)
        await asyncio.to_thread(sentinel.failover)
        await producing
        assert acknowledged == list(range(400))

        async def all_ran() -> bool:
            try:
                stats = await queue.stats("default")
            except BrokerError:  # the first that this line hears of the failover
                return False
            return set(ran) == set(range(400)) and stats.live == 0

        await eventually(all_ran, within_s=30)
        stats = await queue.stats("default")
        assert (stats.drift, stats.completed) == (0, stats.enqueued)


async def test_f49_what_no_replica_had_is_lost_and_never_called_replicated(
    scene: Scene, sentinel: SentinelTopology
) -> None:
    """A primary that dies with its replicas behind takes `local` jobs with it; none of them was called replicated."""
    queue = scene.queue()
    kept = [Job("count", {"n": n}) for n in range(10)]
    await queue.enqueue_many(kept, durability="replicated:1")
    primary = sentinel.primary()
    assert primary is not None
    replicas = _cut_off_replicas(sentinel, primary)
    local = await queue.enqueue(Job("count", {"n": 10}))
    uncertain = asyncio.create_task(queue.enqueue(Job("count", {"n": 11}), durability="replicated:1"))
    await asyncio.sleep(0.2)  # on its way to a primary that is about to die
    primary.kill()
    for replica in replicas:
        replica.resume()
    await asyncio.to_thread(sentinel.wait_failover, primary)

    async def reachable() -> bool:
        try:
            return (await queue.stats("default")).enqueued >= 10
        except BrokerError:
            return False

    await eventually(reachable, within_s=30)
    try:
        answered = await uncertain
    except EnqueueUncertain:
        answered = None
    assert await queue.get(local.id) is None
    for job in kept:
        assert await queue.get(job.id) is not None
    if answered is not None:  # repeated on the new primary within its time
        assert await queue.get(answered.id) is not None
    await asyncio.to_thread(primary.restart)


async def test_f51_f52_a_forgotten_claim_or_settlement_runs_again_and_ends_once(
    scene: Scene, sentinel: SentinelTopology
) -> None:
    """A failover that forgets a claim or a settlement lets the job run again; it ends once in the counters."""
    ran: Counter[str] = Counter()
    go_on = asyncio.Event()

    @scene.registry.task("quick")
    async def quick() -> None:
        ran["quick"] += 1

    @scene.registry.task("held")
    async def held() -> None:
        ran["held"] += 1
        await go_on.wait()

    queue = scene.queue()
    await queue.enqueue_many([quick.job(), held.job()], durability="replicated:2")
    primary = sentinel.primary()
    assert primary is not None
    replicas = _cut_off_replicas(sentinel, primary)
    async with scene.working(concurrency=2):

        async def one_settled() -> bool:
            return (await queue.stats("default")).completed == 1

        await eventually(lambda: ran == {"quick": 1, "held": 1})
        await eventually(one_settled)
        primary.kill()
        for replica in replicas:
            replica.resume()
        await asyncio.to_thread(sentinel.wait_failover, primary)
        # More often where the worker took them up itself, and was reaped over them.
        await eventually(lambda: ran["quick"] >= 2 and ran["held"] >= 2)
        go_on.set()

        async def all_ended() -> bool:
            try:
                stats = await queue.stats("default")
            except BrokerError:
                return False
            return (stats.completed, stats.live, stats.drift) == (2, 0, 0)

        await eventually(all_ended, within_s=30)
    await asyncio.to_thread(primary.restart)


async def test_f52_a_forgotten_settlement_is_noticed_though_no_reply_was_lost(
    sentinel: SentinelTopology, namespace: str
) -> None:
    """A settlement that a failover forgot while nothing was on its way: its worker, which lives, runs the job again."""
    scene = Scene(sentinel.url, namespace, lease=seconds(40))
    ran: Counter[str] = Counter()
    go_on = {name: asyncio.Event() for name in ("first", "second", "third")}

    @scene.registry.task("wait")
    async def wait(name: str) -> None:
        ran[name] += 1
        await go_on[name].wait()

    queue = scene.queue()
    await queue.enqueue_many([wait.job(name="first"), wait.job(name="second")], durability="replicated:2")
    primary = sentinel.primary()
    assert primary is not None
    async with scene.working(concurrency=2) as worker:
        await eventually(lambda: ran == {"first": 1, "second": 1})
        # Whoever has this one has the two deliveries before it.
        await queue.enqueue(Job("later", {}, queue="other"), durability="replicated:2")
        replicas = _cut_off_replicas(sentinel, primary)
        # Both slots are taken again, so that no fetch is under way when the primary dies.
        await queue.enqueue(wait.job(name="third"), durability="local")
        go_on["first"].set()
        await eventually(lambda: ran["third"] and worker.outcomes() == ["Completed"])
        primary.kill()
        for replica in replicas:
            replica.resume()
        await asyncio.to_thread(sentinel.wait_failover, primary)
        go_on["second"].set()
        go_on["third"].set()
        await eventually(lambda: ran == {"first": 2, "second": 1, "third": 1})

        async def all_ended() -> bool:
            try:
                stats = await queue.stats("default")
            except BrokerError:  # the first that this client hears of the failover
                return False
            return (stats.live, stats.completed, stats.drift) == (0, 2, 0)

        await eventually(all_ended)
    await scene.close()
    await asyncio.to_thread(primary.restart)


async def test_f50_a_sentinel_that_is_away_is_passed_over(scene: Scene, sentinel: SentinelTopology) -> None:
    """A Sentinel that is dead or silent is passed over; the next is asked."""
    sentinel.sentinels[0].kill()
    sentinel.sentinels[1].pause()
    queue = scene.queue()
    assert (await queue.enqueue(Job("count", {"n": 1}))).created
    sentinel.sentinels[1].resume()


async def test_f50_a_primary_that_was_replaced_and_serves_on_is_left(namespace: str) -> None:
    """A primary that was replaced, and still answers those who are connected, is left within seconds."""
    sentinel = await asyncio.to_thread(start_topology, "sentinel", proxied=True)
    assert isinstance(sentinel, SentinelTopology)
    scene = Scene(sentinel.url, namespace, lease=seconds(3))
    try:
        old = sentinel.primary()
        assert old is not None
        assert old.proxy is not None
        before = set(old.proxy.links)
        queue = scene.queue()
        await queue.enqueue(Job("count", {"n": 1}), durability="local")
        mine = set(old.proxy.links) - before
        # From here on nobody but this producer reaches it.
        old.proxy.refuse()
        for link in set(old.proxy.links) - mine:
            old.proxy.home[0].call_soon_threadsafe(link.abort)
        new = await asyncio.to_thread(sentinel.wait_failover, old)
        keys = queue.parts.redis.keys("default")  # type: ignore[union-attr]

        async def on_the_new_one() -> bool:
            job = Job("count", {"n": 2})
            try:
                await queue.enqueue(job)
            except (BrokerError, EnqueueUncertain):
                return False
            return bool(new.call("HEXISTS", keys.jobs, job.id))

        await eventually(on_the_new_one, within_s=30, poll_s=0.2)
    finally:
        await scene.close()
        await asyncio.to_thread(sentinel.stop)


async def test_without_any_sentinel_redis_is_unavailable(scene: Scene, sentinel: SentinelTopology) -> None:
    for each in sentinel.sentinels:
        each.kill()
    queue = scene.queue()
    with pytest.raises(BrokerUnavailable, match=r"redis\+sentinel://.* cannot be reached \(no Sentinel answers: Conn"):
        await queue.stats("default")
    with pytest.raises(BrokerUnavailable):
        await queue.queues()


def _cut_off_replicas(sentinel: SentinelTopology, primary: Node) -> list[Node]:
    """Let no replica have what the primary does from now on: not in a socket's buffer either."""
    replicas = [node for node in sentinel.data_nodes if node is not primary]
    for replica in replicas:
        replica.pause()
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    return replicas
