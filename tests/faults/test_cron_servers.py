"""Schedules whose servers restart, fail over, are wiped or away, or have clocks that jump."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import redis.asyncio

from jobqueue.app import JobQueue
from jobqueue.clock import from_ms
from jobqueue.context import current_job
from jobqueue.embedded import RedisServer
from jobqueue.errors import BrokerUnavailable, RepositoryUnavailable
from jobqueue.registry import Task
from jobqueue.schedule import tick_id
from jobqueue.tick import Decision, TickRecord
from tests.integration.scheduler.cron.timeline import (
    EVERY_SECOND,
    check_each_once,
    check_without_gap,
    fired,
    fires,
    now_ms,
    records,
    schedule,
)
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene, seconds
from testutil.eventually import eventually
from testutil.proxy import fault_proxy
from testutil.topology import SentinelTopology, start_topology
from testutil.topology.clock import FakeClock, fake_clock, faketime_obstacle

_WITHIN_S = 45


class Ticker:
    """The task of the schedules; counts the runs of each job."""

    def __init__(self, scene: Scene) -> None:
        self.runs: Counter[str] = Counter()
        self.task: Task[[], None] = scene.registry.task("t")(self._run)

    async def _run(self) -> None:
        self.runs[current_job().job_id] += 1

    async def start(self, queue: JobQueue, name: str = "s", expression: str = EVERY_SECOND, **rules: str) -> None:
        await queue.schedules.upsert(name, expression, self.task.job(), seconds=True, **{"misfire": "all", **rules})


@pytest.fixture
def ticker(scene: Scene) -> Ticker:
    return Ticker(scene)


# Redis restarts, fails over, is wiped


async def test_f34_ticks_of_an_outage_of_redis_are_made_up_for_once(own_scene: Scene, own_server: RedisServer) -> None:
    """Redis killed under two schedulers and restarted from its AOF, twice: each tick once, those of the outage too."""
    ticker, queue = Ticker(own_scene), own_scene.queue()
    await ticker.start(queue)
    async with scheduling(queue, own_scene.queue()), own_scene.working():
        for _ in range(2):
            before = len(await fires(queue, 1))
            await asyncio.to_thread(own_server.kill)
            await asyncio.sleep(1.2)
            await asyncio.to_thread(own_server.restart)
            await fires(queue, before + 3, within_s=_WITHIN_S)
        await queue.schedules.remove("s")
        found = await records(queue)
        stats = await own_scene.ended(queue, len(found), within_s=_WITHIN_S)

    check_each_once(found)
    check_without_gap(schedule(), found)
    assert stats.enqueued == len(found)  # a job whose worker was cut off may run again, and is the same job
    assert ticker.runs.keys() == {each.job_id for each in found}


async def test_f49_a_failover_fires_again_only_what_it_lost_and_as_the_same_job(
    sentinel: SentinelTopology, namespace: str
) -> None:
    """After a failover schedules go on: no tick is missing, and one that fires again is the same job."""
    scene = Scene(sentinel.url, namespace, lease=seconds(3))
    ticker, queue = Ticker(scene), scene.queue()
    await ticker.start(queue)
    async with scheduling(queue, scene.queue()), scene.working() as started:
        await eventually(lambda: len(started.settled) >= 3, within_s=_WITHIN_S)
        over = {each.delivery.job_id for each in started.settled}
        await _replicated(sentinel)
        await asyncio.to_thread(sentinel.failover)
        since_ms = int(time.time() * 1000)

        async def goes_on() -> bool:
            with suppress(BrokerUnavailable):  # the first that a client hears of the failover
                return sum(each.tick_ms > since_ms for each in await fired(queue)) >= 3
            return False

        await eventually(goes_on, within_s=_WITHIN_S, poll_s=0.2)
        await queue.schedules.remove("s")
        found = await records(queue)

        async def all_ended() -> bool:
            return (await queue.stats("default")).live == 0

        await eventually(all_ended, within_s=_WITHIN_S)
    await scene.close()

    check_each_once(found)
    check_without_gap(schedule(), found)
    assert ticker.runs.keys() == {tick_id("s", each.tick_ms) for each in found}
    assert [job_id for job_id in over if ticker.runs[job_id] > 1] == []


async def _replicated(sentinel: SentinelTopology) -> None:
    """Wait until both replicas have what the primary has now."""
    primary = sentinel.primary()
    assert primary is not None
    async with redis.asyncio.Redis.from_url(primary.url) as raw:
        await raw.set("written", 1)
        assert await raw.wait(2, 30_000) == 2  # type: ignore[no-untyped-call]


@pytest.fixture
async def sentinel() -> AsyncIterator[SentinelTopology]:
    topology = await asyncio.to_thread(start_topology, "sentinel")
    assert isinstance(topology, SentinelTopology)
    yield topology
    await asyncio.to_thread(topology.stop)


async def test_f37_schedules_of_a_wiped_redis_go_on_from_what_postgres_has(
    own_server: RedisServer, namespace: str, database_url: str
) -> None:
    """FLUSHALL under two schedulers: they begin anew from what Postgres has, and no tick of before fires again."""
    scene = Scene(own_server.url, namespace, database_url=database_url)
    ticker, queue = Ticker(scene), scene.queue()
    await ticker.start(queue)
    await _make_old(database_url)
    async with scheduling(queue, scene.queue()):
        await fires(queue, 2, within_s=_WITHIN_S)
        await _all_shipped(queue)
        async with redis.asyncio.Redis.from_url(own_server.url) as raw:
            wiped_ms = int(time.time() * 1000)
            await raw.flushall()
        before = await fired(queue)

        async def goes_on() -> bool:
            return sum(each.tick_ms > wiped_ms for each in await fired(queue)) >= 3

        await eventually(goes_on, within_s=_WITHIN_S, poll_s=0.2)
        await queue.schedules.remove("s")
        await _all_shipped(queue)
        found = await records(queue)
    async with scene.working():
        await eventually(lambda: len(ticker.runs) >= 3, within_s=_WITHIN_S)
    await scene.close()

    check_each_once(found)
    after = [each for each in found if each.tick_ms > wiped_ms]
    check_without_gap(schedule(), after)
    # What was due at the wipe may be decided after it; nothing that is older than what was decided before.
    newest_ms = max(each.tick_ms for each in before)
    due = [each for each in found if newest_ms < each.tick_ms <= wiped_ms]
    assert {each.tick_ms for each in found} == {each.tick_ms for each in (*before, *due, *after)}


async def _make_old(database_url: str) -> None:
    """As if the schedule had been made an hour ago: one just made begins with its first tick, wherever it stands."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE jobqueue.schedules SET since_ms = since_ms - 3600000")
    await connection.close()


async def _all_shipped(queue: JobQueue) -> None:
    broker = queue.parts.redis
    assert broker is not None

    async def look() -> bool:
        return not await broker.call(["XLEN", broker.keys("default").ticks])

    await eventually(look, within_s=_WITHIN_S)


# Postgres away


async def test_f76_schedules_fire_on_while_postgres_is_away_and_their_record_arrives_once(
    redis_url: str, namespace: str, database_url: str
) -> None:
    """Postgres away: schedules fire by what was read last, an edit is refused, and later every record is there once."""
    async with fault_proxy(database_url) as between:
        scene = Scene(redis_url, namespace, database_url=between.through(database_url))
        ticker, queue = Ticker(scene), scene.queue()
        await ticker.start(queue)
        async with scheduling(queue, scene.queue()), scene.working():
            await fires(queue, 1, within_s=_WITHIN_S)
            between.refuse()
            between.reset()
            ran = len(ticker.runs)
            await eventually(lambda: len(ticker.runs) >= ran + 3, within_s=_WITHIN_S)
            with pytest.raises(RepositoryUnavailable):
                await queue.schedules.pause("s")
            between.heal()

            async def remove() -> bool:
                with suppress(RepositoryUnavailable):
                    await queue.schedules.remove("s")
                    return True
                return False

            await eventually(remove, within_s=_WITHIN_S)
            await _all_shipped(queue)
            found = await records(queue)
            await scene.ended(queue, len(found), within_s=_WITHIN_S)
            await eventually(_history_shipped(queue), within_s=_WITHIN_S)
        await scene.close()

    check_each_once(found)
    check_without_gap(schedule(), found)
    assert ticker.runs == Counter(each.job_id for each in found)


def _history_shipped(queue: JobQueue) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await queue.stats("default")).journal == 0

    return look


# The clock of the server


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Of a server that is started with its environment."""
    if obstacle := faketime_obstacle():
        pytest.skip(obstacle)
    with fake_clock() as clock:
        yield clock


def _set(clock: FakeClock, instant: datetime) -> None:
    """Let it be *instant* there now."""
    clock.shift((instant - datetime.now(UTC)).total_seconds())


async def test_f64_no_tick_fires_twice_though_the_servers_clock_jumps(clock: FakeClock, namespace: str) -> None:
    """The server's clock jumps ten minutes ahead, back, and ten behind: each tick is decided once, in their order."""
    with start_topology("standalone", env=clock.env) as topology:
        scene = Scene(topology.url, namespace)
        ticker, queue = Ticker(scene), scene.queue()
        await ticker.start(queue, misfire="once")
        async with scheduling(queue, scene.queue()), scene.working():
            await fires(queue, 2, within_s=_WITHIN_S)
            for jump_s in (600, 0, -600, 0, 600, 1200):
                clock.shift(jump_s)
                await asyncio.sleep(1.2)
            await fires(queue, 4, within_s=_WITHIN_S)
            await queue.schedules.remove("s")
            found = await records(queue)
            await scene.ended(queue, len([each for each in found if each.job_id]), within_s=_WITHIN_S)
        await scene.close()

    check_each_once(found)
    check_without_gap(schedule(), found)
    assert ticker.runs == Counter(each.job_id for each in found if each.job_id)


BERLIN = "Europe/Berlin"
FALL, SPRING = datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "fixed", "interval"),
    [(FALL, ["00:30"], ["00:30", "01:00", "01:30"]), (SPRING, ["01:00"], ["00:30", "01:00", "01:30"])],
    ids=["clocks go back", "clocks go forward"],
)
async def test_f65_when_the_clocks_change_a_fixed_time_fires_once_and_an_interval_each_time(
    clock: FakeClock, namespace: str, day: datetime, fixed: list[str], interval: list[str]
) -> None:
    """The hour of 02:30 comes twice, or not at all: a fixed time fires once, an interval each time there is one."""
    _set(clock, day)
    with start_topology("standalone", env=clock.env) as topology:
        scene = Scene(topology.url, namespace)
        ticker, queue = Ticker(scene), scene.queue()
        await ticker.start(queue, "fixed", "0 30 2 * * *", timezone=BERLIN)
        await ticker.start(queue, "interval", "0 */30 * * * *", timezone=BERLIN)
        # Fires each second, so that schedulers hear what time it is.
        await ticker.start(queue, "second", misfire="skip")
        async with scheduling(queue, scene.queue()), scene.working():
            for minutes in (30, 60, 90):
                _set(clock, day + timedelta(minutes=minutes, seconds=-1))

                async def come(until: datetime = day + timedelta(minutes=minutes, seconds=1)) -> bool:
                    return await now_ms(queue) > until.timestamp() * 1000 and await _stands(queue, until)

                await eventually(come, within_s=_WITHIN_S)
            for name in ("fixed", "interval", "second"):
                await queue.schedules.remove(name)
            found = {name: await records(queue, name) for name in ("fixed", "interval", "second")}
            made = [each.job_id for told in found.values() for each in told if each.decision is Decision.FIRED]
            await scene.ended(queue, len(made), within_s=_WITHIN_S)
        await scene.close()

    assert _times(found["fixed"], day) == fixed
    assert _times(found["interval"], day) == interval
    assert all(each.decision is Decision.FIRED for each in (*found["fixed"], *found["interval"]))
    assert ticker.runs == Counter(made)


async def _stands(queue: JobQueue, until: datetime) -> bool:
    """Every tick up to then is decided."""
    look = await queue.parts.broker.timetable.look("default", ["second"])
    return look.standings["second"].last_ms >= until.timestamp() * 1000


def _times(found: list[TickRecord], day: datetime) -> list[str]:
    return [f"{from_ms(each.tick_ms):%H:%M}" for each in found if from_ms(each.tick_ms).date() == day.date()]
