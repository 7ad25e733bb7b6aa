"""Schedules under failure: any number of schedulers, dying, with wrong clocks, and edits while they fire (F60 to F66).

`task test:cron` runs F60 with eight schedulers for two minutes; here it is shorter.
"""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from jobqueue.broker import scripts
from jobqueue.embedded import RedisServer
from jobqueue.tick import Decision, Reason, TickRecord
from tests.faults.crash_scene import WITHIN_S, Process
from tests.faults.cron_scene import CronScene, assert_each_fired_once
from testutil.chaos.check_ticks import check_ticks
from testutil.chaos.editions import read_editions, watch_editions
from testutil.chaos.evidence import gather
from testutil.chaos.final import FinalState, Tick
from testutil.chaos.history import Edited, Editing, Record, Ticked, now
from testutil.chaos.timetable import expression
from testutil.chaos.verdict import Rules
from testutil.eventually import eventually
from testutil.proxy import FaultProxy, ProxyHost
from testutil.topology.clock import FakeClock, fake_clock, faketime_obstacle

SCHEDULERS = int(os.environ.get("CRON_SCHEDULERS", "4"))
SECONDS = float(os.environ.get("CRON_SECONDS", "8"))
TROUBLES = int(SECONDS / 4)
EDITS = 12
HOUR = timedelta(hours=1)


@pytest.fixture
async def scene(redis_url: str, namespace: str, database_url: str, tmp_path: Path) -> AsyncIterator[CronScene]:
    """On the session's Valkey."""
    # A name that no process of another run knows, should one have outlived it.
    scene = CronScene(redis_url, f"{namespace}_{os.getpid()}", database_url, tmp_path)
    yield scene
    await scene.close()


@pytest.fixture
async def own_scene(
    own_server: RedisServer, namespace: str, database_url: str, tmp_path: Path
) -> AsyncIterator[CronScene]:
    """On a Valkey of this test's own, which syncs every write."""
    scene = CronScene(own_server.url, namespace, database_url, tmp_path)
    yield scene
    await scene.close()


@pytest.fixture
def clocks() -> Iterator[list[FakeClock]]:
    """The wall clocks of two hosts: of processes that are started with their environment."""
    if obstacle := faketime_obstacle():
        pytest.skip(obstacle)
    with fake_clock() as one, fake_clock() as other:
        yield [one, other]


# F60: several schedulers, a bad network, deaths


@pytest.mark.timeout(SECONDS + 240)
async def test_f60_schedulers_that_are_cut_off_and_killed_fire_each_tick_once(scene: CronScene, redis_url: str) -> None:
    """Schedulers on a slow and lossy network, killed and restarted: one job for each tick, none missing, none twice."""
    with ProxyHost() as host:
        proxy = host.add(redis_url)
        crew = await scene.start_schedulers(SCHEDULERS, REDIS_URL=proxy.url)
        began = await scene.upsert("each", misfire="all")
        async with _misfortune(scene, proxy, crew) as troubles:
            await scene.for_seconds(SECONDS)
            await eventually(lambda: min(troubles.kills, proxy.faults) >= TROUBLES, within_s=WITHIN_S, poll_s=0.1)
        proxy.heal()
        ended_ms = await scene.remove("each")
        records = await scene.over()

    assert_each_fired_once("each", _ms(began.changed_at), ended_ms, records, scene)
    if SECONDS >= 60:  # else the start of the processes counts for more than what befalls them
        assert all(record.at_ms - record.tick_ms < 60_000 for record in records)
    print(_report(troubles, proxy, records, scene))


@dataclass
class _Troubles:
    kills: int = 0


@asynccontextmanager
async def _misfortune(scene: CronScene, proxy: FaultProxy, crew: list[Process]) -> AsyncIterator[_Troubles]:
    """Every now and then a scheduler is killed, and another one started in its place; the network does what it does."""
    troubles = _Troubles()
    tasks = [asyncio.create_task(_kill(scene, proxy, crew, troubles)), asyncio.create_task(_disturb(proxy))]
    try:
        yield troubles
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kill(scene: CronScene, proxy: FaultProxy, crew: list[Process], troubles: _Troubles) -> None:
    rng = random.Random(1)
    while True:
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        place = rng.randrange(len(crew))
        crew[place].kill()
        troubles.kills += 1
        crew[place] = scene.scheduler(REDIS_URL=proxy.url)


async def _disturb(proxy: FaultProxy) -> None:
    rng = random.Random(2)
    fire = scripts.FIRE.sha.encode()
    while True:
        proxy.heal()
        proxy.latency(rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.1))
        match rng.randrange(4):
            case 0:
                proxy.drop_reply(fire, times=2)
            case 1:
                proxy.drop_request(fire, times=2)
            case 2:
                proxy.swallow_reply(fire)
            case 3:
                proxy.reset()
        await asyncio.sleep(rng.uniform(0.3, 1.0))


def _report(troubles: _Troubles, proxy: FaultProxy, records: list[TickRecord], scene: CronScene) -> str:
    late = sorted(record.at_ms - record.tick_ms for record in records)
    return (
        f"F60: {SCHEDULERS} schedulers, {SECONDS:g} s, {troubles.kills} killed, {proxy.faults} requests or replies "
        f"lost: {len(records)} ticks, {len(scene.starts())} runs; decided after p50 {late[len(late) // 2]} ms, "
        f"max {late[-1]} ms"
    )


# F62: nobody for an hour


async def test_f62_an_hour_without_schedulers_is_made_up_for_as_the_rule_says(
    own_scene: CronScene, own_server: RedisServer
) -> None:
    """No scheduler for an hour, and Redis restarted: ticks are skipped, or fire once, or up to `max_catchup`."""
    scene = own_scene
    stood: dict[str, int] = {}
    for rule in ("skip", "once", "all"):
        # It does not tick before it is put back.
        await scene.upsert(rule, "0 * * * * *", misfire=rule, max_catchup=10, grace=timedelta(seconds=30))
        stood[rule] = await scene.put_back(rule, HOUR)
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.restart)
    now_ms = await scene.now_ms()
    await scene.start_schedulers(2)
    for rule in stood:
        await scene.decided(rule, now_ms // 60_000 * 60_000)
    await scene.remove(*stood)
    records = await scene.over()

    for rule, fired in (("skip", 0), ("once", 1), ("all", 10)):
        _made_up_for(rule, stood[rule], [record for record in records if record.name == rule], fired)


def _made_up_for(rule: str, stood_ms: int, records: list[TickRecord], fired: int) -> None:
    """One record for all that were skipped, one for each that fired; together they are all that were missed."""
    on_time = [record for record in records if record.reason is Reason.ON_TIME]
    missed = [record for record in records if record.reason is not Reason.ON_TIME]
    newest_ms = missed[-1].tick_ms
    first_ms = stood_ms // 60_000 * 60_000 + 60_000
    count = (newest_ms - first_ms) // 60_000 + 1
    reason = {"skip": Reason.MISSED, "once": Reason.MADE_UP, "all": Reason.MAX_CATCHUP}[rule]

    assert count in (59, 60, 61)
    assert missed[0].reason is reason
    assert (missed[0].first_ms, missed[0].count) == (first_ms, count - fired)
    assert [(each.decision, each.reason, each.tick_ms) for each in missed[1:]] == [
        (Decision.FIRED, Reason.CAUGHT_UP, newest_ms - 60_000 * (fired - 1 - n)) for n in range(fired)
    ]
    assert [each.tick_ms for each in on_time] == [newest_ms + 60_000 * (n + 1) for n in range(len(on_time))]


# F63, F64: clocks


async def test_f63_schedulers_with_wrong_clocks_fire_at_the_right_time_and_once(
    scene: CronScene, clocks: list[FakeClock]
) -> None:
    """Scheduler hosts ten minutes ahead and behind, one twice as fast: each tick fires once, none before its time."""
    for clock, told in zip(clocks, ("+600s x1", "-600s x2"), strict=True):
        clock.file.write_text(f"{told}\n")
        await scene.start_schedulers(1, clock=clock)
    began = await scene.upsert("each", misfire="all")
    await scene.for_seconds(2)
    ended_ms = await scene.remove("each")
    records = await scene.over()

    assert_each_fired_once("each", _ms(began.changed_at), ended_ms, records, scene)


# F66: edits


async def test_f66_every_tick_fires_by_the_version_in_force_however_often_it_is_edited(
    scene: CronScene, database_url: str
) -> None:
    """Expression, payload and queue edited in a loop while schedulers fire: each tick once, by the version in force."""
    await watch_editions(database_url)
    await scene.start_schedulers(3)
    editing: list[tuple[str, Record]] = []
    for number in itertools.count(1):
        if number > EDITS and len(await scene.versions()) >= 4:
            break
        editing.append(_told(Editing(at=now(), n=number, op="upsert", name="edited", mark=str(number))))
        status = await scene.upsert(
            "edited",
            expression(1 + number // 3 % 2),
            mark=number,
            queue=f"queue-{number // 2 % 2}",
            misfire="all",
        )
        done = Edited(
            at=now(), n=number, op="upsert", name="edited", mark=str(number), answer="done", version=status.version
        )
        editing.append(_told(done))
        await asyncio.sleep(random.uniform(0, 0.4))
    await scene.remove("edited")
    records = await scene.over()

    found = await _judged(scene, database_url, editing, records)
    assert {rule: told for rule, told in found.items() if told} == {}
    assert Counter(start.job_id for start in scene.starts()) == Counter(record.job_id for record in records)


def _told(record: Record) -> tuple[str, Record]:
    return "editor-1.1", record


async def _judged(
    scene: CronScene, database_url: str, editing: list[tuple[str, Record]], records: list[TickRecord]
) -> dict[str, list[str]]:
    """What the chaos checker finds: every rule about ticks, and what broke it."""
    connection = await asyncpg.connect(database_url)
    editions = await read_editions(connection, scene.queue.parts.settings.redis.namespace)
    await connection.close()
    ran = [
        _told(Ticked(at=now(), id=record.job_id, schedule=record.name, tick_ms=record.tick_ms, mark=str(mark)))
        for record in records
        if record.job_id
        for mark in scene.marks().get(record.job_id, ())
    ]
    ticks = [Tick(**{field: getattr(record, field) for field in Tick.__dataclass_fields__}) for record in records]
    final = FinalState(ticks=ticks, editions=editions)
    broken, _ = check_ticks(gather(final, Rules(), records=[*editing, *ran]))
    return broken


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
