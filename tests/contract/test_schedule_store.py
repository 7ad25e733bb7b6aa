"""What every store of schedules promises: each sentence of `jobqueue.repository.schedules.ScheduleStore`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from jobqueue.broker import schedules as redis_schedules
from jobqueue.errors import ScheduleConflict
from jobqueue.job import Job
from jobqueue.repository.postgres import schedules as postgres_schedules
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import Definition, Schedule, ScheduleState, Source
from jobqueue.testing.memory import schedules as memory_schedules
from jobqueue.testing.memory.schedules import MemoryScheduleStore
from tests.contract.conftest import wired_parts

NOW = datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC)
NOW_MS = 1_795_348_800_123
STORES = ["memory", "valkey", "redis", "guarded", "cluster", "postgres"]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[ScheduleStore]:
    if kind == "memory":
        yield MemoryScheduleStore()
        return
    async with wired_parts(kind, namespace, request) as parts:
        yield parts.schedules


def schedule(name: str = "digest", **options: Any) -> Schedule:
    return Schedule.of(name, "0 9 * * mon-fri", Job("email.send", {"to": "ada"}), **options)


def first(name: str = "digest", **options: Any) -> Definition:
    return Definition(schedule=schedule(name, **options), version=1, since_ms=NOW_MS, changed_at=NOW, created_at=NOW)


def changed(definition: Definition, **options: Any) -> Definition:
    return definition.changed(since_ms=NOW_MS + 1, at=NOW + timedelta(seconds=1), **options)


async def test_a_definition_comes_back_as_it_was_put(store: ScheduleStore) -> None:
    everything = Schedule.of(
        "every.thing:of_it",
        "0 0 9 * * mon-fri",
        Job(
            "email.send",
            {"to": "ä\x00😀", "n": [1, 2.5, None]},
            queue="mail",
            priority="critical",
            max_retries=3,
            timeout=timedelta(seconds=1.5),
            expires=timedelta(hours=1),
            result_ttl=timedelta(days=1),
            headers={"trace": "1"},
        ),
        timezone="Europe/Madrid",
        seconds=True,
        misfire="all",
        max_catchup=7,
        grace=timedelta(seconds=90),
        overlap="queue",
        jitter=timedelta(milliseconds=1500),
    )
    put = Definition(
        schedule=everything,
        version=1,
        state=ScheduleState.PAUSED,
        source=Source.CODE,
        app="shop:app",
        since_ms=NOW_MS,
        former=schedule(),
        former_active=True,
        changed_at=NOW,
        created_at=NOW - timedelta(days=1),
    )

    assert await store.put(put, expected=0)

    assert await store.get(put.name) == put
    assert await store.list() == [put]


async def test_the_text_of_a_payload_is_kept(store: ScheduleStore) -> None:
    text = b'{ "b":1.0, "a":"\\u0000\\ud83d\\ude00", "a":1e400, "n":12345678901234567890 }'
    put = first()
    put = msgspec.structs.replace(put, schedule=msgspec.structs.replace(put.schedule, payload=msgspec.Raw(text)))

    await store.put(put, expected=0)

    (listed,) = await store.list()
    assert bytes(listed.schedule.payload) == text


@pytest.mark.parametrize("name", ["", "x", "\x00", "\ud800", "ä", "'; DROP TABLE jobqueue.schedules; --", "x" * 10_000])
async def test_nothing_is_kept_under_any_other_name(store: ScheduleStore, name: str) -> None:
    await store.put(first("known"), expected=0)

    assert await store.get(name) is None


async def test_all_are_listed_by_name_removed_ones_too(store: ScheduleStore) -> None:
    names = ["b", "a.b", "A", "a", "a-b", "9", "a_b", "a:b"]
    for name in names:
        await store.put(first(name), expected=0)
    gone = changed(first("a"), state=ScheduleState.REMOVED)
    await store.put(gone, expected=1)

    listed = await store.list()

    assert [each.name for each in listed] == sorted(names)
    assert gone in listed
    assert await store.get("a") == gone


async def test_a_put_needs_the_version_that_is_kept(store: ScheduleStore) -> None:
    one = first()
    two = changed(one)

    assert not await store.put(two, expected=1)
    assert await store.put(one, expected=0)
    assert not await store.put(one, expected=0)
    assert await store.put(two, expected=1)
    assert not await store.put(changed(one, state=ScheduleState.PAUSED), expected=1)
    assert not await store.put(changed(two), expected=3)

    assert await store.get(one.name) == two


async def test_of_puts_at_once_one_wins(store: ScheduleStore) -> None:
    kept = first()
    puts = await asyncio.gather(*(store.put(kept, expected=0) for _ in range(10)))
    assert sorted(puts) == [False] * 9 + [True]

    for n in range(5):
        others = [changed(kept, schedule=schedule(max_catchup=10 * n + k + 1)) for k in range(8)]
        puts = await asyncio.gather(*(store.put(each, expected=kept.version) for each in others))

        assert sum(puts) == 1
        kept = others[puts.index(True)]
        assert await store.get(kept.name) == kept


async def test_the_revision_is_another_one_after_every_change(store: ScheduleStore) -> None:
    seen = [await store.revision()]
    kept = first()
    for expected in range(5):
        await store.put(kept, expected=expected)
        seen.append(await store.revision())
        kept = changed(kept)
    for n in range(3):
        await store.put(first(f"other{n}"), expected=0)
        seen.append(await store.revision())

    assert len(set(seen)) == len(seen) == 9
    assert await store.revision() == seen[-1], "and stays while nothing changes"


async def test_who_has_read_a_revision_has_read_its_changes(store: ScheduleStore) -> None:
    """Otherwise a scheduler would keep what it has for ever."""
    done = asyncio.Event()

    async def follow() -> Any:
        revision, listed = -1, []
        while True:
            last_look = done.is_set()
            now = await store.revision()
            if now != revision:
                revision, listed = now, list(await store.list())
            if last_look:
                return listed
            await asyncio.sleep(0)  # memory never waits for anything

    following = asyncio.create_task(follow())
    for n in range(10):
        await asyncio.gather(*(store.put(first(f"s{n}-{k}"), expected=0) for k in range(5)))
    done.set()

    assert await following == await store.list()
    assert len(await store.list()) == 50


async def test_more_names_than_allowed_are_refused(store: ScheduleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory_schedules, redis_schedules, postgres_schedules):
        monkeypatch.setattr(module, "MAX_SCHEDULES", 3)
    for n in range(3):
        await store.put(first(f"s{n}"), expected=0)
    revision = await store.revision()

    with pytest.raises(ScheduleConflict, match="'s3' would be one more than 3"):
        await store.put(first("s3"), expected=0)

    assert [each.name for each in await store.list()] == ["s0", "s1", "s2"]
    assert await store.revision() == revision
    assert not await store.put(first("s2"), expected=0)
    assert await store.put(changed(first("s2")), expected=1)


async def test_what_is_forgotten_makes_room(store: ScheduleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory_schedules, redis_schedules, postgres_schedules):
        monkeypatch.setattr(module, "MAX_SCHEDULES", 1)
    await store.put(first("gone"), expected=0)
    removed = changed(first("gone"), state=ScheduleState.REMOVED)
    await store.put(removed, expected=1)
    revision = await store.revision()

    assert not await store.forget("gone", version=1)
    assert not await store.forget("never", version=1)
    assert await store.revision() == revision
    assert await store.forget("gone", version=2)
    assert await store.revision() != revision

    assert (await store.get("gone"), list(await store.list())) == (None, [])
    assert not await store.forget("gone", version=2)
    assert await store.put(first("next"), expected=0)


async def test_no_more_names_than_allowed_come_at_once(store: ScheduleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory_schedules, redis_schedules, postgres_schedules):
        monkeypatch.setattr(module, "MAX_SCHEDULES", 3)

    puts = await asyncio.gather(*(store.put(first(f"s{n}"), expected=0) for n in range(9)), return_exceptions=True)

    assert sorted(map(str, map(type, puts))) == sorted([str(bool)] * 3 + [str(ScheduleConflict)] * 6)
    assert len(await store.list()) == 3
