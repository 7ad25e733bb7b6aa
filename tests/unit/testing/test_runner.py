import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import (
    Discard,
    Job,
    JobContext,
    JobQueue,
    JobState,
    Registry,
    RetryLater,
    RetryPolicy,
    Snooze,
    UnknownTask,
    current_job,
)
from jobqueue.broker.base import Settlement
from jobqueue.clock import SystemClock
from jobqueue.middleware import CallNext
from jobqueue.outcome import Completed, Dead, DeadReason, Expired, Retrying, Snoozed
from jobqueue.testing import drain, enqueued, memory_queue

HOUR = timedelta(hours=1)


@pytest.fixture
def queue() -> JobQueue:
    return memory_queue()


@pytest.fixture
def registry() -> Registry:
    return Registry()


def noting(registry: Registry, name: str = "note", **options: Any) -> Any:
    """A task that keeps its argument in `seen`."""

    @registry.task(name, **options)
    async def note(text: str) -> None:
        seen.append(text)

    return note


seen: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def outcomes(settled: list[Settlement]) -> list[type]:
    return [type(each.outcome) for each in settled]


async def test_an_empty_queue_settles_nothing(queue: JobQueue, registry: Registry) -> None:
    assert await drain(queue, registry) == []


async def test_jobs_run_by_queue_then_priority_then_age(queue: JobQueue, registry: Registry) -> None:
    note = noting(registry)
    await queue.enqueue(note.job(text="4"), queue="mail")
    await queue.enqueue(note.job(text="2"))
    await queue.enqueue(note.job(text="3"))
    await queue.enqueue(note.job(text="1"), priority="critical")

    settled = await drain(queue, registry)

    assert seen == ["1", "2", "3", "4"]
    assert outcomes(settled) == [Completed] * 4
    assert [(each.type, each.delivery.queue) for each in settled] == [("note", "default")] * 3 + [("note", "mail")]


async def test_what_jobs_enqueue_runs_too_also_on_a_new_queue(queue: JobQueue, registry: Registry) -> None:
    note = noting(registry)

    @registry.task("parent")
    async def parent() -> None:
        await queue.enqueue(note.job(text="child"), queue="new")

    await queue.enqueue(parent.job())

    assert [each.type for each in await drain(queue, registry)] == ["parent", "note"]


async def test_what_is_due_later_stays(queue: JobQueue, registry: Registry) -> None:
    await queue.enqueue(noting(registry).job(text="later"), delay=HOUR)

    assert await drain(queue, registry) == []

    assert len(enqueued(queue)) == 1


async def test_what_has_become_due_runs(queue: JobQueue, registry: Registry) -> None:
    await queue.enqueue(noting(registry).job(text="later"), delay=HOUR)
    queue.parts.clock.advance(HOUR)  # type: ignore[attr-defined]

    await drain(queue, registry)

    assert seen == ["later"]


async def test_scheduled_moves_the_clock_from_one_due_job_to_the_next(queue: JobQueue, registry: Registry) -> None:
    note, start = noting(registry), queue.parts.clock.now_ms()
    for hours in (3, 1, 2):
        await queue.enqueue(note.job(text=str(hours)), delay=hours * HOUR)

    settled = await drain(queue, registry, scheduled=True)

    assert seen == ["1", "2", "3"]
    assert [each.started_ms - start for each in settled] == [3_600_000, 7_200_000, 10_800_000]


async def test_scheduled_runs_retries_to_the_end(queue: JobQueue, registry: Registry) -> None:
    @registry.task("fail", retry=RetryPolicy(max_retries=2))
    async def fail() -> None:
        raise ValueError("no")

    handle = await queue.enqueue(fail.job())

    first = await drain(queue, registry)
    rest = await drain(queue, registry, scheduled=True)

    assert outcomes(first) == [Retrying]
    assert outcomes(rest) == [Retrying, Dead]
    assert [each.delivery.attempt for each in rest] == [2, 3]
    assert (await queue.dead_letters.get(handle.id)).letter.error_message == "no"


async def test_retry_delays_are_the_same_each_time(registry: Registry) -> None:
    @registry.task("fail", retry=RetryPolicy(max_retries=3))
    async def fail() -> None:
        raise ValueError("no")

    delays = []
    for _ in range(2):
        queue = memory_queue()
        await queue.enqueue(fail.job())
        settled = await drain(queue, registry, scheduled=True)
        delays.append([each.outcome.delay_ms for each in settled if isinstance(each.outcome, Retrying)])

    assert delays[0] == delays[1]
    assert all(delays[0])


async def test_scheduled_needs_a_clock_that_can_be_moved(registry: Registry) -> None:
    with pytest.raises(TypeError, match="must be a ManualClock, got SystemClock"):
        await drain(memory_queue(clock=SystemClock()), registry, scheduled=True)


async def test_a_queue_on_a_server_is_refused(registry: Registry) -> None:
    with pytest.raises(TypeError, match=r"memory_queue\(\), got a queue on RedisStreamsBroker"):
        await drain(JobQueue.connect(), registry)


async def test_an_error_is_an_outcome(queue: JobQueue, registry: Registry) -> None:
    @registry.task("fail", max_retries=0)
    async def fail() -> None:
        raise ValueError("no")

    await queue.enqueue(fail.job())
    await queue.enqueue(noting(registry).job(text="after"))

    dead, completed = [each.outcome for each in await drain(queue, registry)]

    assert isinstance(dead, Dead)
    assert (dead.reason, dead.failure.message) == (DeadReason.EXHAUSTED, "no")
    assert completed == Completed()


async def test_an_error_is_raised_where_asked_after_its_job_is_settled(queue: JobQueue, registry: Registry) -> None:
    error = ValueError("no")

    @registry.task("fail", max_retries=0)
    def fail() -> None:
        raise error

    failed = await queue.enqueue(fail.job())
    await queue.enqueue(noting(registry).job(text="after"))

    with pytest.raises(ValueError, match="no") as raised:
        await drain(queue, registry, raise_errors=True)

    assert raised.value is error
    assert await queue.dead_letters.get(failed.id)
    assert [job.type for job in enqueued(queue)] == ["note"]


@pytest.mark.parametrize(
    ("signal", "outcome"), [(Snooze(HOUR), Snoozed), (RetryLater(HOUR), Retrying), (Discard("old"), Dead)]
)
async def test_signals_are_never_raised(queue: JobQueue, registry: Registry, signal: Exception, outcome: type) -> None:
    @registry.task("signal")
    async def send() -> None:
        raise signal

    await queue.enqueue(send.job())

    assert outcomes(await drain(queue, registry, raise_errors=True)) == [outcome]


async def test_an_unknown_task_is_put_off_or_raised(queue: JobQueue, registry: Registry) -> None:
    await queue.enqueue(Job("email.snd"))

    assert outcomes(await drain(queue, registry)) == [Snoozed]

    queue.parts.clock.advance(HOUR)  # type: ignore[attr-defined]
    with pytest.raises(UnknownTask, match=r"email\.snd"):
        await drain(queue, registry, raise_errors=True)


async def test_an_expired_job_is_not_run(queue: JobQueue, registry: Registry) -> None:
    await queue.enqueue(noting(registry).job(text="old"), expires=HOUR)
    queue.parts.clock.advance(2 * HOUR)  # type: ignore[attr-defined]

    assert outcomes(await drain(queue, registry)) == [Expired]
    assert seen == []


async def test_a_paused_queue_is_left_alone(queue: JobQueue, registry: Registry) -> None:
    await queue.enqueue(noting(registry).job(text="paused"))
    await queue.enqueue(noting(Registry()).job(text="paused, later"), delay=HOUR)
    await queue.pause("default")

    assert await drain(queue, registry, scheduled=True) == []

    await queue.resume("default")
    assert len(await drain(queue, registry)) == 2


async def test_handlers_run_inside_their_middleware_with_a_context(queue: JobQueue, registry: Registry) -> None:
    async def mark(ctx: JobContext, call_next: CallNext) -> object:
        seen.append(f"before {ctx.type}")
        return await call_next(ctx)

    registry.use(mark)

    @registry.task("plain")
    def plain(ctx: JobContext) -> None:
        assert current_job() is ctx
        assert threading.current_thread() is not threading.main_thread()
        seen.append("plain")

    await queue.enqueue(plain.job())

    assert outcomes(await drain(queue, registry, raise_errors=True)) == [Completed]
    assert seen == ["before plain", "plain"]
    with pytest.raises(LookupError):
        current_job()


async def test_a_result_is_kept(queue: JobQueue, registry: Registry) -> None:
    @registry.task("add", result_ttl=HOUR)
    async def add(a: int, b: int) -> int:
        return a + b

    handle = await queue.enqueue(add.job(a=1, b=2))

    await drain(queue, registry)

    assert (status := await queue.get(handle.id)) is not None
    assert status.result == 3


async def test_a_job_that_enqueues_itself_for_ever_is_found_out(queue: JobQueue, registry: Registry) -> None:
    @registry.task("again")
    async def again() -> None:
        await queue.enqueue(Job("again"), delay=HOUR)

    await queue.enqueue(again.job())

    with pytest.raises(RuntimeError, match="more than 20 attempts, the last of task 'again'"):
        await drain(queue, registry, scheduled=True, limit=20)


async def test_cancelling_a_drain_gives_its_job_back(queue: JobQueue, registry: Registry) -> None:
    started = asyncio.Event()

    @registry.task("hang")
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    handle = await queue.enqueue(hang.job())
    draining = asyncio.create_task(drain(queue, registry))
    await started.wait()

    draining.cancel()

    with pytest.raises(asyncio.CancelledError):
        await draining
    assert (status := await queue.get(handle.id)) is not None
    assert (status.state, status.attempt) == (JobState.QUEUED, 1)
    assert await queue.workers() == []


async def test_nothing_is_lost_or_counted_twice(queue: JobQueue, registry: Registry) -> None:
    note = noting(registry)
    await queue.enqueue_many(note.job(text=str(n)) for n in range(50))

    await drain(queue, registry)

    stats = await queue.stats("default")
    assert (stats.drift, stats.completed, stats.live) == (0, 50, 0)
