"""What a broker shows of its live jobs, page by page, and of its workers; and a delayed job that is hastened."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from jobqueue.broker.base import Broker, Delivery, Found, Place
from jobqueue.errors import ConfigError, InvalidJob
from jobqueue.job import PRIORITIES, Job, JobState, Priority, new_id
from jobqueue.outcome import COMPLETED, RELEASED, Retrying, Snoozed
from tests.contract.conftest import MakeBroker
from tests.contract.scene import (
    FAILURE,
    SHORT,
    Q,
    enqueue,
    job,
    reap,
    run,
    settle,
    take,
    take_one,
)
from testutil.eventually import eventually

HOUR = timedelta(hours=1)


async def pages(
    broker: Broker, place: Place, *, limit: int = 7, between: Callable[[], Awaitable[object]] | None = None
) -> list[Found]:
    """Every job of a place, a page at a time; *between* happens after the first page."""
    shown, after = await broker.jobs(Q, place, limit=limit)
    if between is not None:
        await between()
    for _ in range(1_000):
        if after is None:
            return shown
        page, after = await broker.jobs(Q, place, limit=limit, after=after)
        assert len(page) <= limit
        shown += page
    raise AssertionError("the pages have no end")


def ids(shown: list[Found]) -> list[str]:
    return [each.job_id for each in shown]


# queued


async def test_queued_jobs_are_shown_in_the_order_in_which_they_are_taken(broker: Broker) -> None:
    jobs = [job(n, priority=PRIORITIES[n * 7 % 4]) for n in range(60)]
    for each in jobs:
        await enqueue(broker, each)

    shown = await pages(broker, Place.QUEUED)

    assert ids(shown) == [each.id for each in sorted(jobs, key=lambda each: each.priority.rank)]
    worker = await broker.join([Q])
    assert [(await take_one(worker)).job_id for _ in jobs[:5]] == ids(shown)[:5]


async def test_a_queued_job_is_shown_whole(broker: Broker) -> None:
    sent = job(7, priority=Priority.HIGH, unique_key="k", headers={"trace": "1"}, max_retries=2)
    await enqueue(broker, sent)

    ((shown,), after) = await broker.jobs(Q, Place.QUEUED, limit=1)

    assert after is None
    assert (shown.job, shown.type, shown.job_id, shown.queue) == (sent, "email.send", sent.id, Q)
    assert (shown.state, shown.attempt, shown.worker, shown.running_ms) == (JobState.QUEUED, 1, None, None)
    assert shown == await broker.locate(Q, sent.id)


async def test_what_is_taken_is_no_longer_among_the_queued(broker: Broker) -> None:
    jobs = [job(n) for n in range(20)]
    await enqueue(broker, *jobs)
    worker = await broker.join([Q])
    taken = [each.job_id for each in await take(worker, 9)]

    assert ids(await pages(broker, Place.QUEUED)) == [each.id for each in jobs if each.id not in taken]


async def test_queued_jobs_that_stay_are_shown_once_while_others_come_and_go(broker: Broker) -> None:
    stay = [job(n, priority=PRIORITIES[n % 4]) for n in range(40)]
    gone = [job(n, priority=PRIORITIES[n % 4]) for n in range(40)]
    for one, other in zip(stay, gone, strict=True):
        await enqueue(broker, one, other)
    worker = await broker.join([Q])

    async def change() -> None:
        for each in gone:
            await broker.cancel(Q, each.id)
        await enqueue(broker, *[job(n, priority=p) for p in PRIORITIES for n in range(5)])

    shown = ids(await pages(broker, Place.QUEUED, between=change))

    assert [each for each in shown if each in {one.id for one in stay}] == [
        each.id for each in sorted(stay, key=lambda each: each.priority.rank)
    ]
    assert len(shown) == len(set(shown))
    await worker.leave()


async def test_a_cursor_whose_job_was_taken_goes_on_behind_it(broker: Broker) -> None:
    jobs = [job(n) for n in range(12)]
    await enqueue(broker, *jobs)
    worker = await broker.join([Q])
    first, after = await broker.jobs(Q, Place.QUEUED, limit=5)
    taken = {each.job_id for each in await take(worker, 8)}

    rest, end = await broker.jobs(Q, Place.QUEUED, limit=20, after=after)

    assert ids(first) == [each.id for each in jobs[:5]]
    assert (ids(rest), end) == ([each.id for each in jobs if each.id not in taken], None)


# running


async def test_running_jobs_are_shown_oldest_first_with_their_worker(broker: Broker) -> None:
    jobs = [job(n, priority=PRIORITIES[n % 4]) for n in range(24)]
    for each in jobs:
        await enqueue(broker, each)
    one, other = await broker.join([Q]), await broker.join([Q])
    first = await take(one, 12)
    second = await take(other, 24 - len(first))

    shown = await pages(broker, Place.RUNNING)

    assert ids(shown) == [each.job_id for each in sorted(first + second, key=_readiness)]
    workers = {each.job_id: worker.name for worker, taken in ((one, first), (other, second)) for each in taken}
    assert {each.job_id: each.worker for each in shown} == workers
    assert {each.state for each in shown} == {JobState.RUNNING}
    assert await pages(broker, Place.QUEUED) == []


def _readiness(taken: Delivery) -> tuple[int, int, int]:
    ms, _, n = taken.entry_id.partition(b"-")
    return int(ms), int(n), taken.rank


async def test_the_age_of_a_run_grows_and_begins_anew_with_the_next(broker: Broker) -> None:
    sent = job()
    await enqueue(broker, sent)
    worker = await broker.join([Q])
    taken = await take_one(worker)

    async def age() -> int:
        ((shown,), _) = await broker.jobs(Q, Place.RUNNING, limit=1)
        assert shown.running_ms is not None
        return shown.running_ms

    async def aged() -> bool:
        return await age() >= 60

    await eventually(aged)
    again = time.monotonic()
    await settle(worker, RELEASED, taken)
    await take_one(worker)

    # What has passed since, and not the age of the run before with it.
    assert await age() < (time.monotonic() - again) * 1000 + 30


async def test_a_running_job_shows_its_progress_its_attempt_and_that_it_was_asked_to_stop(broker: Broker) -> None:
    sent = job()
    worker = await broker.join([Q])
    await enqueue(broker, sent)
    await settle(worker, Retrying(0, FAILURE), await take_one(worker))
    await take_one(worker)
    heartbeat = worker.heartbeat()
    await asyncio.to_thread(heartbeat.beat, {Q: {sent.id: b'{"done":5}'}})
    heartbeat.close()
    await broker.cancel(Q, sent.id)

    ((shown,), _) = await broker.jobs(Q, Place.RUNNING, limit=1)

    assert (shown.attempt, shown.last_error, shown.progress) == (2, "ValueError", b'{"done":5}')
    assert shown.cancel_requested


async def test_running_jobs_that_stay_are_shown_once_while_others_end(broker: Broker) -> None:
    jobs = [job(n, priority=PRIORITIES[n % 4]) for n in range(40)]
    await enqueue(broker, *jobs)
    worker = await broker.join([Q])
    taken = await take(worker, 40)

    async def change() -> None:
        await settle(worker, COMPLETED, *taken[::2])
        await enqueue(broker, *[job(n) for n in range(3)])
        await take(worker, 3)

    shown = ids(await pages(broker, Place.RUNNING, limit=3, between=change))

    stay = [each.job_id for each in taken[1::2]]
    assert sorted(each for each in shown if each in stay) == sorted(stay)
    assert len(shown) == len(set(shown))


# delayed


async def test_delayed_jobs_are_shown_next_due_first(broker: Broker) -> None:
    jobs = [job(n, priority=PRIORITIES[n % 4]) for n in range(30)]
    for n, each in enumerate(jobs):
        await enqueue(broker, each, delay=HOUR - timedelta(minutes=n))

    shown = await pages(broker, Place.DELAYED)

    assert ids(shown) == [each.id for each in reversed(jobs)]
    assert [each.job for each in shown] == list(reversed(jobs))
    dues = [each.due_ms or 0 for each in shown]
    assert dues == sorted(dues)
    assert {each.state for each in shown} == {JobState.SCHEDULED}


async def test_a_job_that_waits_for_its_next_try_is_told_from_one_that_waits_for_its_first(broker: Broker) -> None:
    failed, snoozed, fresh = job(1), job(2), job(3)
    await run(broker, Retrying(60_000, FAILURE), failed)
    await run(broker, Snoozed(120_000), snoozed)
    await enqueue(broker, fresh, delay=HOUR)

    shown, _ = await broker.jobs(Q, Place.DELAYED, limit=9)

    assert [(each.job_id, each.state, each.attempt, each.last_error) for each in shown] == [
        (failed.id, JobState.RETRYING, 2, "ValueError"),
        (snoozed.id, JobState.SCHEDULED, 1, None),
        (fresh.id, JobState.SCHEDULED, 1, None),
    ]


async def test_many_jobs_that_are_due_at_one_instant_are_each_shown_once(broker: Broker) -> None:
    at_ms = (await broker.join([Q])).now_ms() + 3_600_000
    jobs = [job(n) for n in range(300)]
    await enqueue(broker, job(), run_at_ms=at_ms - 1)
    await enqueue(broker, *jobs, run_at_ms=at_ms)
    await enqueue(broker, job(), run_at_ms=at_ms + 1)

    async def change() -> None:
        # Those shown last go, so that the cursor names one that is not there.
        first, _ = await broker.jobs(Q, Place.DELAYED, limit=50)
        for each in first[40:]:
            await broker.cancel(Q, each.job_id)

    shown = ids(await pages(broker, Place.DELAYED, limit=50, between=change))

    assert len(shown) == len(set(shown)) == 302
    assert {each.id for each in jobs} < set(shown)


# pages


@pytest.mark.parametrize("place", Place)
async def test_a_page_that_holds_the_last_job_names_no_other(broker: Broker, place: Place) -> None:
    await _fill(broker, place, [job(n) for n in range(6)])

    six, none = await broker.jobs(Q, place, limit=6)
    five, more = await broker.jobs(Q, place, limit=5)
    one, end = await broker.jobs(Q, place, limit=5, after=more)

    assert (len(six), none) == (6, None)
    assert (len(five), len(one), end) == (5, 1, None)


@pytest.mark.parametrize("place", Place)
async def test_a_queue_that_nobody_used_has_no_jobs(broker: Broker, place: Place) -> None:
    assert await broker.jobs("nobody", place, limit=200) == ([], None)


@pytest.mark.parametrize("place", Place)
async def test_jobs_with_large_bodies_are_all_shown(broker: Broker, place: Place) -> None:
    jobs = [job(n).replace(payload={"text": "x" * 240_000}) for n in range(24)]
    await _fill(broker, place, jobs)

    shown = await pages(broker, place, limit=200)

    assert sorted(ids(shown)) == sorted(each.id for each in jobs)


@pytest.mark.parametrize("place", Place)
async def test_a_body_that_is_no_job_is_shown_and_only_its_job_is_refused(
    broker: Broker, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = job(1), job(2, priority="low", unique_key="k")
    with monkeypatch.context() as patch:
        patch.setattr(Job, "to_wire", lambda self: b"\xff no job")
        await _fill(broker, place, [bad])
    await _fill(broker, place, [good])

    shown = {each.job_id: each for each in await pages(broker, place)}

    assert (shown[good.id].job, shown[good.id].type) == (good, "email.send")
    broken = shown[bad.id]
    assert (broken.type, broken.body, broken.priority, broken.unique_key) == ("", b"\xff no job", Priority.LOW, "k")
    with pytest.raises(InvalidJob, match="body is not a job"):
        _ = broken.job
    located = await broker.locate(Q, bad.id)
    assert located is not None
    assert (located.state, located.body) == (broken.state, broken.body)


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("cursor", ["", "x", "5-1-1", "1", "0-1-1\n", "-", "1-00", "'; DROP", "9" * 400])
async def test_a_cursor_of_somebody_elses_making_is_refused(broker: Broker, place: Place, cursor: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one that the page before returned"):
        await broker.jobs(Q, place, limit=5, after=cursor)


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
async def test_a_limit_out_of_range_is_refused(broker: Broker, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"limit must be between 1 and 200, got {limit}"):
        await broker.jobs(Q, Place.QUEUED, limit=limit)


async def _fill(broker: Broker, place: Place, jobs: list[Job]) -> None:
    await enqueue(broker, *jobs, delay=HOUR if place is Place.DELAYED else None)
    if place is Place.RUNNING:
        await take(await broker.join([Q]), len(jobs))


# hasten


async def test_a_scheduled_job_can_be_made_ready_now(broker: Broker) -> None:
    sent = job(5, priority="high", unique_key="k")
    await enqueue(broker, sent, delay=HOUR)

    assert await broker.hasten(Q, sent.id.upper()) is JobState.QUEUED

    stats = await broker.stats(Q)
    assert (stats.ready[Priority.HIGH], stats.delayed, stats.enqueued) == (1, 0, 1)
    taken = await take_one(await broker.join([Q]))
    assert (taken.job(), taken.attempt, taken.unique_key) == (sent, 1, "k")


async def test_a_retrying_job_made_ready_now_keeps_its_attempts(broker: Broker) -> None:
    sent = job()
    worker = await run(broker, Retrying(3_600_000, FAILURE), sent)

    assert await broker.hasten(Q, sent.id) is JobState.QUEUED

    taken = await take_one(worker)
    assert (taken.job_id, taken.attempt, taken.last_error) == (sent.id, 2, "ValueError")


async def test_hasten_leaves_alone_what_is_ready_runs_or_has_ended(broker: Broker) -> None:
    running, ready, ended = job(1, priority="critical"), job(2), job(3)
    await run(broker, COMPLETED, ended)
    await enqueue(broker, running, ready)
    worker = await broker.join([Q])
    taken, *surplus = await worker.fetch(1)
    await settle(worker, RELEASED, *surplus)
    before = await broker.stats(Q)

    answers = [await broker.hasten(Q, each) for each in (running.id, ready.id, ended.id, new_id())]

    assert answers == [JobState.RUNNING, JobState.QUEUED, None, None]
    assert taken.job_id == running.id
    after = await broker.stats(Q)
    assert (after.ready, after.running, after.delayed) == (before.ready, before.running, before.delayed)
    with pytest.raises(InvalidJob, match="UUID"):
        await broker.hasten(Q, "not an id")


async def test_a_job_hastened_twice_promoted_and_cancelled_at_once_is_in_one_place(broker: Broker) -> None:
    at_ms = (await broker.join([Q])).now_ms() + 15
    jobs = [job(n, priority=PRIORITIES[n % 4]) for n in range(120)]
    await enqueue(broker, *jobs, run_at_ms=at_ms)

    answers = await asyncio.gather(
        *(broker.hasten(Q, each.id) for each in jobs),
        *(broker.promote(Q) for _ in range(40)),
        *(broker.hasten(Q, each.id) for each in reversed(jobs)),
        *(broker.cancel(Q, each.id) for each in jobs[::3]),
    )

    assert set(answers[:120]) <= {JobState.QUEUED, None}
    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live, stats.depth, stats.delayed) == (40, 80, 80, 0)
    worker = await broker.join([Q])
    taken = await take(worker, 80)
    assert {each.job_id for each in taken} == {each.id for n, each in enumerate(jobs) if n % 3}
    assert await worker.fetch(1, wait=False) == []


# workers


async def test_a_worker_tells_where_it_runs_and_how_much_it_takes(broker: Broker) -> None:
    worker = await broker.join([Q, "other"], slots=12)
    silent = await broker.join([Q])

    (on_other,) = await broker.workers("other")
    here = {each.name: each for each in await broker.workers(Q)}

    assert (on_other.name, on_other.slots) == (worker.name, 12)
    assert (here[worker.name].slots, here[silent.name].slots) == (12, None)
    for each in here.values():
        assert (each.host, each.pid) == (socket.gethostname(), os.getpid())
        assert each.started_ms is not None
        assert abs(worker.now_ms() - each.started_ms) < 5_000  # each worker reckons the clock of Redis


async def test_a_dead_worker_is_known_until_its_jobs_were_given_back(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    dead, alive = await broker.join([Q], slots=3), await broker.join([Q], slots=4)
    await enqueue(broker, job())
    await take_one(dead)

    await reap(broker, 1, alive=alive)

    assert [(each.name, each.slots) for each in await broker.workers(Q)] == [(alive.name, 4)]
