"""A backfill in several calls, on a queue in memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.cli.cron.backfill import _Run
from jobqueue.errors import BrokerUnavailable
from jobqueue.job import Job
from jobqueue.testing import ManualClock, enqueued, memory_queue

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)


@pytest.fixture
async def queue() -> JobQueue:
    queue = memory_queue(clock=ManualClock(NOON))
    await queue.schedules.upsert("minutely", "* * * * *", Job("a"))
    return queue


def run(queue: JobQueue, limit: int) -> _Run:
    return _Run(queue, "minutely", NOON - timedelta(hours=10), NOON, limit)


async def test_many_ticks_take_several_calls_and_leave_no_gap(queue: JobQueue) -> None:
    shown: list[int] = []

    done = await run(queue, 450).pages(dry_run=False, show=shown.append)

    assert [tick.at for tick in done.ticks] == [NOON - timedelta(hours=10) + timedelta(minutes=n) for n in range(450)]
    assert all(tick.new for tick in done.ticks)
    assert (done.more, shown) == (True, [200, 400, 450])
    assert len(enqueued(queue)) == 450


async def test_a_dry_run_makes_nothing(queue: JobQueue) -> None:
    done = await run(queue, 1_000).pages(dry_run=True)

    assert (len(done.ticks), done.more) == (600, False)
    assert enqueued(queue) == []


async def test_one_that_was_broken_off_says_how_far_it_came_and_goes_on(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enqueue, calls = queue.parts.broker.enqueue, 0

    async def breaks_off(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BrokerUnavailable("Redis is away")
        return await enqueue(*arguments, **options)

    monkeypatch.setattr(queue.parts.broker, "enqueue", breaks_off)
    with pytest.raises(BrokerUnavailable):
        await run(queue, 300).pages(dry_run=False)
    again = await run(queue, 300).pages(dry_run=False)

    assert "queued 200 jobs; give the command again to go on" in capsys.readouterr().err
    assert [tick.new for tick in again.ticks] == [False] * 200 + [True] * 100
