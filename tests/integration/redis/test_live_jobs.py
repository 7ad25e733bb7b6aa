"""Pages of live jobs and the roster of workers, as they lie in Redis."""

from datetime import timedelta

import pytest
import redis.asyncio

from jobqueue.broker.base import Place
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.job import PRIORITIES
from tests.contract.scene import SHORT, Q, enqueue, job, reap, take, take_one
from tests.integration.redis.conftest import MakeBroker
from testutil.eventually import eventually

HOUR = timedelta(hours=1)


async def commands_of(broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", place: Place, after: str | None) -> int:
    """How many commands Redis ran for a page, those of the script counted."""
    await raw.config_resetstat()
    shown, _ = await broker.jobs(Q, place, limit=20, after=after)
    assert len(shown) == 20
    stats = await raw.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if not name.startswith("cmdstat_config"))


@pytest.mark.parametrize("place", Place)
async def test_a_page_costs_no_more_behind_thousands_of_jobs(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", place: Place
) -> None:
    worker = await broker.join([Q])
    delay = HOUR if place is Place.DELAYED else None

    async def fill(count: int) -> None:
        at_ms = worker.now_ms() + 3_600_000 if delay else None
        await enqueue(broker, *[job(n) for n in range(count)], run_at_ms=at_ms)
        if place is Place.RUNNING:
            await take(worker, count)

    await fill(60)
    _, second = await broker.jobs(Q, place, limit=20)
    few = await commands_of(broker, raw, place, second)
    await fill(5_000)
    if place is Place.QUEUED:
        await take(worker, 4_000)
    deep, pages = second, 0
    while pages < 4 and deep is not None:
        _, deep = await broker.jobs(Q, place, limit=200, after=deep)
        pages += 1

    many = await commands_of(broker, raw, place, deep)

    # Jobs that are due at one instant are searched by halves: a command more for each time that they double.
    assert many <= few + (14 if place is Place.DELAYED else 0)


@pytest.mark.parametrize("place", Place)
async def test_a_page_ends_early_where_bodies_are_large(broker: RedisStreamsBroker, place: Place) -> None:
    jobs = [job(n).replace(payload={"text": "x" * 250_000}) for n in range(24)]
    await enqueue(broker, *jobs, delay=HOUR if place is Place.DELAYED else None)
    if place is Place.RUNNING:
        await take(await broker.join([Q]), 24)

    shown, after = await broker.jobs(Q, place, limit=200)
    rest, end = await broker.jobs(Q, place, limit=200, after=after)

    assert (len(shown), len(rest), end) == (16, 8, None)


async def test_a_body_larger_than_a_page_is_shown_alone(
    broker: RedisStreamsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.broker.page._MOST_BYTES", 10)
    await enqueue(broker, *[job(n) for n in range(3)])

    first, after = await broker.jobs(Q, Place.QUEUED, limit=5)
    second, _ = await broker.jobs(Q, Place.QUEUED, limit=5, after=after)

    assert (len(first), len(second)) == (1, 1)
    assert first[0].job_id != second[0].job_id


async def test_entries_deleted_by_hand_leave_a_gap_and_no_error(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    jobs = [job(n) for n in range(30)]
    await enqueue(broker, *jobs)
    taken = await take(await broker.join([Q]), 30)
    keys = broker.keys(Q)
    await raw.xdel(keys.medium, *(each.entry_id for each in taken[:25]))

    shown, after = await broker.jobs(Q, Place.RUNNING, limit=20)
    rest, end = await broker.jobs(Q, Place.RUNNING, limit=20, after=after)

    assert shown == []
    assert ([each.job_id for each in rest], end) == ([each.id for each in jobs[25:]], None)


async def test_the_roster_is_empty_when_everybody_has_left(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    workers = [await broker.join([Q], slots=n) for n in range(5)]
    assert await raw.hlen(broker.keys(Q).roster) == 5

    for worker in workers:
        await worker.leave()

    assert await raw.exists(broker.keys(Q).roster) == 0


@pytest.mark.parametrize("busy", [True, False])
async def test_the_roster_forgets_who_was_reaped(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", busy: bool
) -> None:
    broker = make_broker(lease=SHORT)
    dead = await broker.join([Q], slots=2)
    if busy:
        await enqueue(broker, *[job(n, priority=p) for n, p in enumerate(PRIORITIES)])
        await take(dead, 4)
    await reap(broker, 4 * busy)

    async def forgotten() -> bool:
        await broker.reap(Q)
        return await raw.exists(broker.keys(Q).roster, broker.keys(Q).workers) == 0

    await eventually(forgotten)


async def test_what_an_older_reaper_leaves_on_the_roster_is_cleared(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    broker = make_broker(lease=SHORT)
    dead = await broker.join([Q])
    await enqueue(broker, job())
    await take_one(dead)
    keys = broker.keys(Q)
    kept = await raw.hgetall(keys.roster)
    await reap(broker, 1)
    await raw.hset(keys.roster, mapping=kept)

    async def cleared() -> bool:
        await broker.reap(Q)
        return await raw.exists(keys.roster) == 0

    await eventually(cleared)


async def test_a_worker_of_an_older_version_is_shown_without_facts(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    worker = await broker.join([Q], slots=7)
    await raw.delete(broker.keys(Q).roster)

    (shown,) = await broker.workers(Q)

    assert (shown.name, shown.slots, shown.host, shown.pid, shown.started_ms) == (worker.name, None, None, None, None)
