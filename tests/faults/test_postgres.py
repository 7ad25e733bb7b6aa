"""Postgres away, hanging, full or of another version: no job waits for it (F70, F73, F76, F78)."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from jobqueue.app import JobQueue
from jobqueue.embedded import start_postgres
from jobqueue.errors import RepositoryUnavailable
from jobqueue.loop import Heartbeat
from jobqueue.repository.base import LetterFilter
from jobqueue.repository.postgres.migrate import migrate_up
from tests.integration.scheduler.test_shipping import scheduling, shipped
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually
from testutil.proxy import FaultProxy, fault_proxy
from testutil.topology.disk import fill_disk, small_disk, small_disk_obstacle


class Mixed:
    """Jobs of which every tenth dies at once."""

    def __init__(self, scene: Scene) -> None:
        self.task = scene.registry.task("t", max_retries=0)(self.run)

    async def run(self, n: int) -> None:
        if n % 10 == 0:
            raise ValueError(f"number {n}")

    async def enqueue(self, queue: JobQueue, count: int) -> None:
        await queue.enqueue_many([self.task.job(n) for n in range(count)])


async def arrived(queue: JobQueue) -> tuple[int, int, int]:
    """Completed and dead executions, and dead letters, in Postgres."""
    assert queue.executions is not None
    by_outcome = await queue.executions.count_by_outcome(queue=None, since=None)
    return by_outcome.get("completed", 0), by_outcome.get("dead", 0), await queue.dead_letters.count(LetterFilter())


@pytest.fixture
async def between(database_url: str) -> AsyncIterator[FaultProxy]:
    """In front of Postgres."""
    async with fault_proxy(database_url) as proxy:
        yield proxy


# away, hanging


async def test_f70_dead_letters_stay_in_redis_until_postgres_has_them(
    redis_url: str, namespace: str, between: FaultProxy
) -> None:
    """1 000 jobs die while Postgres is away: each is seen at once, and arrives exactly once."""
    scene = Scene(redis_url, namespace, database_url=between.url)
    task = scene.registry.task("t", max_retries=0)(_fail)
    queue = scene.queue()
    jobs = [task.job() for _ in range(1_000)]
    between.refuse()
    between.reset()
    await queue.enqueue_many(jobs)
    async with scheduling(queue), scene.working(concurrency=50):
        stats = await scene.ended(queue, 1_000, within_s=30)
        assert (stats.died, stats.dead) == (1_000, 1_000)
        assert (await queue.dead_letters.get(jobs[7].id)).letter.job_id == jobs[7].id
        with pytest.raises(RepositoryUnavailable):
            await queue.dead_letters.requeue(jobs[7].id)
        between.heal()
        await shipped(queue)

    assert await arrived(queue) == (0, 1_000, 1_000)
    await scene.close()


async def _fail() -> None:
    raise ValueError("always")


@pytest.mark.parametrize("how", ["locked", "half open"])
async def test_f73_no_settlement_waits_for_a_postgres_that_hangs(
    redis_url: str, namespace: str, database_url: str, between: FaultProxy, how: str
) -> None:
    """Postgres hangs, by a lock or behind a dead network: 500 jobs run and end, and their history arrives later."""
    scene = Scene(redis_url, namespace, database_url=between.url)
    mixed, queue = Mixed(scene), scene.queue()
    looking = await asyncpg.connect(database_url)
    async with scheduling(queue), scene.working(concurrency=20):
        await mixed.enqueue(queue, 10)
        await scene.ended(queue, 10)
        await shipped(queue)
        async with hanging(looking, between, how):
            await mixed.enqueue(queue, 500)
            stats = await scene.ended(queue, 510, within_s=30)
            assert stats.dead > 0 or stats.journal > 0
        await shipped(queue)
    await looking.close()

    assert await arrived(queue) == (459, 51, 51)
    await scene.close()


@asynccontextmanager
async def hanging(looking: asyncpg.Connection, between: FaultProxy, how: str) -> AsyncIterator[None]:
    if how == "half open":
        between.half_open()
        yield
        between.heal()
    else:
        async with looking.transaction():
            await looking.execute("LOCK TABLE jobqueue.executions, jobqueue.dead_letters IN ACCESS EXCLUSIVE MODE")
            yield


# history beyond its bound


async def test_f76_history_beyond_its_bound_is_dropped_and_counted_and_no_dead_letter_is(
    redis_url: str, namespace: str, between: FaultProxy
) -> None:
    """Postgres away and a journal of 20 kB: the oldest history goes and is counted; every dead letter is kept."""
    scene = BoundedScene(redis_url, namespace, database_url=between.url)
    mixed, queue = Mixed(scene), scene.queue()
    between.refuse()
    between.reset()
    await mixed.enqueue(queue, 1_000)
    async with scheduling(queue), scene.working(concurrency=20):
        stats = await scene.ended(queue, 1_000, within_s=30)
        assert stats.journal_dropped > 0
        assert stats.dead == 100
        assert (
            int(await queue.parts.redis.call(["MEMORY", "USAGE", queue.parts.redis.keys("default").journal])) < 100_000
        )  # type: ignore[union-attr]
        between.heal()
        await shipped(queue)
    completed, dead, letters = await arrived(queue)

    assert completed + dead + stats.journal_dropped == 1_000
    assert completed + dead > 0
    assert letters == 100
    await scene.close()


class BoundedScene(Scene):
    def settings(self, **options: object) -> object:  # type: ignore[override]
        settings = super().settings(**options)  # type: ignore[arg-type]
        return replace(settings, redis=replace(settings.redis, journal_max_bytes=20_000))


# refused


@pytest.fixture
def cramped() -> Iterator[tuple[str, Path]]:
    """A Postgres of this test's own that keeps what is new on a small disk: its URL, and the disk."""
    if obstacle := small_disk_obstacle():
        pytest.skip(obstacle)
    with small_disk(16) as disk, start_postgres() as server:
        url = server.create_database("cramped")
        (disk / "space").mkdir()
        asyncio.run(_keep_on(disk / "space", url, (server.data_dir / "data").stat()))
        yield url, disk


async def _keep_on(folder: Path, url: str, owner: os.stat_result) -> None:
    """Migrate *url*, and keep its dead letters and the partitions that are yet to be made in *folder*."""
    os.chown(folder, owner.st_uid, owner.st_gid)
    await migrate_up(url)
    sql = await asyncpg.connect(url)
    await sql.execute(f"CREATE TABLESPACE tiny LOCATION '{folder}'")
    await sql.execute("ALTER TABLE jobqueue.dead_letters SET TABLESPACE tiny")
    await sql.execute("ALTER DATABASE cramped SET default_tablespace = tiny")
    await sql.close()


async def test_f78_a_full_disk_under_postgres_holds_up_the_history_and_no_job(
    redis_url: str, namespace: str, cramped: tuple[str, Path]
) -> None:
    """The disk under Postgres is full: jobs run on, and their history arrives when there is room again."""
    url, disk = cramped
    scene = Scene(redis_url, namespace, database_url=url)
    mixed, queue = Mixed(scene), scene.queue()
    scheduler = queue.parts.scheduler()
    with fill_disk(disk):
        await mixed.enqueue(queue, 1_000)
        work = asyncio.create_task(scheduler.run())
        async with scene.working(concurrency=20):
            stats = await scene.ended(queue, 1_000, within_s=30)
            ship = await eventually(lambda: scheduler.heartbeats.get("ship:default"))
            await eventually(lambda: ship.failures >= 2, within_s=30)
    assert stats.journal_dropped == 0
    await shipped(queue)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    assert await arrived(queue) == (900, 100, 100)
    await scene.close()


async def test_f78_a_schema_of_another_version_stops_the_history_with_a_clear_error(
    stored_scene: Scene, database_url: str
) -> None:
    """A schema that is not ours: jobs run on, shipping fails loudly and goes on when the schema is mended."""
    mixed, queue = Mixed(stored_scene), stored_scene.queue()
    sql = await asyncpg.connect(database_url)
    await sql.execute("ALTER TABLE jobqueue.executions RENAME COLUMN outcome TO result")
    scheduler = queue.parts.scheduler()
    work = asyncio.create_task(scheduler.run())
    async with stored_scene.working(concurrency=20):
        await mixed.enqueue(queue, 100)
        await stored_scene.ended(queue, 100)
        ship: Heartbeat = await eventually(lambda: scheduler.heartbeats.get("ship:default"))
        await eventually(lambda: ship.failures >= 1)
        assert (await queue.stats("default")).journal > 0
        await sql.execute("ALTER TABLE jobqueue.executions RENAME COLUMN result TO outcome")
        await shipped(queue)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await sql.close()

    assert await arrived(queue) == (90, 10, 10)
