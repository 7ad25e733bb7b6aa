"""Schedules that were made while there was no Postgres: configured later, it takes them over with their versions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from jobqueue.bootstrap import Parts, wire
from jobqueue.broker.schedules import RedisScheduleStore
from jobqueue.config import Settings
from jobqueue.errors import RepositoryUnavailable
from jobqueue.repository.postgres.schedules import PostgresScheduleStore
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import Definition, ScheduleState
from tests.contract.test_schedule_store import changed, first


@dataclass
class Processes:
    """Processes with and without `DATABASE_URL`, on the same Redis."""

    before: Parts
    make: Callable[..., Parts]
    made: list[Parts] = field(default_factory=list)

    def after(self) -> ScheduleStore:
        """One more that has it, and has not looked yet."""
        self.made.append(self.make(postgres=True))
        return self.made[-1].schedules


@pytest.fixture
async def processes(redis_url: str, database_url: str, namespace: str) -> AsyncIterator[Processes]:
    def make(*, postgres: bool) -> Parts:
        given: dict[str, object] = {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace}
        return wire(Settings.load({}, overrides=given | ({"DATABASE_URL": database_url} if postgres else {})))

    processes = Processes(make(postgres=False), make)
    yield processes
    for parts in [processes.before, *processes.made]:
        await parts.close()


def versions_of(definitions: object) -> list[tuple[str, int]]:
    return [(each.name, each.version) for each in definitions]  # type: ignore[attr-defined]


async def kept_before(processes: Processes) -> list[Definition]:
    """a has version 2, b was removed, c is as it was made."""
    store = processes.before.schedules
    made = [first(name) for name in ("a", "b", "c")]
    for each in made:
        await store.put(each, expected=0)
    changes = [changed(made[0]), changed(made[1], state=ScheduleState.REMOVED)]
    for each in changes:
        await store.put(each, expected=1)
    return [*changes, made[2]]


async def test_they_are_all_there_in_whatever_way_they_are_looked_for(processes: Processes) -> None:
    kept = await kept_before(processes)

    assert await processes.after().list() == kept
    assert [await processes.after().get(each.name) for each in kept] == kept
    assert await processes.after().get("none") is None


async def test_they_stay_when_redis_has_lost_them(processes: Processes) -> None:
    kept = await kept_before(processes)
    await processes.after().list()
    assert processes.before.redis is not None

    await processes.before.redis.line().call(["DEL", processes.before.schedules._keys.definitions])  # type: ignore[attr-defined]

    assert await processes.after().list() == kept


async def test_the_first_look_of_all_may_be_a_change(processes: Processes) -> None:
    kept = await kept_before(processes)
    again = changed(kept[0], state=ScheduleState.PAUSED)

    assert not await processes.after().put(first("a"), expected=0)
    assert not await processes.after().put(again, expected=1)
    assert await processes.after().put(again, expected=2)

    assert await processes.after().get("a") == again


async def test_what_postgres_knows_counts_more_than_what_redis_kept(processes: Processes) -> None:
    kept = await kept_before(processes)
    newer = changed(kept[0])
    await processes.after().put(newer, expected=2)

    await processes.before.schedules.put(changed(changed(kept[0])), expected=2)

    assert await processes.after().get("a") == newer
    assert versions_of(await processes.after().list()) == [("a", 3), ("b", 2), ("c", 1)]


async def test_a_revision_tells_also_of_what_is_made_where_postgres_is_not_known_yet(processes: Processes) -> None:
    store = processes.after()
    await kept_before(processes)
    await store.list()
    revision = await store.revision()
    assert await store.revision() == revision

    await processes.before.schedules.put(first("late"), expected=0)

    assert await store.revision() != revision
    assert [each.name for each in await store.list()] == ["a", "b", "c", "late"]


async def test_who_looks_at_once_takes_each_over_once(processes: Processes) -> None:
    kept = await kept_before(processes)

    looks = await asyncio.gather(*(processes.after().list() for _ in range(8)))

    assert looks == [kept] * 8


async def test_thousands_are_taken_over(processes: Processes) -> None:
    store = processes.before.schedules
    for start in range(0, 2_000, 100):
        await asyncio.gather(*(store.put(first(f"s{n:04}"), expected=0) for n in range(start, start + 100)))

    listed = await processes.after().list()

    assert [each.name for each in listed] == [f"s{n:04}" for n in range(2_000)]


async def test_one_that_was_forgotten_does_not_come_back(processes: Processes) -> None:
    await kept_before(processes)
    store = processes.after()

    assert await store.forget("b", version=2)

    assert [each.name for each in await store.list()] == ["a", "c"]
    assert [each.name for each in await processes.after().list()] == ["a", "c"]


@pytest.mark.parametrize("away", [RedisScheduleStore, PostgresScheduleStore])
async def test_one_that_is_forgotten_by_halves_is_removed_yet(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, away: type
) -> None:
    """A server goes away in between: what Redis has kept of it must not come back as it was before its removal."""
    made = first("s")
    await processes.before.schedules.put(made, expected=0)
    store = processes.after()
    removed = changed(made, state=ScheduleState.REMOVED)
    assert await store.put(removed, expected=1)

    async def gone(*_: object, **__: object) -> bool:
        raise RepositoryUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(away, "forget", gone)
        with pytest.raises(RepositoryUnavailable):
            await store.forget("s", version=2)
    assert await processes.after().list() == [removed]
    assert await processes.after().forget("s", version=2)
    assert list(await processes.after().list()) == []
