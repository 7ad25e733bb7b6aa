"""Jobs are cancelled and retried by a filter: so many at a call, each once, safe to repeat."""

import asyncio

import pytest

from jobqueue.app import JobQueue
from jobqueue.errors import ConfigError, InvalidJob
from jobqueue.job import JobState, new_id
from jobqueue.record import Many
from jobqueue.search import ANY, JobFilter, bulk
from tests.contract.scene import settle, take_one
from tests.integration.search.scene import DEAD, RETRYING, ended, ids, job, queued, running, scheduled

BOUND = 50


async def test_live_jobs_of_a_filter_are_cancelled_and_no_others(queue: JobQueue) -> None:
    wanted = [*await queued(queue, job("a"), job("a", "web")), await scheduled(queue, job("a"))]
    (other,) = await queued(queue, job("b"))

    done = await queue.cancel_where(JobFilter(type="a"))
    again = await queue.cancel_where(JobFilter(type="a"))

    assert done == Many(matched=len(wanted), done=len(wanted))
    assert again == Many(matched=0)
    assert await ids(queue, JobFilter(state=JobState.QUEUED)) == [other]
    assert [await queue.cancel(each) for each in wanted] == [None] * 3


async def test_a_dry_run_counts_and_changes_nothing(queue: JobQueue) -> None:
    waits = await queued(queue, job("a"), job("a"), job("b"))
    due = await scheduled(queue, job("a"))
    dead = await ended(queue, job("a", "attic"), DEAD)

    counted = [
        await queue.cancel_where(JobFilter(type="a"), dry_run=True),
        await queue.retry_where(JobFilter(state=JobState.SCHEDULED), dry_run=True),
        await queue.retry_where(JobFilter(state=JobState.DEAD), dry_run=True),
        await queue.retry_where(JobFilter(state=JobState.DEAD, q="valueerror"), dry_run=True),
    ]

    assert counted == [Many(matched=n, remaining=n) for n in (3, 1, 1, 1)]
    assert await ids(queue) == [*waits, due, dead]


async def test_calls_go_on_until_nothing_remains(queue: JobQueue) -> None:
    await queued(queue, *(job() for _ in range(20)))
    await queued(queue, *(job(queue="web") for _ in range(15)))

    calls = []
    for _ in range(BOUND):
        calls.append(await queue.cancel_where(JobFilter(), limit=10))
        if not calls[-1].remaining:
            break

    assert [(each.matched, each.done, each.remaining) for each in calls] == [
        (35, 10, 25),
        (25, 10, 15),
        (15, 10, 5),
        (5, 5, 0),
    ]
    assert await ids(queue, JobFilter(state=JobState.QUEUED)) == []


async def test_what_is_not_counted_is_told_and_reached_by_the_next_call(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_PAGES", 1)
    monkeypatch.setattr(bulk, "_PAGE", 10)
    await queued(queue, *(job() for _ in range(25)))

    calls = [await queue.cancel_where(JobFilter(state=JobState.QUEUED), limit=10) for _ in range(3)]

    assert calls[0] == Many(matched=10, more_than=True, done=10, remaining=1)
    assert sum(each.done for each in calls) == 25
    assert calls[2].remaining == 0


async def test_a_running_job_is_asked_to_stop_once(queue: JobQueue) -> None:
    runs, _ = await running(queue, job())

    first = await queue.cancel_where(JobFilter(state=JobState.RUNNING))
    second = await queue.cancel_where(JobFilter(state=JobState.RUNNING))

    assert (first.done, second.matched) == (1, 0)
    status = await queue.get(runs)
    assert status is not None
    assert status.cancel_requested


async def test_two_operators_cancel_each_job_once(queue: JobQueue) -> None:
    made = await queued(queue, *(job() for _ in range(60)))

    both = await asyncio.gather(queue.cancel_where(ANY), queue.cancel_where(ANY))

    assert await ids(queue, JobFilter(state=JobState.QUEUED)) == []
    assert sum(each.done for each in both) == len(made)
    assert {why for each in both for why in each.failed.values()} <= {"it has ended meanwhile"}


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED])
async def test_jobs_that_ended_cannot_be_cancelled(queue: JobQueue, state: JobState) -> None:
    with pytest.raises(ConfigError, match=f"{state} jobs have ended and cannot be cancelled; state must be one of"):
        await queue.cancel_where(JobFilter(state=state))


@pytest.mark.parametrize("state", [None, JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED, JobState.CANCELLED])
async def test_only_delayed_and_dead_jobs_are_retried_together(queue: JobQueue, state: JobState | None) -> None:
    with pytest.raises(ConfigError, match="state must be one of scheduled, retrying, dead"):
        await queue.retry_where(JobFilter(state=state))


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_limit_out_of_bounds_is_refused(queue: JobQueue, limit: int) -> None:
    for act in (queue.cancel_where, queue.retry_where):
        with pytest.raises(ConfigError, match="limit must be from 1 to 1000 a call"):
            await act(JobFilter(state=JobState.SCHEDULED), limit=limit)


async def test_delayed_jobs_are_made_ready(queue: JobQueue) -> None:
    retrying = await ended(queue, job("a"), RETRYING)
    due = await scheduled(queue, job("a"))
    other = await scheduled(queue, job("b"))

    first = await queue.retry_where(JobFilter(state=JobState.RETRYING, type="a"))
    second = await queue.retry_where(JobFilter(state=JobState.SCHEDULED, type="a"))

    assert (first, second) == (Many(matched=1, done=1), Many(matched=1, done=1))
    assert await ids(queue, JobFilter(state=JobState.QUEUED)) == [retrying, due]
    assert await ids(queue, JobFilter(state=JobState.SCHEDULED)) == [other]


@pytest.mark.parametrize("q", [None, "valueerror"])
async def test_dead_jobs_are_queued_again(queue: JobQueue, q: str | None) -> None:
    dead = [await ended(queue, job("a"), DEAD) for _ in range(3)]
    other = await ended(queue, job("b"), DEAD)
    where = JobFilter(state=JobState.DEAD, type="a", q=q)

    calls = [await queue.retry_where(where, limit=2) for _ in range(3)]

    assert [(each.matched, each.done, each.remaining) for each in calls] == [(3, 2, 1), (1, 1, 0), (0, 0, 0)]
    assert sorted(await ids(queue, JobFilter(state=JobState.QUEUED))) == sorted(dead)
    assert await ids(queue, JobFilter(state=JobState.DEAD)) == [other]


@pytest.mark.parametrize("q", [None, "valueerror"])
async def test_a_dead_job_that_is_refused_holds_no_other_up(queue: JobQueue, q: str | None) -> None:
    refused = await ended(queue, job().replace(unique_key="one"), DEAD)
    dead = await ended(queue, job(), DEAD)
    (holder,) = await queued(queue, job().replace(unique_key="one"))

    many = await queue.retry_where(JobFilter(state=JobState.DEAD, q=q))

    assert (many.matched, many.done, many.remaining) == (2, 1, 0)
    assert list(many.failed) == [refused]
    assert holder in many.failed[refused]
    assert sorted(await ids(queue, JobFilter(state=JobState.QUEUED))) == sorted([dead, holder])


async def test_one_job_is_retried_wherever_it_waits(queue: JobQueue) -> None:
    retrying = await ended(queue, job(), RETRYING)
    due = await scheduled(queue, job())
    dead = await ended(queue, job(), DEAD)

    first = [await queue.retry(each) for each in (retrying, due, dead)]
    again = [await queue.retry(each, queue="mail") for each in (retrying, due, dead)]

    assert first == again == [JobState.QUEUED] * 3
    assert sorted(await ids(queue)) == sorted([retrying, due, dead])


async def test_a_job_that_runs_is_left_as_it_is(queue: JobQueue) -> None:
    runs, worker = await running(queue, job())

    assert await queue.retry(runs) is JobState.RUNNING
    assert [each.job_id for each in await worker.adopt()] == [runs]


async def test_what_has_completed_or_never_was_is_not_retried(queue: JobQueue) -> None:
    completed = await ended(queue, job())

    assert await queue.retry(completed) is None
    assert await queue.retry(new_id()) is None
    with pytest.raises(InvalidJob):
        await queue.retry("mine")


async def test_a_dead_job_is_not_retried_out_of_another_queue(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    await queued(queue, job(queue="web"))

    assert await queue.retry(dead, queue="web") is None
    assert await ids(queue, JobFilter(state=JobState.DEAD)) == [dead]


async def test_a_double_click_queues_a_dead_job_once(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    await ids(queue)  # ships it

    states = await asyncio.gather(*(queue.retry(dead) for _ in range(5)))

    assert set(states) == {JobState.QUEUED}
    worker = await queue.parts.broker.join(["mail"])
    delivery = await take_one(worker)
    await settle(worker, RETRYING, delivery)
    assert delivery.job_id == dead
    assert await ids(queue) == [dead]
