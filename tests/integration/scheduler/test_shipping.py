"""Executions and dead letters, from handlers on a real Redis to rows in a real Postgres."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from jobqueue.app import JobQueue
from jobqueue.context import JobContext
from jobqueue.embedded import PostgresServer
from jobqueue.errors import JobQueueError
from jobqueue.job import JobState
from jobqueue.repository.base import LetterFilter, LetterState
from jobqueue.retry import RetryPolicy
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually

ONCE_MORE = RetryPolicy(base=timedelta(milliseconds=1), jitter="none", max_retries=1)


@asynccontextmanager
async def scheduling(*queues: JobQueue) -> AsyncIterator[None]:
    """A scheduler beside each of *queues*, for as long as it takes."""
    running = [asyncio.create_task(queue.parts.scheduler().run()) for queue in queues]
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def shipped(queue: JobQueue, name: str = "default") -> None:
    """Wait until nothing is left in Redis for Postgres."""

    async def look() -> bool:
        stats = await queue.stats(name)
        return (stats.journal, stats.dead) == (0, 0)

    await eventually(look, within_s=60)  # one that failed again and again may rest for 30 s


async def test_f72_every_execution_and_every_dead_letter_arrives_exactly_once(scene: Scene) -> None:
    """Two shippers and two workers at once: every execution and every dead letter is in Postgres exactly once."""
    runs: Counter[str] = Counter()

    @scene.registry.task("t", retry=ONCE_MORE)
    async def handler(ctx: JobContext, n: int) -> None:
        runs[ctx.job_id] += 1
        if n % 10 == 0 and (ctx.attempt == 1 or n % 20 == 0):
            raise ValueError(f"number {n}")

    queue, other = scene.queue(), scene.queue()
    jobs = [handler.job(n) for n in range(2000)]
    async with scheduling(queue, other), scene.working(concurrency=20), scene.working(concurrency=20):
        await queue.enqueue_many(jobs)
        stats = await scene.ended(queue, 2000, within_s=30)
        await shipped(queue)
    by_outcome = await queue.executions.count_by_outcome(queue=None, since=None)

    assert (stats.completed, stats.died) == (1900, 100)
    assert {name: count for name, count in by_outcome.items() if count} == {
        "completed": 1900,
        "retrying": 200,
        "dead": 100,
    }
    assert await queue.dead_letters.count(LetterFilter()) == 100
    for n in (1, 10, 20):
        executions = await queue.executions.of_job(jobs[n].id)
        assert [each.attempt for each in executions] == list(range(1, runs[jobs[n].id] + 1))
    status = await queue.get(jobs[20].id)
    assert status is not None
    assert (status.state, status.attempt) == (JobState.DEAD, 2)


async def test_f70_f76_nothing_stops_while_postgres_is_away_and_everything_arrives_later(
    redis_url: str, namespace: str
) -> None:
    """Postgres killed under load: jobs run on, the dead-letter queue shows what Redis holds, and all arrives later."""
    from jobqueue.embedded import start_postgres
    from jobqueue.repository.postgres.migrate import migrate_up

    with start_postgres() as postgres:
        await migrate_up(postgres.url)
        scene = Scene(redis_url, namespace, lease=seconds(15), database_url=postgres.url)
        await _run_without(postgres, scene)
        await scene.close()


async def _run_without(postgres: PostgresServer, scene: Scene) -> None:
    @scene.registry.task("t", max_retries=0)
    async def handler(n: int) -> None:
        if n % 10 == 0:
            raise ValueError(f"number {n}")

    queue = scene.queue()
    async with scheduling(queue), scene.working(concurrency=20):
        await queue.enqueue_many([handler.job(n) for n in range(200)])
        await scene.ended(queue, 200)
        await shipped(queue)
        postgres.kill()
        await queue.enqueue_many([handler.job(n) for n in range(1000)])
        stats = await scene.ended(queue, 1200)
        assert (stats.dead, stats.journal_dropped) == (100, 0)
        seen, _ = await queue.dead_letters.list(LetterFilter(), limit=1000)
        assert len(seen) == 100  # what Redis still holds
        postgres.restart()
        await shipped(queue)
    by_outcome = await queue.executions.count_by_outcome(queue=None, since=None)

    assert {name: count for name, count in by_outcome.items() if count} == {"completed": 1080, "dead": 120}
    assert await queue.dead_letters.count(LetterFilter()) == 120


async def test_f77_a_dead_letter_is_requeued_once_however_many_ask(scene: Scene) -> None:
    """20 requeues of one dead letter at once run the job once more, not twenty times."""
    attempts: list[int] = []

    @scene.registry.task("t", max_retries=0)
    async def handler(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            raise ValueError("once")

    queue, other = scene.queue(), scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scheduling(queue), scene.working():
        await scene.ended(queue, 1)
        answers = await asyncio.gather(
            *(_asked(each.dead_letters.requeue(job.id)) for each in (queue, other) for _ in range(10))
        )
        stats = await scene.ended(queue, 2)
        await shipped(queue)
    letters, _ = await queue.dead_letters.list(LetterFilter(state=None), limit=10)

    assert attempts == [1, 1]
    assert sum(answers) == 1
    assert (stats.completed, stats.died) == (1, 1)
    assert [each.state for each in letters] == [LetterState.REQUEUED]


async def _asked(requeue: Awaitable[bool]) -> bool:
    with suppress(JobQueueError):
        return await requeue
    return False


async def test_a_letter_that_dies_again_is_a_new_letter(scene: Scene) -> None:
    handler = scene.registry.task("t", max_retries=0)(_fail)
    queue = scene.queue()
    job = handler.job()
    await queue.enqueue(job)
    async with scheduling(queue), scene.working():
        for round_ in range(1, 4):
            await scene.ended(queue, round_)
            await shipped(queue)
            stored = await queue.dead_letters.get(job.id)
            assert (stored.letter.generation, stored.state) == (round_ - 1, LetterState.DEAD)
            assert await queue.dead_letters.count(LetterFilter()) == 1
            if round_ < 3:
                assert await queue.dead_letters.requeue(job.id)
        assert await queue.dead_letters.delete(job.id)

    assert await queue.dead_letters.count(LetterFilter()) == 0
    assert await queue.dead_letters.count(LetterFilter(state=None)) == 2


async def _fail() -> None:
    raise ValueError("always")
