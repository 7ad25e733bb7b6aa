"""The record of ticks, from a real Redis to a real Postgres: each decision once, and while one of the two is away."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.bootstrap import Parts, wire
from jobqueue.config import Settings
from jobqueue.embedded import start_postgres, start_redis
from jobqueue.errors import BrokerUnavailable, RepositoryUnavailable
from jobqueue.repository.postgres.migrate import migrate_up
from jobqueue.repository.schedules import TickFilter
from jobqueue.tick import Decision, TickRecord
from tests.contract.test_tick_records import MINUTE, TICK, minutes, note, pages, record
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

FIRED = TickFilter(decision=Decision.BACKFILLED)


async def waiting(parts: Parts) -> list[str]:
    return await parts.broker.journal.waiting_in(await parts.broker.queues(), "ticks")


async def test_f72_every_decision_arrives_exactly_once_while_many_ship(scene: Scene) -> None:
    """Three schedulers and three readers that ship at once: every decision about a tick is in Postgres exactly once."""
    queues = [scene.queue() for _ in range(3)]
    parts = queues[0].parts
    noted = [record(n, queue=f"q{n % 4}") for n in range(600)]

    async with scheduling(*queues):
        for start in range(0, 600, 40):
            await parts.broker.timetable.note(noted[start : start + 40])
            await asyncio.gather(*(queue.parts.ticks.search(FIRED, limit=5) for queue in queues))
        await eventually(lambda: _nothing_waits(parts), within_s=30)

    assert sorted(minutes(await pages(parts, FIRED, limit=200))) == list(range(600))


async def _nothing_waits(parts: Parts) -> bool:
    return not await waiting(parts)


async def test_a_decision_is_shown_at_once_without_a_scheduler(scene: Scene) -> None:
    parts = scene.queue().parts
    for n in range(5):
        await note(parts, record(n, queue=f"q{n}"))

        assert minutes((await parts.ticks.search(FIRED, limit=1))[0]) == [n]
        assert minutes((await parts.ticks.newest(["digest"])).values()) == [n]  # type: ignore[arg-type]
        assert len(await parts.ticks.fired("digest", since=TICK, until=TICK + 10 * MINUTE)) == n + 1


async def test_a_tick_that_is_being_shipped_counts_as_fired(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill must not make its job again; another process may hold the cursor, its rows not yet committed."""
    parts = scene.queue().parts
    assert parts.shipping is not None
    await note(parts, record(1))
    journal, archive = parts.broker.journal, parts.shipping.archive
    epoch, primary = await journal.epoch("q1"), await journal.primary("q1")
    assert epoch is not None

    async with archive.cursor("q1", "ticks", epoch, primary) as cursor:
        page = await journal.read("q1", "ticks", after="0-0", count=10)
        assert cursor is not None
        assert page is not None
        await cursor.ship(executions=[], dead_letters=[], ticks=page.ticks, upto=page.last)
        made = await parts.ticks.fired("digest", since=TICK, until=TICK + 10 * MINUTE)

    assert len(made) == 1


async def test_f70_while_postgres_is_away_what_waits_for_it_is_shown_and_all_arrives_later(
    redis_url: str, namespace: str
) -> None:
    """While Postgres is away the newest decisions are shown from Redis; nothing is said that Postgres alone knows."""
    with start_postgres() as postgres:
        await migrate_up(postgres.url)
        parts = wired(redis_url, namespace, postgres.url)
        await note(parts, *(record(n) for n in range(3)))
        assert len(await pages(parts, FIRED, limit=2)) == 3
        _, after = await parts.ticks.search(FIRED, limit=2)
        postgres.kill()
        await note(parts, *(record(n) for n in range(3, 6)))

        assert minutes((await parts.ticks.search(FIRED, limit=10))[0]) == [5, 4, 3]
        with pytest.raises(RepositoryUnavailable):
            await parts.ticks.search(FIRED, limit=2, after=after)
        with pytest.raises(RepositoryUnavailable):
            await parts.ticks.fired("digest", since=TICK, until=TICK + MINUTE)
        postgres.restart()

        assert minutes(await pages(parts, FIRED, limit=2)) == [5, 4, 3, 2, 1, 0]
        assert await waiting(parts) == []
        await parts.close()


async def test_while_redis_is_away_what_postgres_has_is_shown(scene: Scene, namespace: str) -> None:
    with start_redis() as server:
        assert scene.database_url is not None
        parts = wired(server.url, namespace, scene.database_url, REDIS_TIMEOUT="1s")
        await note(parts, *(record(n) for n in range(3)))
        await parts.ticks.newest([])
        server.kill()

        assert minutes((await parts.ticks.search(FIRED, limit=10))[0]) == [2, 1, 0]
        assert minutes(list((await parts.ticks.newest(["digest"])).values())) == [2]
        with pytest.raises(BrokerUnavailable):
            await parts.ticks.fired("digest", since=TICK, until=TICK + MINUTE)
        await parts.close()


def wired(redis_url: str, namespace: str, database_url: str, **more: object) -> Parts:
    given = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "JOBQUEUE_NAMESPACE": namespace, **more}
    return wire(Settings.load({}, overrides=given))


async def test_a_record_that_is_older_than_the_others_is_shown_in_its_place(scene: Scene) -> None:
    """One queue was shipped late."""
    parts = scene.queue().parts
    assert parts.shipping is not None
    at_ms = 1_795_348_800_000
    for n, queue in enumerate(["late", "q"]):
        async with parts.shipping.archive.cursor(queue, "ticks", "e") as cursor:
            assert cursor is not None
            ticks = [record(k, queue=queue, at_ms=at_ms + 1000 * k - n) for k in range(10)]
            await cursor.ship(executions=[], dead_letters=[], ticks=ticks, upto="1-0")

    found = await pages(parts, TickFilter(since=datetime(2000, 1, 1, tzinfo=UTC)), limit=3)

    assert [(each.tick_ms - ticks[0].tick_ms, each.queue) for each in found] == [
        (k * (MINUTE // timedelta(milliseconds=1)), queue) for k in range(9, -1, -1) for queue in ("late", "q")
    ]
    newest: TickRecord = (await parts.ticks.newest(["digest"]))["digest"]
    assert newest.queue == "late"
