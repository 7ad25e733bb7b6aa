"""The definitions that a scheduler knows, and who fires them. In memory, by a clock that stands still."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobqueue.app import JobQueue
from jobqueue.errors import RepositoryError, RepositoryUnavailable
from jobqueue.job import Job
from jobqueue.schedule import Schedule
from jobqueue.scheduler.agenda import Agenda
from jobqueue.scheduler.cron import Cron
from jobqueue.testing import ManualClock, memory_queue
from jobqueue.tick import Decision

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Scene:
    """A scheduler's loops, turned by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.queue: JobQueue = memory_queue(clock=self.clock)
        self.store: Any = self.queue.parts.schedules
        self.agendas: list[Agenda] = []
        timetable: Any = self.queue.parts.broker.timetable
        self.timetable = timetable
        self.cron = Cron(self.store, timetable, self.clock, self.agendas.append)

    async def save(self, name: str, expression: str = "* * * * *", queue: str = "default", **options: Any) -> None:
        await self.queue.schedules.save(Schedule.of(name, expression, Job("t", queue=queue), **options))

    async def turn(self, times: int = 1) -> timedelta:
        for _ in range(times):
            pauses = [await agenda.step() for agenda in self.agendas]
        return min(pauses)

    async def fired(self) -> list[str]:
        found, _ = await self.queue.schedules.ticks(limit=1_000)
        return [each.name for each in found[::-1] if each.decision is Decision.FIRED]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_turn_fires_what_is_due_and_says_how_long_nothing_is(scene: Scene) -> None:
    await scene.save("a")
    await scene.cron.refresh()
    assert await scene.turn() == timedelta(seconds=1)  # as long as it sleeps at most
    scene.clock.advance(timedelta(milliseconds=59_800))
    assert await scene.turn() == timedelta(milliseconds=200)
    scene.clock.advance(timedelta(milliseconds=200))

    await scene.turn()

    assert await scene.fired() == ["a"]


async def test_one_with_much_to_catch_up_on_lets_others_fire_between(scene: Scene) -> None:
    await scene.save("busy", misfire="all", max_catchup=1_000)
    scene.clock.advance(timedelta(minutes=900, seconds=30))
    await scene.save("other")
    await scene.cron.refresh()
    scene.clock.advance(timedelta(seconds=31))

    await scene.turn(3)
    fired = await scene.fired()

    assert "other" in fired
    assert fired.count("busy") < 400
    await scene.turn(20)
    assert (await scene.fired()).count("busy") == 901


async def test_nothing_is_asked_of_the_broker_while_nothing_is_due(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.save("a", "@daily")
    await scene.cron.refresh()
    await scene.turn(2)
    looks = 0
    look = scene.timetable.look

    async def counted(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*args)

    monkeypatch.setattr(scene.timetable, "look", counted)
    for _ in range(100):
        scene.clock.advance(timedelta(milliseconds=500))
        await scene.turn()
    assert looks == 0
    for _ in range(100):
        scene.clock.advance(timedelta(milliseconds=500))
        await scene.turn()

    assert looks == 1  # whether its clock was set


async def test_a_schedule_that_has_moved_is_fired_by_its_new_queue_only(scene: Scene) -> None:
    await scene.save("a", queue="one")
    await scene.cron.refresh()
    await scene.turn()
    await scene.save("a", queue="two")
    scene.clock.advance(MINUTE)
    await scene.turn(2)  # queue one hears that it is out of date, and reads again
    await scene.turn()
    records, _ = await scene.queue.schedules.ticks()

    assert [(each.queue, each.version) for each in records] == [("two", 2)]


async def test_a_removed_one_is_forgotten_a_day_later_and_its_name_begins_anew(scene: Scene) -> None:
    for name in ("a", "b"):
        await scene.save(name)
    await scene.queue.schedules.remove("a")
    scene.clock.advance(timedelta(hours=23))
    await scene.queue.schedules.remove("b")
    await scene.cron.refresh()
    assert [each.name for each in await scene.store.list()] == ["a", "b"]

    scene.clock.advance(timedelta(hours=2))
    await scene.save("c")
    await scene.cron.refresh()

    assert [each.name for each in await scene.store.list()] == ["b", "c"]
    await scene.save("a")
    await scene.cron.refresh()
    await scene.turn()
    scene.clock.advance(MINUTE)
    await scene.turn()
    assert sorted((await scene.fired())[-2:]) == ["a", "c"]


async def test_one_that_a_newer_version_has_written_is_forgotten_and_the_others_go_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.save("a")
    await scene.save("b")
    await scene.cron.refresh()
    await scene.turn()
    await scene.save("a", "@hourly")

    async def get(name: str) -> Any:
        raise RepositoryError(f"the schedule {name!r} cannot be read")

    monkeypatch.setattr(scene.store, "get", get)
    with capture_logs() as logs:
        for _ in range(3):
            scene.clock.advance(MINUTE)
            await scene.turn(2)

    assert await scene.fired() == ["b", "b", "b"]
    assert [each["name"] for each in logs if each["event"] == "schedule.unreadable"] == ["a"]


async def test_while_the_store_is_away_what_was_read_last_is_fired_and_an_edited_one_waits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.save("a")
    await scene.save("b")
    await scene.cron.refresh()
    await scene.turn()
    await scene.save("a", "* * * * mon")

    async def away(*_: Any) -> Any:
        raise RepositoryUnavailable("postgres is away")

    monkeypatch.setattr(scene.store, "get", away)
    monkeypatch.setattr(scene.store, "revision", away)
    scene.clock.advance(MINUTE)
    with capture_logs() as logs:
        await scene.turn(3)
        await scene.cron.refresh()
    assert await scene.fired() == ["b"]
    monkeypatch.undo()
    await scene.cron.refresh()
    scene.clock.advance(timedelta(seconds=20))
    await scene.turn(2)

    assert await scene.fired() == ["b", "a"]
    assert [each["event"] for each in logs if each["event"].startswith("schedules.")] == ["schedules.store_away"]
