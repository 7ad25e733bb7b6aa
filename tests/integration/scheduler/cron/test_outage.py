"""What schedules do while servers are away, come back empty, or have forgotten the last second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis
from structlog.testing import capture_logs

from jobqueue.app import JobQueue
from jobqueue.clock import from_ms
from jobqueue.embedded import start_postgres, start_redis
from jobqueue.errors import BrokerError, RepositoryUnavailable
from jobqueue.job import Job
from jobqueue.repository.postgres.migrate import migrate_up
from jobqueue.schedule import Definition, Overlap, ScheduleState
from jobqueue.tick import Decision, Reason
from tests.integration.scheduler.cron.timeline import (
    check_each_once,
    check_without_gap,
    fired,
    fires,
    now_ms,
    records,
    schedule,
)
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Any]:
    client = redis.from_url(url)  # type: ignore[no-untyped-call]
    try:
        yield client
    finally:
        await client.aclose()


async def test_schedules_go_on_while_postgres_is_away_and_an_edit_then_counts_at_once(
    redis_url: str, namespace: str
) -> None:
    with start_postgres() as postgres:
        await migrate_up(postgres.url)
        scene = Scene(redis_url, namespace, database_url=postgres.url)
        queue = scene.queue()
        await queue.schedules.save(schedule(job=Job("t", {"n": 1})))
        with capture_logs() as logs:
            async with scheduling(queue, scene.queue()):
                await _stands_at(queue, 2)
                postgres.kill()
                await _stands_at(queue, 4)
                with pytest.raises(RepositoryUnavailable):
                    await queue.schedules.save(schedule(job=Job("t", {"n": 2})))
                await eventually(lambda: _events(logs, "schedules.store_away") == 2, within_s=30)
                await _stands_at(queue, 2)
                postgres.restart()
                edited = await _saved(queue)
                await _stands_at(queue, 2)
                found = await records(queue)
        await scene.close()

    assert _events(logs, "schedules.store_away") == 2  # once each
    check_each_once(found)
    check_without_gap(schedule(), found)
    assert {each.version for each in found} == {1, edited}


async def _stands_at(queue: JobQueue, ticks: int) -> None:
    """Wait until so many ticks more have been decided, by what Redis says."""
    timetable = queue.parts.broker.timetable
    began = (await timetable.look("default", ["s"])).standings["s"].last_ms

    async def look() -> bool:
        return (await timetable.look("default", ["s"])).standings["s"].last_ms >= began + ticks * 1000

    await eventually(look, within_s=30)


async def _saved(queue: JobQueue) -> int:
    async def look() -> int:
        try:
            return (await queue.schedules.save(schedule(job=Job("t", {"n": 2})))).version
        except RepositoryUnavailable:
            return 0

    return await eventually(look, within_s=30)


def _events(logs: list[Any], event: str) -> int:
    return sum(each["event"] == event for each in logs)


async def test_after_a_restart_of_redis_each_tick_is_decided_once(namespace: str, tmp_path: Path) -> None:
    with start_redis(data_dir=tmp_path, appendonly=True) as server:
        scene = Scene(server.url, namespace)
        queue = scene.queue()
        await queue.schedules.save(schedule(misfire="all"))
        async with scheduling(queue, scene.queue(), scene.queue()):
            await fires(queue, 2)
            server.stop()
            server.restart()
            before = await eventually(lambda: _fired(queue), within_s=30)
            await fires(queue, len(before) + 2)
            found = await records(queue)
        await scene.close()

    check_each_once(found)
    check_without_gap(schedule(), found)


async def _fired(queue: JobQueue) -> list[Any]:
    try:
        return await fired(queue)
    except BrokerError:
        return []


async def test_on_an_emptied_redis_schedules_begin_anew_and_fire_nothing_of_the_past(
    postgres: Any, namespace: str
) -> None:
    """The definitions are in Postgres, a day old; where they stood is lost."""
    url = postgres.create_database(f"emptied_{namespace}", template="migrated")
    with start_redis(appendonly=False) as server:
        scene = Scene(server.url, namespace, database_url=url)
        queue = scene.queue()
        yesterday_ms = await now_ms(queue) - 86_400_000
        at = from_ms(yesterday_ms)
        wanted = schedule(misfire="all")
        definition = Definition(schedule=wanted, version=1, since_ms=yesterday_ms, changed_at=at, created_at=at)
        await queue.parts.schedules.put(definition, expected=0)
        async with scheduling(queue, scene.queue()):
            await fires(queue, 2)
            async with raw(server.url) as client:
                before_ms = await now_ms(queue)
                await client.flushall()
                after_ms = await now_ms(queue)
            await eventually(lambda: _fired_since(queue, after_ms, 2))
        found = [each for each in await fired(queue) if each.at_ms > after_ms]
        await scene.close()

    assert all(each.tick_ms > before_ms for each in found)
    assert {each.reason for each in found} == {Reason.ON_TIME}
    check_each_once(found)


async def _fired_since(queue: JobQueue, at_ms: int, count: int) -> bool:
    return len([each for each in await fired(queue) if each.at_ms > at_ms]) >= count


@pytest.mark.parametrize("change", ["new", "edit", "move", "pause", "remove"])
async def test_an_edit_that_died_before_it_counted_is_completed_by_the_next_scheduler(bare: Scene, change: str) -> None:
    queue = bare.queue()
    store, timetable = queue.parts.schedules, queue.parts.broker.timetable
    since_ms = await now_ms(queue)
    at = from_ms(since_ms)
    wanted = schedule(job=Job("t", queue="one"), overlap=Overlap.QUEUE)
    if change == "new":
        kept = Definition(schedule=wanted, version=1, since_ms=since_ms, changed_at=at, created_at=at)
        await store.put(kept, expected=0)
    else:
        await queue.schedules.save(wanted)
        async with scheduling(queue):
            await eventually(lambda: _waiting(queue), within_s=30)
        current = await store.get("s")
        assert current is not None
        since_ms = await now_ms(queue, "one")
        state = {"pause": ScheduleState.PAUSED, "remove": ScheduleState.REMOVED}.get(change)
        to = {"edit": schedule(job=Job("t2", queue="one")), "move": schedule(job=Job("t", queue="two"))}.get(change)
        await store.put(current.changed(since_ms=since_ms, at=at, state=state, schedule=to), expected=1)
    kept_now = await store.get("s")
    assert kept_now is not None
    place = kept_now.schedule.queue

    async def stands() -> bool:
        look = await timetable.look(place, ["s"])
        standing = look.standings.get("s")
        if standing is None or standing.version != kept_now.version:
            return False
        return change != "remove" or not standing.waiting

    async with scheduling(queue, bare.queue()):
        await eventually(stands, within_s=30)
        if change in ("new", "edit", "move"):
            await eventually(lambda: _fired_on(queue, place, since_ms), within_s=30)
    found = await records(queue)

    check_each_once(found)
    late = [each for each in found if each.tick_ms > since_ms and each.decision is not Decision.SKIPPED]
    assert {each.version for each in late} <= {kept_now.version}
    if change in ("pause", "remove"):
        assert late == []


async def _waiting(queue: JobQueue) -> bool:
    return (await queue.schedules.get("s")).waiting > 0


async def _fired_on(queue: JobQueue, place: str, since_ms: int) -> bool:
    return any(each.queue == place and each.tick_ms > since_ms for each in await fired(queue))


async def test_a_version_that_a_failover_forgot_is_adopted_again(bare: Scene) -> None:
    """What stood in Redis before the edit is put back, as by a replica that was a second behind."""
    queue = bare.queue()
    await queue.schedules.save(schedule(job=Job("t", {"n": 1})))
    async with scheduling(queue, bare.queue()), raw(bare.url) as client:
        await fires(queue, 1)
        key = next(key for key in await client.keys(f"{{{bare.namespace}:default}}*") if key.endswith(b":cron"))
        before = await client.hgetall(key)
        edited = await queue.schedules.save(schedule(job=Job("t", {"n": 2})))
        await client.hset(key, mapping=before)
        await eventually(lambda: _fired_version(queue, edited.version), within_s=30)
    found = await records(queue)

    # What was decided in the second that was forgotten is decided again.
    check_without_gap(schedule(), list({each.tick_ms: each for each in found}.values()))
    by_edited = [each.tick_ms for each in found if each.version == 2]
    assert min(by_edited) > edited.changed_at.timestamp() * 1000


async def _fired_version(queue: JobQueue, version: int) -> bool:
    return any(each.version == version for each in await fired(queue))


async def test_a_schedule_that_cannot_be_read_holds_up_no_other(bare: Scene) -> None:
    """A newer version of jobqueue wrote it, or this machine does not know its time zone."""
    queue = bare.queue()
    await queue.schedules.save(schedule())
    since_ms = await now_ms(queue)
    foreign = msgspec.structs.replace(schedule("mars"), timezone="Mars/Olympus_Mons")
    at = from_ms(since_ms)
    definition = Definition(schedule=foreign, version=1, since_ms=since_ms, changed_at=at, created_at=at)
    await queue.parts.schedules.put(definition, expected=0)
    with capture_logs() as logs:
        async with scheduling(queue):
            await fires(queue, 3)
    refused = [each for each in logs if each["event"] == "schedule.refused"]

    assert [(each["schedule"], each["log_level"]) for each in refused] == [("mars", "error")]
    assert "Mars/Olympus_Mons" in refused[0]["error"]
    status = await queue.schedules.get("mars")
    assert (status.next_at, "Mars/Olympus_Mons" in status.description) == (None, True)
    assert [each.name for each in await queue.schedules.list()] == ["mars", "s"]


async def test_while_redis_is_full_ticks_are_held_up_and_then_follow_the_misfire_rule(namespace: str) -> None:
    with start_redis(appendonly=False) as server:
        scene = Scene(server.url, namespace)
        queue = scene.queue()
        await queue.schedules.save(schedule(misfire="all", grace=timedelta(hours=1)))
        with capture_logs() as logs:
            async with scheduling(queue), raw(server.url) as client:
                await fires(queue, 1)
                await client.config_set("maxmemory", 1)
                await eventually(lambda: _events(logs, "schedule.held_up"), within_s=30)
                await client.config_set("maxmemory", 0)
                await fires(queue, len(await fired(queue)) + 2)
        found = await records(queue)
        await scene.close()

    assert _events(logs, "schedule.held_up") == 1
    check_each_once(found)
    check_without_gap(schedule(), found)
