"""Results that cannot be kept, tasks that only some workers know, and reads that bring too much."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobqueue import outcome
from jobqueue.job import PRIORITIES, JobState
from jobqueue.registry import Registry
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually


def circle() -> object:
    around: list[object] = []
    around.append(around)
    return around


@pytest.mark.parametrize(
    ("make", "reason"),
    [(object, "no JSON"), (circle, "no JSON"), (lambda: "y" * 100_000_000, "the limit is")],
    ids=["object", "circle", "100 MB"],
)
async def test_f27_a_result_that_cannot_be_kept_does_not_keep_its_job_from_completing(
    scene: Scene, registry: Registry, make: Callable[[], object], reason: str
) -> None:
    """The job is completed and not run again; in place of its result stands why that was not kept."""
    ran: list[int] = []

    @registry.task("t", result_ttl=timedelta(minutes=1))
    async def handler() -> object:
        ran.append(1)
        return make()

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working() as started:
        status = await queue.wait(job.id, timeout=seconds(30))
        await eventually(started.outcomes)

    assert status is not None
    assert status.state is JobState.COMPLETED
    assert status.result["jobqueue"] == "result not kept"
    assert reason in status.result["reason"]
    assert (ran, started.outcomes()) == ([1], ["Completed"])


async def test_f28_during_a_deploy_the_new_worker_runs_what_the_old_one_does_not_know(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With old and new workers side by side, the new ones run the new task, each job once, and none dies."""
    monkeypatch.setattr(outcome, "_DEFERRAL_BASE", timedelta(milliseconds=20))
    # However often the old one takes the same job again, it neither waits for long nor dies.
    monkeypatch.setattr(outcome, "_LONGEST_DEFERRAL", timedelta(milliseconds=100))
    monkeypatch.setattr(outcome, "MAX_DEFERRALS", 10_000)
    ran: Counter[int] = Counter()
    old, new = Registry(), Registry()

    @new.task("new.task")
    async def handler(n: int) -> None:
        ran[n] += 1

    queue = scene.queue()
    async with scene.working(registry=old) as behind:
        await queue.enqueue_many([handler.job(n) for n in range(30)])
        await eventually(lambda: len(behind.settled) >= 5)
        async with scene.working(registry=new):
            stats = await scene.ended(queue, 30, within_s=30)

    assert (stats.completed, stats.died) == (30, 0)
    assert ran == Counter(range(30))


async def test_f30_every_waiting_job_is_run_by_the_idle_worker(scene: Scene, registry: Registry) -> None:
    """While one worker is full of a long job, an idle one runs all that waits, of every priority."""
    go_on = asyncio.Event()
    ran: Counter[int] = Counter()

    @registry.task("long")
    async def long() -> None:
        await go_on.wait()

    @registry.task("short")
    async def short(n: int) -> None:
        ran[n] += 1

    queue = scene.queue()
    await queue.enqueue(long.job(), priority="critical")
    await queue.enqueue_many([short.job(n).replace(priority=PRIORITIES[n % 4]) for n in range(400)])
    async with scene.working(concurrency=1) as busy:
        await eventually(lambda: busy.worker.running)
        async with scene.working(concurrency=1) as idle:
            await eventually(lambda: len(ran) == 400, within_s=30)
            await eventually(lambda: idle.outcomes().count("Completed") == 400)
            assert "Completed" not in busy.outcomes()
            go_on.set()
            await scene.ended(queue, 401)

    assert set(ran.values()) == {1}
