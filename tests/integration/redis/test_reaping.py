"""Dead workers: judged at once or after an amnesty, given back page by page, once (F12, F34, F40, F45)."""

import asyncio
from datetime import timedelta

import pytest
import redis.asyncio

from jobqueue.broker import scripts
from jobqueue.broker import settle as settling
from jobqueue.broker.base import Delivery
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.keys import GROUP
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.errors import LeaseLost
from jobqueue.outcome import COMPLETED, decide_crash
from tests.contract.scene import SHORT, Q, beat, enqueue, job, reap, settle, settlement, take
from tests.integration.redis.conftest import MakeBroker
from testutil.eventually import eventually


async def settle_for_the_dead(broker: RedisStreamsBroker, name: str, *taken: Delivery) -> list[int]:
    """One page of a reaper's work."""
    crashed = [settlement(each, decide_crash(name, crashes=0, max_crashes=3)) for each in taken]
    facts = {"consumer": name, "fence": "dead", "history": False, "journal_max": 0, "keep_payload": 0}
    answer: list[int] = await broker.call(settling.command(broker.keys(Q), crashed, **facts))
    return answer


async def expired(broker: RedisStreamsBroker, name: str) -> None:
    async def look() -> bool:
        return all(each.lease_ms < 0 for each in await broker.workers(Q) if each.name == name)

    await eventually(look)


async def test_f12_a_worker_that_beat_after_it_was_judged_keeps_its_jobs(make_broker: MakeBroker) -> None:
    """A worker whose beat came after the reaper's verdict keeps its jobs: the reaper's settlement is refused."""
    broker = make_broker()
    worker = await broker.join([Q])
    await enqueue(broker, job(1), job(2, unique_key="k"))
    taken = await take(worker, 2)

    assert await settle_for_the_dead(broker, worker.name, *taken) == [0]

    await settle(worker, COMPLETED, *taken)
    assert (await broker.stats(Q)).completed == 2


async def test_f16_the_first_page_of_a_reaping_fences_the_whole_worker(make_broker: MakeBroker) -> None:
    """The first page of a reaping fences the worker for all its jobs: it settles none of the rest."""
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, job(1), job(2))
    one, two = await take(worker, 2)
    await expired(broker, worker.name)

    assert await settle_for_the_dead(broker, worker.name, one) == [1]

    with pytest.raises(LeaseLost):
        await settle(worker, COMPLETED, two)
    assert not (await beat(worker.heartbeat()))[0].alive
    await reap(broker, 1)
    assert await check_queue(broker, Q) == []


async def test_f45_several_reapers_give_every_job_back_once(make_broker: MakeBroker) -> None:
    """Several reapers at one dead worker with 1 050 jobs: each job comes back once, with one crash counted."""
    broker, others = make_broker(lease=SHORT), [make_broker(lease=SHORT) for _ in range(3)]
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n, unique_key=f"k{n}" if n % 3 else None) for n in range(1_050)])
    await take(worker, 1_050)

    async def tick() -> bool:
        await asyncio.gather(*(each.reap(Q) for each in others))
        return (await broker.stats(Q)).depth == 1_050

    await eventually(tick, poll_s=0.03)

    again = await take(await broker.join([Q]), 1_050)
    assert {each.crashes for each in again} == {1}
    assert len({each.job_id for each in again}) == 1_050
    assert await check_queue(broker, Q) == []


async def test_f34_f35_a_reaper_after_a_gap_lets_the_living_renew_first(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """After a gap in which nobody was heard, a reaper grants an amnesty: the living renew first and keep their jobs."""
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, job())
    taken = await take(worker, 1)
    await raw.hset(broker.keys(Q).meta, "janitor_ms", 1)
    await expired(broker, worker.name)

    assert await broker.reap(Q) == 0

    assert (await beat(worker.heartbeat()))[0].alive
    await settle(worker, COMPLETED, *taken)


async def test_f34_a_reaper_that_is_late_recovers_while_a_worker_is_heard(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """A reaper that always comes late is no gap while a worker is heard: the dead one's job comes back."""
    broker = make_broker(lease=SHORT)
    alive, dead = await broker.join([Q]), await broker.join([Q])
    await enqueue(broker, job())
    await take(dead, 1)
    heartbeat = alive.heartbeat()

    async def beat_and_come_late() -> bool:
        # As a reaper in a loop that handlers block: its own last tick is always too long ago.
        assert (await beat(heartbeat))[0].alive
        await raw.hset(broker.keys(Q).meta, "janitor_ms", 1)
        return await broker.reap(Q) == 1

    await eventually(beat_and_come_late, poll_s=0.03)


async def test_f64_a_clock_that_went_back_delays_reaping_by_a_lease_at_most(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """A server clock that went back a day delays recovery by one lease at most."""
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, job())
    await take(worker, 1)
    far = worker.now_ms() + 86_400_000
    await raw.hset(broker.keys(Q).meta, mapping={"janitor_ms": far, "amnesty_ms": far})

    await reap(broker, 1)


async def test_f41_receipts_of_entries_deleted_by_hand_are_put_away(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """Entries deleted by hand under a dead worker: its receipts are put away, and the check names the lost jobs."""
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, *[job(n) for n in range(260)], job(priority="low"))
    taken = await take(worker, 261)
    medium = [each for each in taken if each.rank == 2]
    await raw.xdel(broker.keys(Q).medium, *(each.entry_id for each in medium[:255]))

    async def emptied() -> bool:
        await broker.reap(Q)
        return await broker.workers(Q) == []

    await eventually(emptied, poll_s=0.03)

    assert (await raw.xpending(broker.keys(Q).medium, GROUP))["pending"] == 0
    assert [each.rule for each in await check_queue(broker, Q)] == ["I1", "I3"]  # and it says which jobs are lost


async def test_f40_short_lived_workers_leave_no_consumers(make_broker: MakeBroker, raw: "redis.asyncio.Redis") -> None:
    """Short-lived workers, half of them killed, leave no consumer behind in the group."""
    broker = make_broker(lease=SHORT)
    for n in range(30):
        worker = await broker.join([Q])
        await enqueue(broker, job(n))
        await settle(worker, COMPLETED, *await take(worker, 1))
        if n % 2:
            await worker.leave()
        await worker.close()

    async def gone() -> bool:
        await broker.reap(Q)
        return await raw.xinfo_consumers(broker.keys(Q).medium, GROUP) == []

    await eventually(gone, poll_s=0.03)
    assert await broker.workers(Q) == []


async def test_f29_a_worker_name_is_never_registered_twice(broker: RedisStreamsBroker) -> None:
    """A second worker that registers under a name in use is refused."""
    worker = await broker.join([Q])

    command = scripts.REGISTER.command(broker.keys(Q), consumer=worker.name, lease_ms=86_400, facts="{}")

    assert await broker.call(command) == 0


async def test_a_look_is_left_out_while_another_reapers_is_fresh(make_broker: MakeBroker) -> None:
    """A fleet looks for the dead once, not once for each of its workers."""
    broker = make_broker(lease=SHORT)
    worker = await broker.join([Q])
    await enqueue(broker, job())
    await take(worker, 1)
    await reap(broker, 1)

    await enqueue(broker, job())
    other = await broker.join([Q])
    await take(other, 2)
    await expired(broker, other.name)
    seconds, micros = await broker.call(["TIME"])  # a worker's own reckoning may be ahead by a ms
    looked_ms = int(seconds) * 1000 + int(micros) // 1000
    await broker.call(["HSET", broker.keys(Q).meta, "janitor_ms", looked_ms, "beat_ms", looked_ms])

    assert await broker.reap(Q, unless_within=timedelta(hours=1)) == 0
    await reap(broker, 2)
