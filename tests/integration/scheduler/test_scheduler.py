"""A scheduler without a worker beside it: it promotes, reaps, and finds queues that are made later."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from jobqueue.job import Job
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually


@pytest.fixture
async def bare(redis_url: str, namespace: str) -> AsyncIterator[Scene]:
    """A namespace without history."""
    scene = Scene(redis_url, namespace)
    yield scene
    await scene.close()


async def test_it_promotes_on_queues_that_are_made_after_its_start(
    bare: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue.scheduler import scheduler

    monkeypatch.setattr(scheduler, "_LOOK_FOR_QUEUES", timedelta(milliseconds=50))
    queue = bare.queue()
    async with scheduling(queue):
        await queue.enqueue(Job("t", {}, queue="new"), delay=timedelta(milliseconds=100))
        await eventually(lambda: _depth(bare, 1))


async def _depth(scene: Scene, wanted: int) -> bool:
    stats = await scene._queues[0].stats("new")
    return stats.depth == wanted


async def test_a_job_delayed_by_another_process_is_ready_when_it_is_due(
    bare: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promoter looked when there was nothing, and would look again in a minute."""
    from jobqueue.scheduler import promote

    monkeypatch.setattr(promote, "LONGEST_PAUSE", timedelta(minutes=1))
    queue, producer = bare.queue(), bare.queue()
    await producer.enqueue(Job("t", {}, queue="new"))
    async with scheduling(queue):
        await asyncio.sleep(0.5)
        await producer.enqueue(Job("t", {}, queue="new"), delay=timedelta(milliseconds=400))
        await producer.enqueue(Job("t", {}, queue="new"), delay=timedelta(milliseconds=200))
        await eventually(lambda: _depth(bare, 3))  # within half a minute


async def test_f44_many_delayed_jobs_are_ready_once_each_with_several_promoters(bare: Scene) -> None:
    """1 500 jobs due at one instant and two promoters: each is ready once."""
    queue, other = bare.queue(), bare.queue()
    await queue.enqueue_many([Job("t", {"n": n}, queue="new") for n in range(1500)], delay=timedelta(milliseconds=300))
    async with scheduling(queue, other):
        await eventually(lambda: _depth(bare, 1500), within_s=30)

    assert (await queue.stats("new")).delayed == 0


async def test_f12_it_gives_the_jobs_of_a_dead_worker_back_on_a_queue_without_traffic(bare: Scene) -> None:
    """A worker killed after its fetch: the scheduler gives the job back on a queue that has no other traffic."""
    queue = bare.queue()
    await queue.enqueue(Job("t", {}, queue="new"))
    doomed = await queue.parts.broker.join(["new"])
    await eventually(lambda: doomed.fetch(1))
    await doomed.close()
    async with scheduling(queue):
        await eventually(lambda: _depth(bare, 1), within_s=30)


async def test_f83_a_loop_that_fails_goes_on_and_the_others_do_not_notice(
    bare: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of the scheduler that raises is tried again, and the other loops do not notice."""
    queue = bare.queue()
    await queue.enqueue(Job("t", {}, queue="new"), delay=timedelta(milliseconds=200))
    broker, failed = queue.parts.broker, asyncio.Event()

    async def reap(name: str, **_: object) -> int:
        failed.set()
        raise RuntimeError("broken")

    monkeypatch.setattr(broker, "reap", reap)
    async with scheduling(queue):
        await failed.wait()
        await eventually(lambda: _depth(bare, 1))
