import asyncio
import time

import pytest

from jobqueue.context import JobContext
from jobqueue.job import Job
from jobqueue.middleware import Metrics, compose


def context(queue: str = "mail", type: str = "email.send") -> JobContext:
    return JobContext(lambda: Job(type), job_id="i", type=type, queue=queue, attempt=1, deadline_ms=0)


async def nothing(ctx: JobContext) -> object:
    return None


async def test_attempts_are_counted_by_queue_and_type() -> None:
    counts = Metrics()
    run = compose([counts], nothing)

    for ctx in (context(), context(), context(type="email.read"), context(queue="low")):
        await run(ctx)

    assert counts.attempts == {("mail", "email.send"): 2, ("mail", "email.read"): 1, ("low", "email.send"): 1}


async def test_seconds_sum_what_the_handlers_took(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 12.5, 20.0, 20.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    counts = Metrics()
    run = compose([counts], nothing)

    await run(context())
    await run(context())

    assert counts.seconds == {("mail", "email.send"): 3.0}


async def test_what_the_handler_returns_is_handed_on() -> None:
    async def handler(ctx: JobContext) -> object:
        return "done"

    assert await compose([Metrics()], handler)(context()) == "done"


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_a_failed_attempt_counts_too_and_runs_no_more(error: type[BaseException]) -> None:
    counts = Metrics()

    async def handler(ctx: JobContext) -> object:
        raise error

    with pytest.raises(error):
        await compose([counts], handler)(context())

    assert counts.attempts == {("mail", "email.send"): 1}
    assert counts.running == 0


async def test_running_is_how_many_are_inside_now() -> None:
    counts = Metrics()
    doors = [asyncio.Event(), asyncio.Event()]
    waiting = iter(doors)

    async def handler(ctx: JobContext) -> object:
        await next(waiting).wait()
        return None

    run = compose([counts], handler)
    tasks = [asyncio.ensure_future(run(context())) for _ in doors]
    seen = []
    await asyncio.sleep(0)
    seen.append(counts.running)
    for door, task in zip(doors, tasks, strict=True):
        door.set()
        await task
        seen.append(counts.running)

    assert seen == [2, 1, 0]


def test_two_workers_count_apart() -> None:
    one, other = Metrics(), Metrics()

    one.settled["mail", "email.send", "completed"] += 1

    assert other.settled == {}
