"""What every broker promises: each sentence of `jobqueue.broker.base`, on memory, Valkey and Redis alike."""

import asyncio
from datetime import timedelta
from time import time_ns

import msgspec
import pytest
from msgspec.structs import asdict

from jobqueue.broker.base import Broker, Enqueued, EnqueueResult, Place, Submission
from jobqueue.errors import InvalidJob, LeaseLost
from jobqueue.job import PRIORITIES, JobState, Priority, new_id
from jobqueue.outcome import COMPLETED, RELEASED, Cancelled, Completed, Expired, Outcome, Retrying, Snoozed
from tests.contract.conftest import MakeBroker
from tests.contract.scene import (
    DEAD,
    FAILURE,
    RETRY_NOW,
    SHORT,
    Q,
    beat,
    enqueue,
    job,
    promoted,
    raised,
    reap,
    run,
    settle,
    settlement,
    take,
    take_one,
)
from testutil.eventually import eventually

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=30)
NEW, EXISTS, CONFLICT = Enqueued.NEW, Enqueued.EXISTS, Enqueued.CONFLICT

ENDS: dict[str, Outcome] = {"completed": COMPLETED, "dead": DEAD, "cancelled": Cancelled(), "expired": Expired()}
RETURNS: dict[str, Outcome] = {
    "released": RELEASED,
    "retried at once": RETRY_NOW,
    "retried later": Retrying(3_600_000, FAILURE),
    "snoozed": Snoozed(3_600_000),
}


# enqueue


async def test_a_job_is_delivered_as_it_was_enqueued(broker: Broker) -> None:
    worker = await broker.join([Q])
    sent = job(7, priority=Priority.HIGH, unique_key="k", headers={"trace": "1"}, max_retries=2)

    assert await enqueue(broker, sent) == [EnqueueResult(NEW, sent.id)]
    taken = await take_one(worker)

    assert (taken.queue, taken.rank, taken.job_id, taken.body) == (Q, 1, sent.id, sent.to_wire())
    assert (taken.attempt, taken.crashes, taken.generation, taken.deferrals) == (1, 0, 0, 0)
    assert (taken.expires_ms, taken.last_error, taken.unique_key) == (0, None, "k")
    assert taken.failures == 0
    assert abs(taken.queued_ms - worker.now_ms()) < 5_000


async def test_jobs_wait_for_the_first_worker(broker: Broker) -> None:
    jobs = [job(n) for n in range(10)]
    await enqueue(broker, *jobs)

    worker = await broker.join([Q])

    assert [each.job_id for each in await take(worker, 10)] == [each.id for each in jobs]


async def test_a_live_job_is_not_queued_again_wherever_it_is(broker: Broker) -> None:
    worker = await broker.join([Q])
    waiting, running, delayed = job(), job(priority="critical"), job()
    await enqueue(broker, waiting, running)
    await enqueue(broker, delayed, delay=HOUR)
    (taken, *rest) = await worker.fetch(1)
    await settle(worker, RELEASED, *rest)

    results = await enqueue(broker, waiting, running, delayed)

    assert taken.job_id == running.id
    assert results == [EnqueueResult(EXISTS, each.id) for each in (waiting, running, delayed)]
    assert (await broker.stats(Q)).enqueued == 3


async def test_a_job_named_twice_in_a_batch_is_queued_once(broker: Broker) -> None:
    once = job()

    assert [each.status for each in await enqueue(broker, once, once)] == [NEW, EXISTS]
    assert (await broker.stats(Q)).depth == 1


async def test_an_id_may_come_again_after_its_job_has_ended(broker: Broker) -> None:
    again = job()
    await run(broker, COMPLETED, again)

    assert [each.status for each in await enqueue(broker, again)] == [NEW]


async def test_each_submission_has_a_result_of_its_own(broker: Broker) -> None:
    first, other = job(1), job(2)
    await enqueue(broker, first, idempotency_key="k")

    results = await broker.enqueue(
        [
            Submission(job=job(3)),
            Submission(job=other, idempotency_key="k"),
            Submission(job=first),
            Submission(job=job(4, queue="other")),
            Submission(job=job(1), idempotency_key="k"),
        ]
    )

    assert [each.status for each in results] == [NEW, CONFLICT, EXISTS, NEW, EXISTS]
    assert [results[n].job_id for n in (1, 2, 4)] == [first.id] * 3
    assert await broker.queues() == [Q, "other"]


async def test_nothing_is_queued_by_an_empty_batch(broker: Broker) -> None:
    assert await broker.enqueue([]) == []


async def test_concurrent_enqueues_keep_their_order_and_their_answers(broker: Broker) -> None:
    jobs = [job(n) for n in range(300)]

    answers = await asyncio.gather(*(enqueue(broker, each) for each in jobs))

    assert [answer[0].job_id for answer in answers] == [each.id for each in jobs]
    worker = await broker.join([Q])
    assert [each.job_id for each in await take(worker, 300)] == [each.id for each in jobs]


async def test_an_idempotency_key_outlives_its_job(broker: Broker) -> None:
    first = job(1)
    worker = await broker.join([Q])
    await enqueue(broker, first, idempotency_key="k")
    await settle(worker, COMPLETED, await take_one(worker))

    assert await enqueue(broker, job(1), idempotency_key="k") == [EnqueueResult(EXISTS, first.id)]
    assert await enqueue(broker, job(2), idempotency_key="k") == [EnqueueResult(CONFLICT, first.id)]
    assert (await broker.stats(Q)).live == 0


async def test_an_idempotency_key_is_forgotten_after_its_window(broker: Broker) -> None:
    await enqueue(broker, job(1), idempotency_key="k", idempotency_ttl=SOON)

    async def look() -> bool:
        return (await enqueue(broker, job(2), idempotency_key="k"))[0].status is NEW

    await eventually(look)


async def test_an_idempotency_key_belongs_to_its_queue(broker: Broker) -> None:
    await enqueue(broker, job(1), idempotency_key="k")

    assert (await enqueue(broker, job(1, queue="other"), idempotency_key="k"))[0].status is NEW


@pytest.mark.parametrize("window", [timedelta(0), timedelta(days=3650)])
async def test_any_window_of_an_idempotency_key_queues_the_whole_batch(broker: Broker, window: timedelta) -> None:
    results = await enqueue(broker, job(1), idempotency_key="k", idempotency_ttl=window)

    assert results[0].status is NEW


# unique keys


async def test_one_live_job_holds_a_unique_key(broker: Broker) -> None:
    holder = job(1, unique_key="k")

    first = await enqueue(broker, holder, job(2, unique_key="k"))
    later = await enqueue(broker, job(3, unique_key="k"), delay=HOUR)

    assert first == [EnqueueResult(NEW, holder.id), EnqueueResult(EXISTS, holder.id)]
    assert later == [EnqueueResult(EXISTS, holder.id)]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_a_unique_key_is_free_when_its_job_has_ended(broker: Broker, end: Outcome) -> None:
    await run(broker, end, job(unique_key="k"))

    assert (await enqueue(broker, job(unique_key="k")))[0].status is NEW


@pytest.mark.parametrize("back", RETURNS.values(), ids=RETURNS.keys())
async def test_a_unique_key_is_kept_while_its_job_lives(broker: Broker, back: Outcome) -> None:
    await run(broker, back, job(unique_key="k"))

    assert (await enqueue(broker, job(unique_key="k")))[0].status is EXISTS


@pytest.mark.parametrize("delay", [None, HOUR])
@pytest.mark.parametrize("how", ["cancel", "purge"])
async def test_a_unique_key_is_free_when_its_waiting_job_is_taken_back(
    broker: Broker, delay: timedelta | None, how: str
) -> None:
    holder = job(unique_key="k")
    await enqueue(broker, holder, delay=delay)

    if how == "cancel":
        await broker.cancel(Q, holder.id)
    else:
        await broker.purge(Q, PRIORITIES, delayed=True)

    assert (await enqueue(broker, job(unique_key="k")))[0].status is NEW


async def test_a_unique_key_is_free_when_its_job_has_crashed_for_good(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT, max_crashes=1)
    await enqueue(broker, job(unique_key="k"))
    await take_one(await broker.join([Q]))

    await reap(broker, 1)

    assert (await enqueue(broker, job(unique_key="k")))[0].status is NEW


# delay


async def test_a_delayed_job_is_ready_when_promoted_after_its_time(broker: Broker) -> None:
    later = job(unique_key="u")
    await enqueue(broker, later, delay=SOON)
    stats = await broker.stats(Q)
    worker = await broker.join([Q])
    assert (stats.delayed, stats.depth) == (1, 0)
    assert stats.next_due_ms is not None
    assert stats.next_due_ms <= 30

    await promoted(broker, 1)

    taken = await take_one(worker)
    assert (taken.job_id, taken.body, taken.unique_key) == (later.id, later.to_wire(), "u")


async def test_promote_tells_when_the_next_job_is_due(broker: Broker) -> None:
    await enqueue(broker, job())
    assert await broker.promote(Q) is None

    await enqueue(broker, job(), delay=HOUR)
    await enqueue(broker, job(), delay=timedelta(minutes=1))

    wait = await broker.promote(Q)
    assert wait is not None
    assert timedelta(seconds=50) < wait <= timedelta(minutes=1)
    assert (await broker.stats(Q)).delayed == 2


async def test_run_at_is_a_wall_time(broker: Broker) -> None:
    now_ms = time_ns() // 1_000_000

    await enqueue(broker, job(1), run_at_ms=now_ms - 1_000)
    await enqueue(broker, job(2), run_at_ms=now_ms + 60_000)

    stats = await broker.stats(Q)
    assert (stats.depth, stats.delayed) == (1, 1)
    assert stats.next_due_ms is not None
    assert 50_000 < stats.next_due_ms <= 60_000


async def test_due_jobs_become_ready_in_the_order_of_their_time_and_priority(broker: Broker) -> None:
    worker = await broker.join([Q])
    late, early, urgent = job(1), job(2), job(3, priority="critical")

    async def all_delayed(ahead_ms: int) -> bool:
        base_ms = time_ns() // 1_000_000 + ahead_ms
        for each, due in ((late, 30), (early, 0), (urgent, 40)):
            await enqueue(broker, each, run_at_ms=base_ms + due)
        return (await broker.stats(Q)).delayed == 3

    ahead_ms = 50
    while not await all_delayed(ahead_ms):  # one was due before it came
        ahead_ms *= 4
        await broker.purge(Q, PRIORITIES, delayed=True)

    await promoted(broker, 3)

    assert [each.job_id for each in await worker.fetch(3)] == [urgent.id, early.id, late.id]


async def test_expiry_travels_with_the_job(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, job(expires=HOUR))
    await enqueue(broker, job(expires=HOUR), delay=SOON)

    first = await take_one(worker)
    await promoted(broker, 1)
    second = await take_one(worker)
    await settle(worker, RELEASED, first)
    third = await take_one(worker)

    assert first.expires_ms == third.expires_ms
    for each in (first, second):
        assert abs(each.expires_ms - worker.now_ms() - 3_600_000) < 5_000


# fetch


async def test_fetch_serves_queues_in_order_then_priorities_then_age(broker: Broker) -> None:
    jobs = [job(n, queue=q, priority=p) for q in ("b", "a") for p in reversed(PRIORITIES) for n in range(2)]
    await enqueue(broker, *jobs)
    worker = await broker.join(["a", "b"])

    taken = await take(worker, len(jobs))

    ids = {each.id: n for n, each in enumerate(jobs)}
    assert [(each.queue, each.rank) for each in taken] == [(q, rank) for q in "ab" for rank in range(4) for _ in "12"]
    for older, newer in zip(taken[::2], taken[1::2], strict=True):
        assert ids[older.job_id] < ids[newer.job_id]


async def test_fetch_takes_what_is_wanted_and_no_more_of_one_priority(broker: Broker) -> None:
    await enqueue(broker, *[job(n) for n in range(5)])
    worker = await broker.join([Q])

    assert len(await worker.fetch(2)) == 2
    assert len(await worker.fetch(2)) == 2
    assert len(await worker.fetch(2)) == 1


async def test_a_backlog_of_every_priority_is_taken_from_the_top_as_wanted(broker: Broker) -> None:
    await enqueue(broker, *[job(n, priority=p) for p in PRIORITIES for n in range(6)])
    worker = await broker.join([Q])
    await worker.fetch(2)

    second = await worker.fetch(2)

    assert [each.rank for each in second] == [0, 0]


async def test_a_new_urgent_job_overtakes_what_waits(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, priority="low") for n in range(4)])
    await take(worker, 2)
    urgent = job(priority="critical")
    await enqueue(broker, urgent)

    taken = await worker.fetch(1)

    assert taken[0].job_id == urgent.id


async def test_fetch_returns_empty_when_nothing_comes(broker: Broker) -> None:
    worker = await broker.join([Q])

    assert await worker.fetch(1) == []


async def test_fetch_wakes_for_a_job_that_comes_while_it_waits(broker: Broker) -> None:
    worker = await broker.join([Q])
    fetching = asyncio.create_task(take(worker, 1))
    await asyncio.sleep(0)

    late = job()
    await enqueue(broker, late)

    assert [each.job_id for each in await fetching] == [late.id]


async def test_fetch_skips_paused_queues(broker: Broker) -> None:
    await enqueue(broker, job(queue="a"), job(queue="b"))
    worker = await broker.join(["a", "b"])

    assert [each.queue for each in await worker.fetch(5, skip=["a"])] == ["b"]
    assert await worker.fetch(5, skip=["a", "b"]) == []
    assert [each.queue for each in await worker.fetch(5)] == ["a"]


async def test_a_job_is_delivered_to_one_worker(broker: Broker) -> None:
    await enqueue(broker, *[job(n) for n in range(100)])
    workers = [await broker.join([Q]) for _ in range(4)]

    taken = [each for got in await asyncio.gather(*(worker.fetch(40) for worker in workers)) for each in got]

    assert len({each.job_id for each in taken}) == len(taken) == 100


# settle


@pytest.mark.parametrize(("counter", "end"), ENDS.items(), ids=ENDS.keys())
async def test_an_end_is_counted_and_leaves_nothing(broker: Broker, counter: str, end: Outcome) -> None:
    jobs = [job(n, priority=p) for p in PRIORITIES for n in range(2)]
    await run(broker, end, *jobs)

    stats = await broker.stats(Q)

    counted = {"completed": stats.completed, "dead": stats.died, "cancelled": stats.cancelled, "expired": stats.expired}
    assert counted == {**dict.fromkeys(ENDS, 0), counter: 8}
    assert (stats.live, stats.depth, stats.running, stats.delayed) == (0, 0, 0, 0)
    assert await broker.locate(Q, jobs[0].id) is None


async def test_a_retry_counts_an_attempt_and_names_the_error(broker: Broker) -> None:
    failing = job()
    worker = await run(broker, RETRY_NOW, failing)

    again = await take_one(worker)

    assert (again.attempt, again.crashes, again.failures, again.last_error) == (2, 0, 1, "ValueError")
    assert (again.job_id, again.body) == (failing.id, failing.to_wire())


@pytest.mark.parametrize("back", [RELEASED, Snoozed(0), Snoozed(20)], ids=["released", "snoozed 0", "snoozed 20 ms"])
async def test_release_and_snooze_count_no_attempt(broker: Broker, back: Outcome) -> None:
    worker = await run(broker, RETRY_NOW, job(expires=HOUR, unique_key="k"))
    before = await take_one(worker)

    await settle(worker, back, before)
    await promoted(broker, 1)
    after = await take_one(worker)

    assert {**asdict(after), "entry_id": b""} == {**asdict(before), "entry_id": b""}
    assert after.entry_id != before.entry_id


async def test_a_deferral_is_counted(broker: Broker) -> None:
    worker = await run(broker, Snoozed(10, deferral=True), job())

    await promoted(broker, 1)

    taken = await take_one(worker)
    assert (taken.deferrals, taken.attempt) == (1, 1)


async def test_a_retry_waits_for_its_delay(broker: Broker) -> None:
    failing = job()
    await run(broker, Retrying(60_000, FAILURE), failing)

    found = await broker.locate(Q, failing.id)

    assert found is not None
    assert (found.state, found.attempt, found.last_error) == (JobState.RETRYING, 2, "ValueError")
    assert found.due_ms is not None
    assert 50_000 < found.due_ms - time_ns() // 1_000_000 <= 60_500


async def test_many_outcomes_on_several_queues_are_settled_in_one_call(broker: Broker) -> None:
    outcomes = [COMPLETED, *ENDS.values(), *RETURNS.values()]
    jobs = [job(n, queue=q, priority=p) for q in ("a", "b") for p in PRIORITIES for n in range(len(outcomes))]
    await enqueue(broker, *jobs)
    worker = await broker.join(["a", "b"])
    taken = await take(worker, len(jobs))

    await worker.settle([settlement(each, outcomes[n % len(outcomes)]) for n, each in enumerate(taken)])

    for queue in ("a", "b"):
        stats = await broker.stats(queue)
        assert (stats.completed, stats.died, stats.cancelled, stats.expired) == (8, 4, 4, 4)
        assert (stats.depth, stats.delayed, stats.running) == (8, 8, 0)


async def test_settling_nothing_is_allowed(broker: Broker) -> None:
    worker = await broker.join([Q])

    await worker.settle([])


@pytest.mark.parametrize("outcome", [*ENDS.values(), *RETURNS.values()], ids=[*ENDS, *RETURNS])
async def test_a_repeated_settlement_changes_nothing(broker: Broker, outcome: Outcome) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, unique_key=f"k{n}" if n else None) for n in range(3)])
    taken = await take(worker, 3)
    await settle(worker, outcome, *taken)
    before = await broker.stats(Q)
    history = await broker.journal.read(Q, "journal", after="0-0", count=9)

    await settle(worker, outcome, *taken)
    await settle(worker, COMPLETED, taken[0])

    after = await broker.stats(Q)
    assert _still(after) == _still(before)
    assert await broker.journal.read(Q, "journal", after="0-0", count=9) == history


async def test_a_batch_half_settled_before_settles_the_other_half(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, unique_key=None if n % 2 else f"k{n}") for n in range(6)])
    taken = await take(worker, 6)
    await settle(worker, COMPLETED, *taken[:3])

    await settle(worker, COMPLETED, *taken, taken[0])

    stats = await broker.stats(Q)
    assert (stats.completed, stats.live) == (6, 0)
    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    assert sorted(each.job_id for each in page.executions) == sorted(each.job_id for each in taken)


async def test_a_repeated_settlement_leaves_the_next_delivery_alone(broker: Broker) -> None:
    first, second = await broker.join([Q]), await broker.join([Q])
    sent = job()
    await enqueue(broker, sent)
    taken = await take_one(first)
    await settle(first, RELEASED, taken)
    again = await take_one(second)
    await broker.cancel(Q, sent.id)
    heartbeat = second.heartbeat()
    await beat(heartbeat, {Q: {sent.id: b'{"done":1}'}})

    await settle(first, COMPLETED, taken)

    found = await broker.locate(Q, sent.id)
    assert found is not None
    assert (found.state, found.worker, found.cancel_requested) == (JobState.RUNNING, second.name, True)
    assert found.progress == b'{"done":1}'
    await settle(second, Cancelled(), again)
    heartbeat.close()


@pytest.mark.parametrize(("name", "end"), ENDS.items(), ids=ENDS.keys())
async def test_a_result_is_kept_for_its_time(broker: Broker, name: str, end: Outcome) -> None:
    worker = await broker.join([Q])
    kept, not_asked = job(1), job(2)
    await enqueue(broker, kept, not_asked)
    one, two = await take(worker, 2)
    end = Completed(b'{"sum":3}') if isinstance(end, Completed) else end

    await settle(worker, end, one, result_ttl_ms=60_000)
    await settle(worker, end, two)

    found = await broker.result(Q, kept.id)
    assert found is not None
    assert msgspec.json.decode(found) == {
        "outcome": name,
        "result": {"sum": 3} if name == "completed" else None,
        "error": ["ValueError", "no such address", "Traceback ..."] if name == "dead" else None,
    }
    assert await broker.result(Q, not_asked.id) is None


async def test_a_result_vanishes_after_its_time(broker: Broker) -> None:
    worker = await broker.join([Q])
    kept = job()
    await enqueue(broker, kept)
    await settle(worker, Completed(b"1"), await take_one(worker), result_ttl_ms=20)

    async def gone() -> bool:
        return await broker.result(Q, kept.id) is None

    await eventually(gone)


# leases


async def test_a_dead_workers_jobs_are_given_back_with_a_crash_counted(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    jobs = [job(n, priority=p) for p in PRIORITIES for n in range(2)]
    await enqueue(broker, *jobs)
    dead, alive = await broker.join([Q]), await broker.join([Q])
    given = {each.job_id: each for each in await take(dead, 8)}

    await reap(broker, 8, alive=alive)

    for again in await take(alive, 8):
        assert (again.attempt, again.crashes, again.failures, again.last_error) == (2, 1, 0, "WorkerDied")
        assert again.body == given[again.job_id].body
    assert [worker.name for worker in await broker.workers(Q)] == [alive.name]


async def test_a_living_worker_keeps_its_jobs(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    dead, alive = await broker.join([Q]), await broker.join([Q])
    await enqueue(broker, job(1), job(2))
    held = await take_one(alive)
    await take_one(dead)

    await reap(broker, 1, alive=alive)

    await settle(alive, COMPLETED, held)
    assert (await broker.stats(Q)).completed == 1


async def test_a_reaped_worker_settles_nothing(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    dead, alive = await broker.join([Q, "other"]), await broker.join([Q])
    await enqueue(broker, job(), job(queue="other"))
    mine, other = await take(dead, 2)
    await reap(broker, 1, alive=alive)
    before = await broker.stats(Q)

    for outcome in (COMPLETED, DEAD, *RETURNS.values()):
        with pytest.raises(LeaseLost):
            await settle(dead, outcome, mine)

    assert _still(await broker.stats(Q)) == _still(before)
    heartbeat = dead.heartbeat()
    assert {each.queue: each.alive for each in await beat(heartbeat)} == {Q: False, "other": True}
    again = await take_one(alive)
    await settle(alive, COMPLETED, again)
    assert (await broker.stats(Q)).completed == 1
    with pytest.raises(LeaseLost):
        await settle(dead, COMPLETED, mine, other)
    assert (await broker.stats("other")).completed == 1
    heartbeat.close()


async def test_a_job_is_buried_after_too_many_crashes(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT, max_crashes=2)
    sent = job(result_ttl=HOUR)
    await enqueue(broker, sent)
    names = []
    for _ in range(2):
        worker = await broker.join([Q])
        names.append(worker.name)
        await take_one(worker)
        await reap(broker, 1)

    stats = await broker.stats(Q)
    page = await broker.journal.read(Q, "dead", after="0-0", count=9)
    assert (stats.died, stats.live) == (1, 0)
    assert page is not None
    (letter,) = page.dead_letters
    assert (letter.job_id, letter.reason, letter.attempts, letter.crashes) == (sent.id, "crashed", 2, 2)
    assert (letter.error_class, letter.worker, letter.body) == ("WorkerDied", names[1], sent.to_wire())
    assert names[1] in letter.error_message
    kept = await broker.result(Q, sent.id)
    assert kept is not None
    assert msgspec.json.decode(kept)["outcome"] == "dead"


async def test_failures_and_crashes_are_counted_apart(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    worker = await run(broker, RETRY_NOW, job())
    await take_one(worker)

    await reap(broker, 1)

    again = await take_one(await broker.join([Q]))
    assert (again.attempt, again.crashes, again.failures) == (3, 1, 1)


async def test_a_job_asked_to_stop_is_cancelled_when_its_worker_dies(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    sent = job()
    await enqueue(broker, sent)
    await take_one(await broker.join([Q]))
    await broker.cancel(Q, sent.id)

    await reap(broker, 1)

    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live) == (1, 0)


async def test_adopt_returns_everything_not_settled(broker: Broker) -> None:
    worker, other = await broker.join([Q, "other"]), await broker.join([Q])
    await enqueue(broker, *[job(n, priority=p, unique_key=f"{p}{n}") for p in PRIORITIES for n in range(80)])
    await enqueue(broker, *[job(n, queue="other") for n in range(250)])
    settled, *kept = await take(worker, 570)
    await settle(worker, COMPLETED, settled)

    mine = await worker.adopt()

    assert {each.receipt: asdict(each) for each in mine} == {each.receipt: asdict(each) for each in kept}
    assert await other.adopt() == []
    known = {each.receipt for each in kept[::2]}
    unknown = await worker.adopt(known)
    assert {each.receipt for each in unknown} == {each.receipt for each in kept[1::2]}
    assert len(unknown) == len(kept[1::2])
    assert await worker.adopt({each.receipt for each in kept}) == []


async def test_leaving_ends_the_lease_and_what_is_pending_is_given_back(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, job())
    await take_one(worker)

    await worker.leave()
    await worker.close()

    assert (await broker.stats(Q)).workers == 0
    await reap(broker, 1)
    assert (await broker.stats(Q)).depth == 1
    assert await broker.workers(Q) == []


async def test_leaving_with_nothing_pending_leaves_nothing(broker: Broker) -> None:
    worker = await run(broker, COMPLETED, job())
    assert [each.name for each in await broker.workers(Q)] == [worker.name]

    await worker.leave()

    assert await broker.workers(Q) == []


async def test_every_incarnation_has_a_name_of_its_own(broker: Broker) -> None:
    names = {(await broker.join([Q])).name for _ in range(5)}

    assert len(names) == 5
    assert {each.name for each in await broker.workers(Q)} == names
    for info in await broker.workers(Q):
        assert (info.queue, info.running) == (Q, 0)
        assert 10_000 < info.lease_ms <= 15_000


# beat, pause, cancel


async def test_a_beat_renews_the_lease(make_broker: MakeBroker) -> None:
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    heartbeat = worker.heartbeat()

    async def renewed() -> bool:
        (before,) = await broker.workers(Q)
        (heard,) = await beat(heartbeat)
        (after,) = await broker.workers(Q)
        assert (heard.queue, heard.alive, heard.paused, set(heard.cancel)) == (Q, True, False, set())
        return after.lease_ms > before.lease_ms

    await eventually(renewed)
    heartbeat.close()


async def test_a_beat_tells_of_pauses(broker: Broker) -> None:
    worker = await broker.join(["a", "b"])
    heartbeat = worker.heartbeat()
    await broker.pause("a")

    assert {each.queue: each.paused for each in await beat(heartbeat)} == {"a": True, "b": False}
    assert (await broker.stats("a")).paused

    await broker.resume("a")

    assert not any(each.paused for each in await beat(heartbeat))
    assert not (await broker.stats("a")).paused
    heartbeat.close()


async def test_a_paused_queue_still_takes_jobs(broker: Broker) -> None:
    await broker.pause(Q)

    assert (await enqueue(broker, job()))[0].status is NEW


async def test_progress_is_kept_while_the_job_runs(broker: Broker) -> None:
    sent = job()
    await enqueue(broker, sent)
    worker = await broker.join([Q])
    taken = await take_one(worker)
    heartbeat = worker.heartbeat()

    await beat(heartbeat, {Q: {sent.id: b'{"done":5}', new_id(): b"1"}})

    found = await broker.locate(Q, sent.id)
    assert found is not None
    assert found.progress == b'{"done":5}'
    await settle(worker, RELEASED, taken)
    await take_one(worker)
    found = await broker.locate(Q, sent.id)
    assert found is not None
    assert found.progress is None
    heartbeat.close()


async def test_locate_tells_where_a_job_is(broker: Broker) -> None:
    sent = job(1, priority="low", unique_key="k", headers={"a": "b"})
    await enqueue(broker, sent)
    worker = await broker.join([Q])

    queued = await broker.locate(Q, sent.id)
    taken = await take_one(worker)
    running = await broker.locate(Q, sent.id.upper())
    await settle(worker, Snoozed(60_000), taken)
    scheduled = await broker.locate(Q, sent.id)

    assert queued is not None
    assert queued.job == running.job == scheduled.job == sent if running and scheduled else False
    assert (queued.state, queued.worker, queued.due_ms) == (JobState.QUEUED, None, None)
    assert running is not None
    assert (running.state, running.worker, running.attempt) == (JobState.RUNNING, worker.name, 1)
    assert scheduled is not None
    assert (scheduled.state, scheduled.worker) == (JobState.SCHEDULED, None)
    assert await broker.locate(Q, new_id()) is None
    assert await broker.locate("other", sent.id) is None


@pytest.mark.parametrize("delay", [None, HOUR], ids=["ready", "delayed"])
async def test_a_waiting_job_is_cancelled_at_once(broker: Broker, delay: timedelta | None) -> None:
    sent = job()
    await enqueue(broker, sent, delay=delay)

    assert await broker.cancel(Q, sent.id.upper()) is JobState.CANCELLED
    assert await broker.cancel(Q, sent.id) is None

    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live) == (1, 0)
    assert await (await broker.join([Q])).fetch(1) == []
    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    (line,) = page.executions
    assert (line.job_id, line.outcome, line.attempt, line.type) == (sent.id, "cancelled", 0, "email.send")


async def test_a_retrying_job_is_cancelled_at_once(broker: Broker) -> None:
    sent = job(unique_key="k")
    await run(broker, Retrying(60_000, FAILURE), sent)

    assert await broker.cancel(Q, sent.id) is JobState.CANCELLED
    assert (await enqueue(broker, job(unique_key="k")))[0].status is NEW


async def test_a_running_job_is_asked_to_stop_through_the_beat(broker: Broker) -> None:
    sent = job()
    await enqueue(broker, sent, job(2))
    worker = await broker.join([Q])
    taken = await take(worker, 2)
    heartbeat = worker.heartbeat()

    assert await broker.cancel(Q, sent.id) is JobState.RUNNING
    assert await broker.cancel(Q, sent.id) is JobState.RUNNING

    (heard,) = await beat(heartbeat)
    assert set(heard.cancel) == {sent.id}
    found = await broker.locate(Q, sent.id)
    assert found is not None
    assert found.cancel_requested
    await worker.settle([settlement(taken[0], Cancelled()), settlement(taken[1])])
    (heard,) = await beat(heartbeat)
    assert set(heard.cancel) == set()
    heartbeat.close()


@pytest.mark.parametrize("back", RETURNS.values(), ids=RETURNS.keys())
async def test_a_job_asked_to_stop_does_not_come_back(broker: Broker, back: Outcome) -> None:
    sent = job(unique_key="k")
    await enqueue(broker, job(0), sent)
    worker = await broker.join([Q])
    taken = await take(worker, 2)
    await broker.cancel(Q, sent.id)

    await settle(worker, back, *taken)

    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live) == (1, 1)
    assert (await enqueue(broker, job(unique_key="k")))[0].status is NEW
    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    assert {each.job_id: each.outcome for each in page.executions}[sent.id] == "cancelled"


@pytest.mark.parametrize("end", [COMPLETED, DEAD], ids=["completed", "dead"])
async def test_a_job_that_ended_before_it_heard_keeps_its_end(broker: Broker, end: Outcome) -> None:
    sent = job()
    await enqueue(broker, sent)
    worker = await broker.join([Q])
    taken = await take_one(worker)
    await broker.cancel(Q, sent.id)

    await settle(worker, end, taken)

    stats = await broker.stats(Q)
    assert (stats.completed + stats.died, stats.cancelled) == (1, 0)


async def test_cancel_racing_with_a_retry_or_a_promotion_ends_each_job_once(broker: Broker) -> None:
    jobs = [job(n) for n in range(120)]
    await enqueue(broker, *jobs)
    worker = await broker.join([Q])
    taken = await take(worker, 120)
    outcomes = [Retrying(n % 3, FAILURE) for n in range(120)]

    async def retry(n: int) -> None:
        await settle(worker, outcomes[n], taken[n])
        await broker.promote(Q)

    answers = await asyncio.gather(
        *(retry(n) for n in range(120)), *(broker.cancel(Q, each.id) for each in reversed(jobs))
    )

    assert set(answers[120:]) <= {JobState.CANCELLED, JobState.RUNNING}
    stats = await broker.stats(Q)
    assert (stats.cancelled, stats.live) == (120, 0)


async def test_cancelling_what_is_not_there_says_so(broker: Broker) -> None:
    assert await broker.cancel(Q, new_id()) is None
    with pytest.raises(InvalidJob, match="UUID"):
        await broker.cancel(Q, "not an id")


# purge, stats, names


async def test_purge_cancels_what_waits_and_spares_what_runs(broker: Broker) -> None:
    await enqueue(broker, *[job(n, priority=p) for p in PRIORITIES for n in range(3)])
    await enqueue(broker, *[job(n, priority=p) for p in PRIORITIES for n in range(3)], delay=HOUR)
    worker = await broker.join([Q])
    running = await worker.fetch(1)

    gone = await broker.purge(Q, [Priority.CRITICAL, Priority.LOW], delayed=False)

    stats = await broker.stats(Q)
    spared = len([each for each in running if each.rank in (0, 3)])
    assert gone == stats.cancelled == 6 - spared
    assert (stats.running, stats.delayed) == (len(running), 12)
    await settle(worker, COMPLETED, *running)


async def test_purge_of_delayed_jobs_keeps_to_its_priorities(broker: Broker) -> None:
    await enqueue(broker, *[job(n, priority=PRIORITIES[n % 4]) for n in range(900)], delay=HOUR)
    await enqueue(broker, *[job(n) for n in range(450)])

    assert await broker.purge(Q, [Priority.HIGH], delayed=True) == 225
    assert await broker.purge(Q, PRIORITIES, delayed=False) == 450
    assert (await broker.stats(Q)).delayed == 675
    assert await broker.purge(Q, PRIORITIES, delayed=True) == 675
    assert await broker.purge(Q, PRIORITIES, delayed=True) == 0


async def test_stats_count_everything_at_one_instant(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, priority=p) for n, p in enumerate(("critical", "low", "low"))])
    (taken, *surplus) = await worker.fetch(1)
    await settle(worker, RELEASED, *surplus)
    await enqueue(broker, job(), delay=timedelta(minutes=1))

    stats = await broker.stats(Q)

    assert taken.rank == 0
    assert stats.ready == {Priority.CRITICAL: 0, Priority.HIGH: 0, Priority.MEDIUM: 0, Priority.LOW: 2}
    assert (stats.depth, stats.running, stats.delayed, stats.live, stats.enqueued) == (2, 1, 1, 4, 4)
    assert (stats.workers, stats.dead, stats.drift) == (1, 0, 0)
    assert stats.oldest_ready_ms is not None
    assert 0 <= stats.oldest_ready_ms < 5_000
    assert stats.next_due_ms is not None
    assert 50_000 < stats.next_due_ms <= 60_000


async def test_a_queue_that_nobody_used_is_empty(broker: Broker) -> None:
    stats = await broker.stats("nobody")

    assert (stats.live, stats.depth, stats.oldest_ready_ms, stats.next_due_ms, stats.drift) == (0, 0, None, None, 0)
    assert await broker.workers("nobody") == []
    assert await broker.promote("nobody") is None
    assert await broker.purge("nobody", PRIORITIES, delayed=True) == 0


@pytest.mark.parametrize("name", ["", "a b", "a}b{c", "{}", "*", "a\r\nb", "x" * 65, "-a", "ü"])
async def test_a_strange_queue_name_is_refused_everywhere(broker: Broker, name: str) -> None:
    verbs = [
        lambda: broker.join([name]),
        lambda: broker.promote(name),
        lambda: broker.reap(name),
        lambda: broker.cancel(name, new_id()),
        lambda: broker.locate(name, new_id()),
        lambda: broker.locate_in([name, Q], new_id()),
        lambda: broker.jobs(name, Place.QUEUED, limit=1),
        lambda: broker.hasten(name, new_id()),
        lambda: broker.result(name, new_id()),
        lambda: broker.pause(name),
        lambda: broker.resume(name),
        lambda: broker.purge(name, PRIORITIES, delayed=True),
        lambda: broker.stats(name),
        lambda: broker.workers(name),
    ]

    assert [type(await raised(verb)) for verb in verbs] == [InvalidJob] * len(verbs)
    assert await broker.queues() == []


# journal


async def test_the_journal_tells_every_attempt(broker: Broker) -> None:
    worker = await broker.join([Q])
    good, bad = job(1, priority="high"), job(2)
    await enqueue(broker, good, bad)
    taken = {each.job_id: each for each in await take(worker, 2)}
    facts = {"started_ms": 1_700_000_000_000, "duration_ms": 12.3456}

    await worker.settle([settlement(taken[good.id], COMPLETED, **facts), settlement(taken[bad.id], RETRY_NOW, **facts)])

    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    by_id = {each.job_id: each for each in page.executions}
    ok, failed = by_id[good.id], by_id[bad.id]
    assert (ok.queue, ok.type, ok.priority, ok.generation, ok.attempt) == (Q, "email.send", Priority.HIGH, 0, 1)
    assert (ok.outcome, ok.worker, ok.started_ms, ok.duration_ms) == (
        "completed",
        worker.name,
        1_700_000_000_000,
        12.346,
    )
    assert (ok.error_class, ok.error_message, ok.traceback) == (None, None, None)
    assert ok.queued_ms == taken[good.id].queued_ms
    assert (failed.outcome, failed.error_class, failed.error_message) == ("retrying", "ValueError", "no such address")


async def test_what_is_given_back_before_it_was_started_leaves_no_history(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, job(1), job(2))
    unstarted, run = await take(worker, 2)

    await worker.settle([settlement(unstarted, RELEASED, type=""), settlement(run, COMPLETED)])

    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    assert [(each.job_id, each.outcome) for each in page.executions] == [(run.job_id, "completed")]


async def test_the_journal_is_read_in_pages_and_trimmed(broker: Broker) -> None:
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n) for n in range(5)])
    for each in await take(worker, 5):
        await settle(worker, COMPLETED, each)
    assert (await broker.stats(Q)).journal == 5

    first = await broker.journal.read(Q, "journal", after="0-0", count=2)
    assert first is not None
    second = await broker.journal.read(Q, "journal", after=first.last, count=9)
    assert second is not None
    assert (len(first.executions), len(second.executions)) == (2, 3)
    assert await broker.journal.read(Q, "journal", after=second.last, count=9) is None

    for _ in range(2):
        await broker.journal.trim(Q, "journal", upto=first.last, primary=first.primary)

    assert await broker.journal.read(Q, "journal", after="0-0", count=9) == second
    await broker.journal.trim(Q, "journal", upto=second.last, primary=second.primary)
    assert (await broker.stats(Q)).journal == 0


async def test_dead_letters_are_read_from_the_journal(broker: Broker) -> None:
    buried = job(1, priority="high", unique_key="k")
    worker = await run(broker, DEAD, buried)

    page = await broker.journal.read(Q, "dead", after="0-0", count=9)

    assert page is not None
    (letter,) = page.dead_letters
    assert letter.entry_id == page.last
    assert (letter.queue, letter.priority, letter.job_id, letter.body) == (
        Q,
        Priority.HIGH,
        buried.id,
        buried.to_wire(),
    )
    assert (letter.reason, letter.error_class, letter.error_message) == ("exhausted", "ValueError", "no such address")
    assert (letter.traceback, letter.attempts, letter.crashes, letter.generation) == ("Traceback ...", 1, 0, 0)
    assert (letter.unique_key, letter.worker) == ("k", worker.name)
    assert await broker.journal.read(Q, "dead", after=page.last, count=9) is None


PAYLOAD = b'{"n":0}'


@pytest.mark.parametrize("keep_payload", [0, len(PAYLOAD) - 1, len(PAYLOAD)])
@pytest.mark.parametrize("outcome", [*ENDS.values(), *RETURNS.values()], ids=[*ENDS, *RETURNS])
async def test_the_payload_stays_in_the_history_of_a_job_that_ended(
    make_broker: MakeBroker, outcome: Outcome, keep_payload: int
) -> None:
    broker = make_broker(keep_payload=keep_payload)
    await run(broker, outcome, job())

    [execution] = (await broker.journal.read(Q, "journal", after="0-0", count=9)).executions  # type: ignore[union-attr]

    ended = (await broker.stats(Q)).live == 0
    assert execution.payload == (PAYLOAD if ended and keep_payload == len(PAYLOAD) else None)


async def test_a_job_cancelled_while_it_waits_or_runs_keeps_its_payload(make_broker: MakeBroker) -> None:
    broker = make_broker(keep_payload=100)
    waiting, delayed, running = job(1), job(2), job(3, queue="other")
    await enqueue(broker, waiting)
    await enqueue(broker, delayed, delay=timedelta(hours=1))
    await enqueue(broker, running)
    worker = await broker.join(["other"])
    taken = await take_one(worker)

    for each in (waiting, delayed, running):
        await broker.cancel(each.queue, each.id)
    await settle(worker, RETRY_NOW, taken)

    for queue, payloads in ((Q, [b'{"n":1}', b'{"n":2}']), ("other", [b'{"n":3}'])):
        page = await broker.journal.read(queue, "journal", after="0-0", count=9)
        assert page is not None
        assert [(each.outcome, each.payload) for each in page.executions] == [("cancelled", p) for p in payloads]


async def test_a_job_that_crashed_too_often_keeps_its_payload(make_broker: MakeBroker) -> None:
    broker = make_broker(keep_payload=100, lease=SHORT, max_crashes=0)
    await enqueue(broker, job())
    worker = await broker.join([Q])
    await take_one(worker)

    async def reaped() -> bool:
        return await broker.reap(Q) > 0

    await eventually(reaped)

    page = await broker.journal.read(Q, "journal", after="0-0", count=9)
    assert page is not None
    assert [(each.outcome, each.payload) for each in page.executions] == [("dead", PAYLOAD)]


async def test_nothing_is_journalled_when_nobody_wants_history(make_broker: MakeBroker) -> None:
    broker = make_broker(history=False)
    await run(broker, DEAD, job())

    stats = await broker.stats(Q)

    assert (stats.journal, stats.dead) == (0, 1)


async def test_the_epoch_names_the_data(broker: Broker) -> None:
    assert await broker.journal.epoch(Q) is None

    await enqueue(broker, job())
    epoch = await broker.journal.epoch(Q)
    await enqueue(broker, job(queue="other"))
    await broker.join([Q])

    assert epoch
    assert await broker.journal.epoch(Q) == epoch
    assert await broker.journal.epoch("other") != epoch


def _still(stats: object) -> dict[str, object]:
    """Stats without what time alone changes."""
    facts: dict[str, object] = asdict(stats)  # type: ignore[arg-type]
    return {name: value for name, value in facts.items() if name not in ("oldest_ready_ms", "next_due_ms", "workers")}


async def test_a_job_without_a_key_is_not_taken_for_the_keyed_one_before_it(broker: Broker) -> None:
    keyed = Submission(job=job(1), idempotency_key="k")
    plain, unique, mortal = job(2), job(3, unique_key="u"), job(4, expires=timedelta(hours=1))
    later = Submission(job=job(5), delay=timedelta(hours=1))

    results = await broker.enqueue([keyed, *(Submission(job=each) for each in (plain, unique, mortal)), later])

    assert [each.status for each in results] == [Enqueued.NEW] * 5


# many queues at once

MANY = [f"many.{n:04}" for n in range(1_100)]


async def test_a_job_is_located_in_the_first_of_many_queues_where_it_lives(broker: Broker) -> None:
    sent = job(1, queue=MANY[-1])
    await enqueue(broker, sent, job(2, queue=MANY[700], id=sent.id), job(3, queue=MANY[0]))

    found = await broker.locate_in(MANY, sent.id.upper())
    assert found is not None
    assert (found.queue, found.job_id) == (MANY[700], sent.id)
    last = await broker.locate_in(MANY[701:], sent.id)
    assert last is not None
    assert last.queue == MANY[-1]
    assert await broker.locate_in(MANY, new_id()) is None
    assert await broker.locate_in([], sent.id) is None
    assert await broker.locate_in(MANY[:1], sent.id) is None


async def test_a_result_is_found_in_the_first_of_many_queues_that_keeps_it(broker: Broker) -> None:
    kept = job(1, queue=MANY[600])
    worker = await broker.join([kept.queue])
    await enqueue(broker, kept)
    await settle(worker, Completed(b"42"), await take_one(worker), result_ttl_ms=60_000)

    found = await broker.result_in(MANY, kept.id)
    assert found == (kept.queue, await broker.result(kept.queue, kept.id))
    assert await broker.result_in(MANY[:600], kept.id) is None
    assert await broker.result_in([kept.queue], kept.id) == found


async def test_the_journal_tells_which_of_many_queues_have_something(broker: Broker) -> None:
    await run(broker, DEAD, job(1, queue=MANY[1]))
    await run(broker, COMPLETED, job(2, queue=MANY[800]))
    await enqueue(broker, job(3, queue=MANY[3]))

    journal = broker.journal
    assert await journal.waiting_in(MANY) == [MANY[1], MANY[800]]
    assert await journal.waiting_in(MANY, "dead") == [MANY[1]]
    assert MANY[800] in await journal.waiting_in(MANY, "journal")
    assert await journal.waiting_in(MANY[2:700]) == []
    assert await journal.waiting_in([]) == []
