"""What becomes of a job, from its enqueueing to its end, through a worker on a real server."""

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import outcome as outcome_module
from jobqueue.app import JobQueue
from jobqueue.context import JobContext
from jobqueue.errors import Discard, RetryLater, Snooze
from jobqueue.job import Job, JobState, new_id
from jobqueue.registry import Registry
from jobqueue.repository.base import LetterFilter
from jobqueue.retry import RetryPolicy
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually

QUICKLY = RetryPolicy(base=timedelta(milliseconds=20), jitter="none", max_retries=2)


async def until_cancelled() -> None:
    await asyncio.Event().wait()


async def only_letter(queue: JobQueue) -> Any:
    (stored,), _ = await queue.dead_letters.list(LetterFilter(), limit=10)
    return stored.letter


async def test_a_job_is_run_with_its_arguments_and_is_gone(scene: Scene, registry: Registry) -> None:
    ran: list[tuple[str, int]] = []

    @registry.task("t")
    async def handler(ctx: JobContext, to: str, n: int = 1) -> None:
        ran.append((to, n))

    queue = scene.queue()
    await queue.enqueue(handler.job("ada"))
    async with scene.working():
        stats = await scene.ended(queue, 1)

    assert ran == [("ada", 1)]
    assert (stats.completed, stats.live) == (1, 0)


async def test_a_failing_job_is_retried_with_growing_delays_and_dies(scene: Scene, registry: Registry) -> None:
    attempts: list[int] = []

    @registry.task("t", retry=QUICKLY)
    async def handler(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        raise ValueError(f"attempt {ctx.attempt}")

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working() as started:
        await scene.ended(queue, 1)
        delays = [each.outcome.delay_ms for each in started.settled if hasattr(each.outcome, "delay_ms")]

    letter = await only_letter(queue)
    assert attempts == [1, 2, 3]
    assert delays == [20, 40]
    assert (letter.job_id, letter.reason, letter.attempts) == (job.id, "exhausted", 3)
    assert letter.error_message == "attempt 3"
    assert "ValueError: attempt 3" in letter.traceback


async def test_signals_steer_a_job(scene: Scene, registry: Registry) -> None:
    attempts: list[tuple[str, int]] = []

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        attempts.append((ctx.job_id, ctx.attempt))
        match len(attempts):
            case 1:
                raise Snooze(timedelta(milliseconds=10))
            case 2:
                raise RetryLater(timedelta(milliseconds=10))
            case 3:
                raise Discard("enough")

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working() as started:
        await scene.ended(queue, 1)

    assert attempts == [(job.id, 1), (job.id, 1), (job.id, 2)]
    assert started.outcomes() == ["Snoozed", "Retrying", "Dead"]
    assert (await only_letter(queue)).reason == "discarded"


async def test_a_handler_that_takes_too_long_is_cancelled_and_retried(scene: Scene, registry: Registry) -> None:
    cancelled: list[int] = []

    @registry.task("t", timeout=timedelta(milliseconds=100), retry=QUICKLY)
    async def handler(ctx: JobContext) -> None:
        if ctx.attempt == 2:
            return
        try:
            await until_cancelled()
        finally:
            cancelled.append(ctx.attempt)

    queue = scene.queue()
    await queue.enqueue(handler.job())
    async with scene.working() as started:
        await scene.ended(queue, 1)

    assert cancelled == [1]
    assert started.outcomes() == ["Retrying", "Completed"]
    assert started.worker.metrics.leaked_handlers == 0


async def test_f18_a_handler_that_ignores_its_cancellation_loses_its_slot_and_its_say(
    scene: Scene, registry: Registry
) -> None:
    """After timeout and grace the job is settled as timed out, and the slot of the handler left behind is given on."""
    began, let_go = asyncio.Event(), asyncio.Event()

    @registry.task("stubborn", timeout=timedelta(milliseconds=50), max_retries=0)
    async def stubborn() -> None:
        began.set()
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()

    @registry.task("other")
    async def other() -> None: ...

    queue = scene.queue()
    await queue.enqueue(stubborn.job())
    async with scene.working(concurrency=1) as started:
        await eventually(began.is_set)
        await queue.enqueue(other.job())
        stats = await scene.ended(queue, 2)
        let_go.set()

    assert (stats.died, stats.completed) == (1, 1)
    assert started.worker.metrics.leaked_handlers == 1
    assert (await only_letter(queue)).error_class == "JobTimeout"


async def test_f18_a_thread_that_takes_too_long_loses_its_slot_and_its_say(scene: Scene, registry: Registry) -> None:
    """A thread that takes too long loses its slot too."""
    began, let_go = threading.Event(), threading.Event()

    @registry.task("stubborn", timeout=timedelta(milliseconds=50), max_retries=0)
    def stubborn() -> None:
        began.set()
        let_go.wait(30)

    @registry.task("other")
    def other() -> None: ...

    queue = scene.queue()
    await queue.enqueue(stubborn.job())
    async with scene.working(concurrency=1) as started:
        await eventually(began.is_set)
        await queue.enqueue(other.job())
        stats = await scene.ended(queue, 2)
        let_go.set()

    assert (stats.died, stats.completed) == (1, 1)
    assert started.worker.metrics.leaked_handlers == 1


async def test_a_running_job_is_cancelled_on_request(scene: Scene, registry: Registry) -> None:
    cancelled = asyncio.Event()

    @registry.task("t")
    async def handler() -> None:
        try:
            await until_cancelled()
        finally:
            cancelled.set()

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working() as started:
        await eventually(lambda: started.worker.running)

        assert await queue.cancel(job.id) is JobState.RUNNING
        stats = await scene.ended(queue, 1)

    assert cancelled.is_set()
    assert stats.cancelled == 1


async def test_a_thread_sees_that_its_job_is_cancelled(scene: Scene, registry: Registry) -> None:
    @registry.task("t")
    def handler(ctx: JobContext) -> str:
        while not ctx.cancelled:
            threading.Event().wait(0.005)
        raise InterruptedError

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working(cancel_grace=seconds(10)) as started:
        await eventually(lambda: started.worker.running)
        await queue.cancel(job.id)
        stats = await scene.ended(queue, 1)

    assert stats.cancelled == 1
    assert started.worker.metrics.leaked_handlers == 0


async def test_progress_is_seen_while_a_job_runs(scene: Scene, registry: Registry) -> None:
    done = asyncio.Event()

    @registry.task("t")
    async def handler(ctx: JobContext) -> None:
        ctx.progress({"done": 3})
        await done.wait()

    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scene.working():

        async def look() -> bool:
            status = await queue.get(job.id)
            return status is not None and status.progress == {"done": 3}

        await eventually(look)
        done.set()
        await scene.ended(queue, 1)


async def test_a_result_is_kept_where_it_is_asked_for(scene: Scene, registry: Registry) -> None:
    @registry.task("t", result_ttl=timedelta(minutes=1))
    async def handler(n: int) -> dict[str, int]:
        return {"twice": 2 * n}

    queue = scene.queue()
    job = handler.job(4)
    await queue.enqueue(job)
    async with scene.working():
        status = await queue.wait(job.id, timeout=seconds(30))

    assert status is not None
    assert (status.state, status.result) == (JobState.COMPLETED, {"twice": 8})


async def test_f28_an_unknown_task_waits_for_a_worker_that_knows_it(
    scene: Scene, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is given back with a growing delay until a worker knows the task."""
    monkeypatch.setattr(outcome_module, "_DEFERRAL_BASE", timedelta(milliseconds=50))
    queue = scene.queue()
    await queue.enqueue(Job("new.task", {}))

    async with scene.working() as started:
        await eventually(lambda: len(started.settled) >= 2)
    assert set(started.outcomes()) == {"Snoozed"}

    registry.task("new.task")(lambda: None)
    async with scene.working():
        assert (await scene.ended(queue, 1)).completed == 1


async def test_f28_an_unknown_task_dies_when_its_budget_is_spent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no worker has known the task for long, the job is a dead letter with the reason `unknown_task`."""
    monkeypatch.setattr(outcome_module, "_DEFERRAL_BASE", timedelta(milliseconds=1))
    monkeypatch.setattr(outcome_module, "MAX_DEFERRALS", 4)
    queue = scene.queue()
    await queue.enqueue(Job("new.task", {"n": 1}))

    async with scene.working() as started:
        await scene.ended(queue, 1)

    letter = await only_letter(queue)
    assert started.outcomes() == ["Snoozed"] * 4 + ["Dead"]
    assert (letter.reason, letter.attempts) == ("unknown_task", 1)
    assert "new.task" in letter.error_message


async def test_a_payload_that_does_not_fit_is_retried(scene: Scene, registry: Registry) -> None:
    """The next worker may be of the version that understands it."""

    @registry.task("t", retry=QUICKLY)
    async def handler(n: int) -> None: ...

    queue = scene.queue()
    await queue.enqueue(Job("t", {"n": "many"}))
    async with scene.working() as started:
        await scene.ended(queue, 1)

    letter = await only_letter(queue)
    assert started.outcomes() == ["Retrying", "Retrying", "Dead"]
    assert (letter.error_class, letter.reason) == ("InvalidJob", "exhausted")
    assert "many" not in letter.error_message + letter.traceback


async def test_a_body_that_cannot_be_read_is_a_dead_letter_whole(scene: Scene) -> None:
    queue = scene.queue()
    broker = queue.parts.redis
    assert broker is not None
    await (await broker.join(["default"])).leave()
    keys, job_id, body = broker.keys("default"), new_id(), b"\xffnot a job"
    entry = await broker.call(["XADD", keys.streams[2], "*", "i", job_id, "b", body])
    await broker.call(["HSET", keys.jobs, job_id, b"2" + entry])
    await broker.call(["HINCRBY", keys.meta, "enqueued", 1])

    async with scene.working():
        await scene.ended(queue, 1)

    letter = await only_letter(queue)
    assert (letter.job_id, letter.reason, letter.body) == (job_id, "unreadable", body)


async def test_a_job_that_has_expired_is_not_run(scene: Scene, registry: Registry) -> None:
    ran: list[int] = []

    @registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    await queue.enqueue(handler.job(1), expires=timedelta(milliseconds=1), delay=timedelta(milliseconds=50))
    await queue.enqueue(handler.job(2), expires=timedelta(hours=1))
    async with scene.working():
        stats = await scene.ended(queue, 2)

    assert ran == [2]
    assert (stats.expired, stats.completed) == (1, 1)


async def test_what_is_not_run_does_not_hold_up_what_waits_behind_it(scene: Scene, registry: Registry) -> None:
    """Expired jobs took no slot, and the slot that fell free behind them was given to nobody."""
    ran: list[int] = []

    @registry.task("t")
    async def handler(n: int) -> None:
        ran.append(n)

    queue = scene.queue()
    for priority in ("critical", "high", "medium", "low"):
        await queue.enqueue(handler.job(1), priority=priority)
        for _ in range(3):
            await queue.enqueue(handler.job(0), priority=priority, expires=timedelta(milliseconds=1))
        await queue.enqueue(handler.job(2), priority=priority)
    await eventually(lambda: _aged(queue))
    async with scene.working(concurrency=1):
        stats = await scene.ended(queue, 20)

    assert (stats.completed, stats.expired) == (8, 12)
    assert ran == [1, 2] * 4


async def _aged(queue: JobQueue) -> bool:
    return ((await queue.stats("default")).oldest_ready_ms or 0) > 50


async def test_an_observer_that_fails_harms_nobody(scene: Scene, registry: Registry) -> None:
    """Its error ended the settling loop, and with it the worker's lease."""

    @registry.task("t")
    async def handler() -> None: ...

    def observe(settlement: object) -> None:
        raise RuntimeError("the observer's own fault")

    queue = scene.queue()
    await queue.enqueue(handler.job())
    async with scene.working() as started:
        started.worker._observe = observe
        name = await started.joined()
        await scene.ended(queue, 1)
        await queue.enqueue(handler.job())
        await scene.ended(queue, 2)

        assert started.name == name
