import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import (
    DeadLetterNotFound,
    InvalidJob,
    Job,
    JobQueue,
    JobQueueError,
    JobState,
    LetterFilter,
    Registry,
    RetryPolicy,
    Worker,
)
from jobqueue.broker.base import Settlement
from jobqueue.clock import SystemClock
from jobqueue.outcome import Dead
from jobqueue.testing import ManualClock, memory_queue
from testutil.eventually import eventually

registry = Registry()
seen: list[str] = []


@registry.task("note", result_ttl=timedelta(hours=1))
async def note(text: str) -> str:
    seen.append(text)
    return text.upper()


@registry.task("note.thread")
def note_in_thread(text: str) -> None:
    seen.append(text)


@registry.task("fail", retry=RetryPolicy(max_retries=1, base=timedelta(hours=1), jitter="none"))
async def fail() -> None:
    raise ValueError("no")


@registry.task("hang", timeout=timedelta(minutes=1), max_retries=0)
async def hang() -> None:
    seen.append("hanging")
    await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def clock_of(queue: JobQueue) -> ManualClock:
    assert isinstance(queue.parts.clock, ManualClock)
    return queue.parts.clock


async def test_a_worker_runs_jobs_with_no_server() -> None:
    async with memory_queue() as queue:
        first = await queue.enqueue(note.job(text="a"))
        await queue.enqueue(note_in_thread.job(text="b"))

        await Worker(queue, registry).run(burst=True)

        assert sorted(seen) == ["a", "b"]
        status = await queue.get(first.id)
        assert status is not None
        assert (status.state, status.result) == (JobState.COMPLETED, "A")
        assert await queue.workers() == []


async def test_a_burst_with_nothing_to_do_ends() -> None:
    await Worker(memory_queue(), registry).run(burst=True)


async def test_a_burst_settles_more_jobs_than_it_has_slots() -> None:
    queue = memory_queue()
    await queue.enqueue_many(note.job(text=str(n)) for n in range(700))

    await Worker(queue, registry, concurrency=3).run(burst=True)

    stats = await queue.stats("default")
    assert (len(seen), stats.completed, stats.live) == (700, 700, 0)


async def test_a_worker_takes_what_comes_later_until_it_is_stopped() -> None:
    queue = memory_queue()
    worker = Worker(queue, registry)
    running = asyncio.create_task(worker.run())

    await queue.enqueue(note.job(text="later"))
    await eventually(lambda: seen == ["later"])
    worker.stop()
    await running

    assert (await queue.stats("default")).completed == 1


async def test_a_worker_survives_a_long_jump_of_the_clock_and_sees_what_became_due() -> None:
    queue = memory_queue()
    await queue.enqueue(note.job(text="due"), delay=timedelta(days=2))
    async with running(Worker(queue, registry)) as worker:
        await eventually(lambda: worker_joined(queue))

        clock_of(queue).advance(timedelta(days=2))
        await eventually(lambda: seen == ["due"])

        assert worker.metrics.leases_lost == 0


async def test_a_worker_tells_how_many_jobs_it_runs_at_once() -> None:
    queue = memory_queue()
    async with running(Worker(queue, registry, concurrency=7)):
        await eventually(lambda: worker_joined(queue))

        assert [each.slots for each in await queue.workers("default")] == [7]


async def test_a_job_times_out_when_the_clock_says_so() -> None:
    queue = memory_queue()
    settled: list[Settlement] = []
    await queue.enqueue(hang.job())
    async with running(Worker(queue, registry, observe=settled.append)):
        await eventually(lambda: seen == ["hanging"])

        clock_of(queue).advance(timedelta(minutes=1))
        await eventually(lambda: len(settled) == 1)

    outcome = settled[0].outcome
    assert isinstance(outcome, Dead)
    assert outcome.failure.error_class == "JobTimeout"


async def test_dead_letters_are_kept_and_can_be_requeued() -> None:
    queue = memory_queue()
    handle = await queue.enqueue(fail.job(), max_retries=0)
    await Worker(queue, registry).run(burst=True)

    (letter,), _ = await queue.dead_letters.list(LetterFilter(), limit=10)
    assert letter.letter.error_message == "no"
    assert (status := await queue.get(handle.id)) is not None
    assert status.state is JobState.DEAD

    await queue.dead_letters.requeue(handle.id)
    assert (status := await queue.get(handle.id)) is not None
    assert status.state is JobState.QUEUED
    with pytest.raises(DeadLetterNotFound):
        await queue.dead_letters.get(handle.id)


async def test_the_registry_checks_payloads() -> None:
    queue = memory_queue(registry)

    with pytest.raises(InvalidJob, match="text"):
        await queue.enqueue(Job("note", {"txt": "a"}))


async def test_there_is_no_history() -> None:
    with pytest.raises(JobQueueError, match="no history"):
        memory_queue().executions  # noqa: B018 - reading it is the act


async def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_QUEUES", "other")
    monkeypatch.setenv("WORKER_CONCURRENCY", "nonsense")

    assert memory_queue().settings.worker.queues == ("critical", "default", "low")


async def test_its_clock_stands_still_at_the_present() -> None:
    before = datetime.now(UTC)
    clock = clock_of(memory_queue())
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)

    assert before - timedelta(milliseconds=2) < now < datetime.now(UTC) + timedelta(milliseconds=2)
    assert clock.monotonic() == 0


async def test_with_the_clock_of_the_machine_delays_pass_by_themselves() -> None:
    queue = memory_queue(clock=SystemClock())
    await queue.enqueue(note.job(text="soon"), delay=timedelta(milliseconds=20))

    async with running(Worker(queue, registry)):
        await eventually(lambda: seen == ["soon"])


class running:
    """A worker at work for the length of a block."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def __aenter__(self) -> Worker:
        self._task = asyncio.create_task(self._worker.run())
        return self._worker

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def worker_joined(queue: JobQueue) -> bool:
    return len(await queue.workers("default")) == 1
