import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from jobqueue import Job, JobQueue
from jobqueue.api import choice, live
from jobqueue.api.health import Readiness
from jobqueue.api.live import Live
from jobqueue.config import PostgresSettings, Settings
from jobqueue.errors import BrokerUnavailable
from jobqueue.repository.base import LetterFilter
from jobqueue.testing import ManualClock
from jobqueue.testing.queue import broker_of, memory_queue
from testutil.eventually import eventually


async def nothing_to_check() -> Mapping[str, bool]:
    return {}


class Scene:
    """A queue in memory, with a live view on it whose time stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue: JobQueue = memory_queue()
        self.live = Live(self.queue, Readiness(nothing_to_check, self.clock), self.clock)

    async def enqueue(self, n: int, queue: str = "mail") -> None:
        await self.queue.enqueue_many(Job("email.send", {"n": i}).replace(queue=queue) for i in range(n))

    def later(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_the_overview_adds_up_its_queues(scene: Scene) -> None:
    await scene.enqueue(3, "mail")
    await scene.enqueue(2, "video")

    overview = await scene.live.overview()

    assert [each.name for each in overview.queues] == ["mail", "video"]
    assert (overview.ready, overview.running, overview.dead, overview.postgres) == (5, 0, 0, "none")
    assert overview.queues[0].depth == {"critical": 0, "high": 0, "medium": 3, "low": 0}


async def test_a_caller_sees_the_queues_of_its_patterns_and_sums_of_those(scene: Scene) -> None:
    await scene.enqueue(3, "mail")
    await scene.enqueue(2, "mail.bulk")
    await scene.enqueue(1, "video")

    overview = await scene.live.overview(["mail*"])

    assert [each.name for each in overview.queues] == ["mail", "mail.bulk"]
    assert overview.ready == 5
    assert [each.name for each in await scene.live.queues(["video"])] == ["video"]
    assert (await scene.live.overview([])).queues == []


async def test_a_caller_whose_queues_come_last_by_name_sees_them_and_hears_of_those_left_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_QUEUES", 3)
    monkeypatch.setattr(live, "MOST_QUEUES", 3)
    for n in range(10):
        await scene.enqueue(1, f"attack.{n}")
    for n in range(5):
        await scene.enqueue(2, f"video.{n}")

    everything = await scene.live.overview()
    assert [each.name for each in everything.queues] == ["attack.0", "attack.1", "attack.2"]
    assert (everything.left_out, everything.ready) == (12, 3)

    mine = await scene.live.overview(["video*"])
    assert [each.name for each in mine.queues] == ["video.0", "video.1", "video.2"]
    assert (mine.left_out, mine.ready) == (2, 6)
    assert [each.name for each in await scene.live.queues(["video.4"])] == ["video.4"]
    assert (await scene.live.overview(["video.4"])).left_out == 0


async def test_the_first_look_invents_no_rates(scene: Scene) -> None:
    await scene.enqueue(100)

    overview = await scene.live.overview()

    assert overview.rates.enqueued == 0.0


async def test_rates_are_of_the_last_minute(scene: Scene) -> None:
    await scene.live.overview()
    await scene.enqueue(0)
    await scene.enqueue(1)
    await scene.live.overview()
    for _ in range(20):
        scene.later(6)
        await scene.enqueue(12)
        overview = await scene.live.overview()
    assert overview.rates.enqueued == pytest.approx(2.0, rel=0.1)

    for _ in range(12):
        scene.later(6)
        overview = await scene.live.overview()
    assert overview.rates.enqueued == 0.0


async def test_counters_that_fell_begin_a_new_minute(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(10)
    await scene.live.overview()
    scene.later(5)
    real = scene.queue.stats

    async def flushed(name: str) -> object:
        stats = await real(name)
        stats.enqueued = 1
        return stats

    monkeypatch.setattr(scene.queue, "stats", flushed)

    overview = await scene.live.overview()

    assert overview.rates.enqueued == 0.0


async def test_many_who_look_at_once_cost_one_look(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(1)
    looks = count_looks(scene, monkeypatch)

    await asyncio.gather(*(scene.live.overview() for _ in range(50)))
    await scene.live.overview()

    assert len(looks) == 1


async def test_a_queue_by_name_is_of_this_moment_and_changes_the_overview(scene: Scene) -> None:
    await scene.enqueue(1)
    await scene.live.overview()
    await scene.queue.pause("mail")

    shown = await scene.live.queue("mail")

    assert shown is not None
    assert shown.paused
    assert (await scene.live.overview()).queues[0].paused
    assert await scene.live.queue("other") is None


async def test_an_outage_is_told_and_heals(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(1)
    with monkeypatch.context() as away:
        away.setattr(scene.queue, "queues", unreachable)
        with pytest.raises(BrokerUnavailable):
            await scene.live.overview()

    assert (await scene.live.overview()).ready == 1


async def test_one_failing_queue_is_one_error_and_no_group(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(1)
    monkeypatch.setattr(scene.queue, "stats", unreachable)

    with pytest.raises(BrokerUnavailable, match="away"):
        await scene.live.overview()


async def test_the_sampler_hurries_only_while_somebody_looks(scene: Scene) -> None:
    unwatched = await scene.live._step()
    with scene.live.watched():
        watched = await scene.live._step()
    await scene.live.overview()
    looked_at = await scene.live._step()
    scene.later(11)
    forgotten = await scene.live._step()

    assert (unwatched, watched, looked_at, forgotten) == tuple(timedelta(seconds=s) for s in (10, 1, 1, 10))


async def test_a_scrape_alone_does_not_hurry_the_sampler(scene: Scene) -> None:
    await scene.enqueue(1)

    sample = await scene.live.scraped()

    assert sample.queues["mail"].ready == 1
    assert await scene.live._step() == timedelta(seconds=10)


async def test_news_wake_who_waits_and_silence_does_not(scene: Scene) -> None:
    await scene.live.overview()
    number = scene.live.sample.number
    waiting = asyncio.create_task(scene.live.newer(number, within_s=30))
    await asyncio.sleep(0)

    assert await scene.live.newer(number, within_s=0.01) is None
    scene.later(5)
    await scene.live.overview()

    sample = await waiting
    assert sample is scene.live.sample
    assert sample.number > number


async def test_nothing_grows_with_queues_that_are_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(1, "a")
    await scene.enqueue(1, "b")
    await scene.live.overview()

    async def only_a() -> list[str]:
        return ["a"]

    monkeypatch.setattr(scene.queue, "queues", only_a)
    scene.later(5)
    await scene.live.overview()

    assert set(scene.live._trails) == {"a"}


async def test_the_loop_goes_on_through_an_outage(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.enqueue(1)
    running = asyncio.create_task(scene.live.run())
    try:
        await eventually(lambda: "mail" in scene.live.sample.queues)
        assert scene.live.heartbeat.failures == 0
        assert broker_of(scene.queue)
    finally:
        running.cancel()


class Letters:
    """The dead letters of a Postgres, as far as they are counted."""

    def __init__(self) -> None:
        self.counts = {"mail": 7}
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def count(self, where: LetterFilter) -> int:
        await self.hangs.wait()
        return self.counts.get(where.queue or "", 0)


class PostgresScene(Scene):
    """With a Postgres that has dead letters, is away, or hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.up = Letters(), True
        shipping: Any = SimpleNamespace(dead_letters=self.letters, archive=None)
        settings = replace(Settings(), postgres=PostgresSettings(url="postgresql://nowhere/x"))
        self.queue = JobQueue(replace(self.queue.parts, settings=settings, shipping=shipping))
        self.live = Live(self.queue, Readiness(self.look, self.clock), self.clock)

    async def look(self) -> Mapping[str, bool]:
        await self.letters.hangs.wait()
        return {"redis": True, "postgres": self.up, "migrations": self.up}


async def test_dead_letters_are_those_in_redis_and_in_postgres() -> None:
    scene = PostgresScene()
    await scene.enqueue(1)

    overview = await scene.live.overview()

    assert (overview.postgres, overview.dead, overview.queues[0].dead) == ("up", 7, 7)


async def test_a_postgres_that_goes_is_told_and_its_numbers_stay() -> None:
    scene = PostgresScene()
    await scene.enqueue(1)
    await scene.live.overview()
    scene.up = False
    scene.later(5)
    await scene.live.overview()
    await scene.live._step_postgres()

    scene.later(3)
    overview = await scene.live.overview()

    assert (overview.postgres, overview.dead) == ("down", 7)


async def test_a_postgres_that_hangs_holds_up_no_overview() -> None:
    scene = PostgresScene()
    await scene.enqueue(1)
    await scene.live.overview()
    scene.letters.hangs.clear()
    running = asyncio.create_task(scene.live._step_postgres())
    try:
        scene.later(5)
        await scene.enqueue(1)

        overview = await asyncio.wait_for(scene.live.overview(), 30)

        assert overview.ready == 2
        assert not running.done()
    finally:
        running.cancel()


async def test_nobody_looks_so_postgres_is_not_asked() -> None:
    scene = PostgresScene()
    scene.letters.hangs.clear()

    assert await scene.live._step_postgres() == timedelta(seconds=5)


def count_looks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    looks: list[str] = []
    real = scene.queue.queues

    async def counted() -> list[str]:
        looks.append("look")
        await asyncio.sleep(0)
        return await real()

    monkeypatch.setattr(scene.queue, "queues", counted)
    return looks


async def unreachable(*_: object) -> list[str]:
    raise BrokerUnavailable("Redis is away")
