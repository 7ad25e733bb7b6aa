"""What every record of ticks promises: each sentence of `jobqueue.repository.schedules.TickRecords`.

The records come there by `Timetable.note`, with the broker's instants; with Postgres they are shipped when asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from jobqueue.bootstrap import Parts
from jobqueue.broker import ticks as broker_ticks
from jobqueue.clock import SystemClock, from_ms
from jobqueue.errors import ConfigError
from jobqueue.repository.schedules import TickFilter
from jobqueue.testing import memory_queue
from jobqueue.tick import Decision, Reason, TickRecord
from tests.contract.conftest import wired_parts

TICK = datetime(2026, 11, 22, 12, tzinfo=UTC)
TICK_MS = 1_795_348_800_000
MINUTE = timedelta(minutes=1)
STORES = ["memory", "valkey", "redis", "guarded", "cluster", "postgres"]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def parts(kind: str, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Parts]:
    if kind == "memory":
        async with memory_queue(clock=SystemClock()) as queue:
            yield queue.parts
        return
    async with wired_parts(kind, namespace, request) as parts:
        yield parts


def record(n: int, *, name: str = "digest", queue: str = "q1", **facts: Any) -> TickRecord:
    """The record of the tick *n* minutes after noon."""
    decided: dict[str, Any] = {"decision": Decision.BACKFILLED, "reason": Reason.ASKED, "version": 1, "at_ms": 0}
    decided |= {"tick_ms": TICK_MS + 60_000 * n, "first_ms": TICK_MS + 60_000 * n}
    decided |= {"job_id": f"00000000-0000-7000-8000-{n:012}"}
    return TickRecord(name=name, queue=queue, **decided | facts)


async def note(parts: Parts, *records: TickRecord) -> None:
    for each in records:
        await parts.broker.timetable.note([each])


async def pages(parts: Parts, where: TickFilter, *, limit: int) -> list[TickRecord]:
    found: list[TickRecord] = []
    after = None
    for _ in range(200):
        page, after = await parts.ticks.search(where, limit=limit, after=after)
        assert len(page) <= limit
        found += page
        if after is None:
            return found
    raise AssertionError("the pages have no end")


def minutes(records: Sequence[TickRecord]) -> list[int]:
    return [(each.tick_ms - TICK_MS) // 60_000 for each in records]


async def test_a_record_is_found_as_it_was_noted_with_the_instant_of_the_broker(parts: Parts) -> None:
    before = (await parts.broker.timetable.look("q1", [])).now_ms
    noted = record(1, decision=Decision.RUN)

    await note(parts, noted)

    (found,), after = await parts.ticks.search(TickFilter(), limit=10)
    assert after is None
    assert found.at_ms >= before
    assert msgspec.structs.replace(found, at_ms=0) == noted


async def test_where_nothing_was_decided_nothing_is_found(parts: Parts) -> None:
    assert await parts.ticks.search(TickFilter(), limit=10) == ([], None)
    assert await parts.ticks.newest(["digest"]) == {}
    assert await parts.ticks.newest([]) == {}
    assert await parts.ticks.fired("digest", since=TICK, until=TICK + MINUTE) == frozenset()


@pytest.mark.parametrize("limit", [1, 2, 3, 11, 12, 13, 200])
async def test_pages_of_all_queues_join_newest_first_without_gap_or_overlap(parts: Parts, limit: int) -> None:
    """Many are decided within one ms, on one queue and on several."""
    for n in range(0, 12, 3):
        await parts.broker.timetable.note([record(n), record(n + 1)])
        await note(parts, record(n + 2, queue=f"q{1 + n % 4}"))

    found = await pages(parts, TickFilter(), limit=limit)

    assert sorted(minutes(found)) == list(range(12))
    instants = [each.at_ms for each in found]
    assert instants == sorted(instants, reverse=True)
    own = [each for each in found if each.queue == "q1"]
    assert minutes(own) == sorted(minutes(own), reverse=True)


async def test_what_is_decided_meanwhile_shifts_no_page(parts: Parts) -> None:
    await note(parts, *(record(n, queue=f"q{n % 3}") for n in range(9)))
    found: list[TickRecord] = []
    after = None
    for n in range(20):
        page, after = await parts.ticks.search(TickFilter(), limit=2, after=after)
        found += page
        if after is None:
            break
        await asyncio.sleep(0.002)  # in another ms
        await note(parts, record(100 + n, queue=f"q{n % 4}"))

    assert sorted(minutes(found)) == list(range(9))


async def test_filters_go_together(parts: Parts) -> None:
    decisions = [Decision.BACKFILLED, Decision.RUN]
    await note(
        parts,
        *(
            record(n, name=f"s{n % 3}", queue=f"q{n % 4}", decision=decisions[n % 2], reason=Reason.ASKED)
            for n in range(24)
        ),
    )

    async def found(**where: Any) -> list[int]:
        return sorted(minutes(await pages(parts, TickFilter(**where), limit=5)))

    assert await found(name="s1") == list(range(1, 24, 3))
    assert await found(queues=("q2",)) == list(range(2, 24, 4))
    assert await found(queues=("q0", "q2", "none")) == list(range(0, 24, 2))
    assert await found(queues=()) == []
    assert await found(decision=Decision.RUN) == list(range(1, 24, 2))
    assert await found(decision="run") == list(range(1, 24, 2))
    assert await found(since=TICK + 3 * MINUTE, until=TICK + 7 * MINUTE) == [3, 4, 5, 6]
    assert await found(name="s1", decision=Decision.RUN, queues=("q3", "q1"), since=TICK + 5 * MINUTE) == [7, 13, 19]
    assert await found(name="none") == []
    assert await found(decision=Decision.WAITING) == []


@pytest.mark.parametrize("odd", ["", "\x00", "\ud800", "x" * 10_000, "'; DROP TABLE jobqueue.schedule_ticks; --"])
async def test_no_text_in_a_filter_is_an_error(parts: Parts, odd: str) -> None:
    await note(parts, record(1))

    assert await parts.ticks.search(TickFilter(name=odd), limit=1) == ([], None)
    assert await parts.ticks.search(TickFilter(queues=(odd,)), limit=1) == ([], None)
    assert await parts.ticks.newest([odd]) == {}
    assert await parts.ticks.fired(odd, since=TICK, until=TICK + MINUTE) == frozenset()


@pytest.mark.parametrize("after", ["", "x", "1; DROP", "-1", "1.1", "1.1.q q", "9" * 40, "\x00", "١.1.q"])
async def test_a_cursor_of_somebody_elses_is_refused_by_name(parts: Parts, after: str) -> None:
    await note(parts, record(1))

    with pytest.raises(ConfigError, match="cursor must be one"):
        await parts.ticks.search(TickFilter(), limit=1, after=after)


async def test_the_newest_of_each_schedule(parts: Parts) -> None:
    await note(parts, *(record(n, name=f"s{n % 3}", queue=f"q{n % 3}") for n in range(9)))

    newest = await parts.ticks.newest(["s0", "s2", "s2", "none"])
    assert {name: minutes([each]) for name, each in newest.items()} == {"s0": [6], "s2": [8]}

    await asyncio.sleep(0.002)
    await note(parts, record(20, name="s0", queue="elsewhere"), record(21, name="s1", queue="q0"))
    newest = await parts.ticks.newest(["s0", "s1", "s2"])
    assert {name: minutes([each]) for name, each in newest.items()} == {"s0": [20], "s1": [21], "s2": [8]}


async def test_the_ticks_of_a_time_whose_jobs_were_made(parts: Parts) -> None:
    await note(
        parts,
        *(record(n, queue=f"q{n % 3}") for n in range(10)),
        record(3),
        record(4, decision=Decision.RUN),
        record(5, name="other"),
        record(20, decision=Decision.RUN),
    )

    made = await parts.ticks.fired("digest", since=TICK + 2 * MINUTE, until=TICK + 8 * MINUTE)

    assert sorted(from_ms(tick) for tick in made) == [TICK + n * MINUTE for n in range(2, 8)]
    assert await parts.ticks.fired("digest", since=TICK + 9 * MINUTE, until=TICK + 30 * MINUTE) == {TICK_MS + 540_000}


async def test_who_asked_for_a_job_is_found_by_the_job_at_that_time(parts: Parts) -> None:
    for n in range(9):
        decision = Decision.RUN if n % 3 == 0 else Decision.BACKFILLED
        await note(parts, record(n, name=f"s{n}", queue=f"q{n % 2}", decision=decision))
    now = from_ms((await parts.broker.timetable.look("q1", [])).now_ms)
    then = {"since": now - MINUTE, "until": now + MINUTE}

    def job_id(n: int) -> str:
        return str(record(n).job_id)

    assert await parts.ticks.asked_for(job_id(3), queue="q1", **then) == "s3"
    assert await parts.ticks.asked_for(job_id(6), queue="q0", **then) == "s6"
    assert await parts.ticks.asked_for(job_id(3), queue="q0", **then) is None, "of another queue"
    assert await parts.ticks.asked_for(job_id(4), queue="q0", **then) is None, "made up for"
    assert await parts.ticks.asked_for(job_id(99), queue="q1", **then) is None
    assert await parts.ticks.asked_for(job_id(3), queue="none", **then) is None
    for since, until in [(now + MINUTE, now + 2 * MINUTE), (now - 2 * MINUTE, now - MINUTE)]:
        assert await parts.ticks.asked_for(job_id(3), queue="q1", since=since, until=until) is None


async def test_who_asked_for_a_job_is_looked_for_in_bounded_steps(
    parts: Parts, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond them it is not known any more; Postgres has an index."""
    monkeypatch.setattr(broker_ticks, "_PAGE", 5)
    monkeypatch.setattr(broker_ticks, "_MOST_READS", 2)
    await note(parts, record(0, decision=Decision.RUN), *(record(n) for n in range(1, 60)))
    await note(parts, record(60, decision=Decision.RUN))
    now = from_ms((await parts.broker.timetable.look("q1", [])).now_ms)
    then = {"since": now - MINUTE, "until": now + MINUTE}

    found = [await parts.ticks.asked_for(str(record(n).job_id), queue="q1", **then) for n in (60, 0)]

    assert found == ["digest", "digest" if kind == "postgres" else None]


async def test_a_filter_that_fits_little_is_searched_through_in_bounded_steps(
    parts: Parts, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_ticks, "_PAGE", 5)
    monkeypatch.setattr(broker_ticks, "_MOST_READS", 2)
    await note(parts, record(0, decision=Decision.RUN), *(record(n, queue=f"q{n % 3}") for n in range(1, 60)))
    await asyncio.sleep(0.002)  # in another ms
    await note(parts, record(60, decision=Decision.RUN))
    where = TickFilter(decision=Decision.RUN)

    page, after = await parts.ticks.search(where, limit=10)

    assert minutes(await pages(parts, where, limit=10)) == [60, 0]
    assert minutes(await pages(parts, where, limit=1)) == [60, 0]
    if kind != "postgres":
        assert minutes(page) == [60]
        assert after is not None
