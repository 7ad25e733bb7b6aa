"""Queues on three primaries: slots that move, nodes that die, reads that cannot be shared."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from jobqueue.app import JobQueue
from jobqueue.broker import consumer
from jobqueue.broker.keys import QueueKeys
from jobqueue.errors import BrokerError, BrokerUnavailable, EnqueueUncertain
from jobqueue.job import Job
from jobqueue.scheduler.ship import ship_queue
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.topology import ClusterTopology, move_slot, start_topology
from testutil.topology.cluster import slot_of

JOBS = 300


@pytest.fixture
async def cluster() -> AsyncIterator[ClusterTopology]:
    topology = await asyncio.to_thread(start_topology, "cluster", replicas=1)
    assert isinstance(topology, ClusterTopology)
    yield topology
    await asyncio.to_thread(topology.stop)


@pytest.fixture
async def scene(cluster: ClusterTopology, namespace: str) -> AsyncIterator[Scene]:
    scene = Scene(cluster.url, namespace, lease=seconds(6))
    yield scene
    await scene.close()


def queues_on_every_node(cluster: ClusterTopology, namespace: str) -> list[str]:
    """A queue for each primary, in the order of the nodes."""
    found: dict[str, str] = {}
    for n in range(100):
        key = QueueKeys.of(namespace, f"q{n}").meta
        found.setdefault(cluster.primary_of(key).name, f"q{n}")
        if len(found) == 3:
            break
    return [found[name] for name in sorted(found)]


async def test_f53_f56_one_worker_serves_queues_on_every_node(
    scene: Scene, cluster: ClusterTopology, namespace: str
) -> None:
    """Keys of a queue share a slot; a worker reads each queue by itself, and an idle one wakes for any of them."""
    ran: Counter[int] = Counter()

    @scene.registry.task("count")
    async def count(n: int) -> None:
        ran[n] += 1

    names = queues_on_every_node(cluster, namespace)
    queue = scene.queue()
    jobs = [count.job(n=n).replace(queue=names[n % 3]) for n in range(JOBS)]
    assert all(each.status == "new" for each in await queue.enqueue_many(jobs))
    async with scene.working(queues=tuple(names), concurrency=5):
        await eventually(lambda: len(ran) == JOBS)
        for n in range(JOBS, JOBS + 9):  # each finds a worker that waits in three blocked reads
            await queue.enqueue(count.job(n=n), queue=names[n % 3])
            await eventually(lambda n=n: ran[n] == 1)  # type: ignore[misc]
        for name in names:
            await scene.ended(queue, JOBS // 3 + 3, name=name)
    assert set(ran.values()) == {1}
    assert await queue.queues() == sorted(names)


async def test_f56_a_waiting_read_of_one_queue_does_not_hold_up_another(
    scene: Scene, cluster: ClusterTopology, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one queue's blocked read yields, the others are woken, and nothing that they took is forgotten."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 60_000)
    names = queues_on_every_node(cluster, namespace)
    queue = scene.queue()
    mine = await queue.parts.broker.join(names)
    for round_ in range(10):
        fetching = asyncio.create_task(mine.fetch(5))
        await asyncio.sleep(0.02)
        sent = [Job("t", {}) for _ in range(1 + round_ % 3)]
        await asyncio.gather(*(queue.enqueue(job, queue=names[n]) for n, job in enumerate(sent)))
        got = {each.job_id for each in await fetching}
        assert got
        while got != {job.id for job in sent}:
            got |= {each.job_id for each in await mine.fetch(5, wait=False)}
    assert len(await mine.adopt()) == sum(1 + round_ % 3 for round_ in range(10))
    await mine.leave()
    await mine.close()


async def test_f54_a_slot_that_moves_under_load_takes_its_queue_along(
    scene: Scene, cluster: ClusterTopology, namespace: str
) -> None:
    """MOVED, ASK and TRYAGAIN are followed while a slot moves under load: every job is acknowledged and runs once."""
    ran: Counter[int] = Counter()

    @scene.registry.task("count")
    async def count(n: int) -> None:
        ran[n] += 1
        await asyncio.sleep(0.002)

    name = queues_on_every_node(cluster, namespace)[0]
    queue = scene.queue()
    key = QueueKeys.of(namespace, name).meta

    async def produce() -> None:
        for n in range(JOBS):
            await queue.enqueue(count.job(n=n), queue=name)
            await asyncio.sleep(0.005)

    async with scene.working(queues=(name,), concurrency=5):
        producing = asyncio.create_task(produce())
        await eventually(lambda: len(ran) > 20)
        for _ in range(3):
            source = await asyncio.to_thread(cluster.primary_of, key)
            target = next(node for node in cluster.primaries() if node is not source)
            await asyncio.to_thread(move_slot, cluster, slot_of(key), target)
            assert (await asyncio.to_thread(cluster.primary_of, key)) is target
            await asyncio.sleep(0.1)
        await producing
        await scene.ended(queue, JOBS, name=name, within_s=30)
    assert (len(ran), set(ran.values())) == (JOBS, {1})


async def test_f54_history_goes_on_when_a_slot_moves_away_and_back(
    database_url: str, scene: Scene, cluster: ClusterTopology, namespace: str
) -> None:
    """History of a queue whose slot moves away and back is whole, each row once."""
    scene.database_url = database_url
    ran: list[int] = []

    @scene.registry.task("count")
    async def count(n: int) -> None:
        ran.append(n)

    name = queues_on_every_node(cluster, namespace)[0]
    queue = scene.queue()
    key = QueueKeys.of(namespace, name).meta
    home = await asyncio.to_thread(cluster.primary_of, key)
    away = next(node for node in cluster.primaries() if node is not home)
    parts = queue.parts
    assert parts.shipping is not None
    async with scene.working(queues=(name,), concurrency=5):
        for round_, target in enumerate((away, home, away, home)):
            await queue.enqueue_many([count.job(n=round_ * 10 + n).replace(queue=name) for n in range(10)])
            await scene.ended(queue, 10 * (round_ + 1), name=name)
            await ship_queue(parts.broker.journal, parts.shipping.archive, name)
            rows = await queue.executions.recent(queue=name, type=None, outcome=None, limit=1000)
            assert len(rows) == 10 * (round_ + 1)
            await asyncio.to_thread(move_slot, cluster, slot_of(key), target)
    assert len({row.job_id for row in rows}) == len(ran) == 40
    assert (await queue.stats(name)).journal == 0


async def test_f50_a_primary_that_dies_is_followed_to_its_replica(
    scene: Scene, cluster: ClusterTopology, namespace: str
) -> None:
    """A dead primary's replica takes over its queues; what was confirmed by a replica runs, the rest goes on."""
    ran: Counter[int] = Counter()

    @scene.registry.task("count")
    async def count(n: int) -> None:
        ran[n] += 1

    names = queues_on_every_node(cluster, namespace)
    queue = scene.queue()

    async def produce(numbers: range, durability: str) -> None:
        for n in numbers:
            job = count.job(n=n).replace(queue=names[n % 3])
            for _ in range(5):
                try:
                    await queue.enqueue(job, durability=durability)
                    break
                except (BrokerUnavailable, EnqueueUncertain):
                    continue
            else:
                raise AssertionError(f"job {n} was never acknowledged")

    async with scene.working(queues=tuple(names), concurrency=5):
        await produce(range(JOBS // 2), "replicated:1")
        victim = await asyncio.to_thread(cluster.primary_of, QueueKeys.of(namespace, names[1]).meta)
        victim.kill()
        failing_over = asyncio.create_task(asyncio.to_thread(cluster.wait_failover, victim))
        # Its replica is the primary now, and has none: "replicated" could not be confirmed.
        await produce(range(JOBS // 2, JOBS), "local")
        await failing_over

        async def all_ran() -> bool:
            try:
                live = [(await queue.stats(name)).live for name in names]
            except BrokerError:
                return False
            return set(ran) == set(range(JOBS)) and sum(live) == 0

        await eventually(all_ran, within_s=30)
    await asyncio.to_thread(victim.restart)
    await asyncio.to_thread(cluster.wait_ready)


async def test_a_node_that_is_away_from_the_start_is_passed_over(cluster: ClusterTopology, namespace: str) -> None:
    cluster.nodes[0].kill()
    survivors = {node.name for node in cluster.primaries()}
    async with JobQueue.connect(cluster.url, namespace=namespace) as queue:
        for n in range(30):
            name = f"q{n}"
            if _owner(cluster, QueueKeys.of(namespace, name).meta) in survivors:
                assert (await queue.enqueue(Job("t", {}), queue=name)).created
                return
    raise AssertionError("no queue on a survivor")


def _owner(cluster: ClusterTopology, key: str) -> str | None:
    try:
        return cluster.primary_of(key).name
    except LookupError:
        return None
