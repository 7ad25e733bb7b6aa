"""Firing on real servers: full ones, lost replies, large jobs, and the same as in memory whatever happens."""

import asyncio
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import redis.asyncio

from jobqueue.broker import scripts
from jobqueue.broker.base import Broker, Submission
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.timetable import Standing
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.errors import Backpressure, BrokerUnavailable
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED
from jobqueue.schedule import Schedule, tick_id
from jobqueue.testing.memory import MemoryBroker
from jobqueue.tick import Decision, Reason, Step, TickRecord
from tests.contract.scene import Q, raised, settle, take_one
from tests.integration.redis.conftest import MakeBroker
from tests.integration.redis.dump import dump
from testutil.proxy import fault_proxy

NAME = "digest"


def schedule(*, overlap: str = "allow", max_catchup: int = 100, payload: Any = None, **options: Any) -> Schedule:
    job = Job("digest.send", payload or {}, queue=options.pop("queue", Q), expires=options.pop("expires", None))
    return Schedule.of(NAME, "@hourly", job, overlap=overlap, max_catchup=max_catchup, **options)


def due(*ticks: int) -> list[Step]:
    return [Step(fires=True, reason=Reason.ON_TIME, tick_ms=tick, first_ms=tick) for tick in ticks]


async def load(raw: "redis.asyncio.Redis") -> None:
    """So that the first reply of a script is not that the server does not know it."""
    for script in scripts.ALL.values():
        await raw.script_load(script.source)


@pytest.fixture(params=["valkey", "redis-server"])
def full_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    if request.param == "redis-server" and find_redis_server() is None:
        pytest.skip("no redis-server on PATH")
    with start_redis(binary=request.param, appendonly=False) as server:
        yield server


async def test_f06_a_full_server_fires_nothing_and_changes_nothing(
    make_broker: MakeBroker, full_server: RedisServer, namespace: str
) -> None:
    """Firing, beginning and noting are refused with Backpressure; looking, ending and dropping go on."""
    broker = make_broker(full_server.url)
    timetable, queueing = broker.timetable, schedule(overlap="queue")
    standing = await timetable.begin(Q, NAME, version=1, at_ms=1_000)
    seen = (await timetable.fire(queueing, standing, due(2_000, 3_000))).standing
    assert seen is not None
    async with redis.asyncio.Redis.from_url(full_server.url) as raw:
        await raw.config_set("maxmemory", 1)
        await raw.script_flush()
        before = await dump(raw, namespace)

        record = TickRecord(
            name="s", queue=Q, version=1, decision=Decision.RUN, reason=Reason.ASKED, tick_ms=1, first_ms=1, at_ms=0
        )
        for refused in (
            lambda: timetable.fire(queueing, seen, due(4_000)),
            lambda: timetable.fire(schedule(queue="new"), standing, due(4_000)),
            lambda: timetable.begin(Q, NAME, version=2, at_ms=9_000),
            lambda: timetable.note([record]),
        ):
            assert type(await raised(refused)) is Backpressure
        assert (await timetable.look(Q, [NAME])).standings == {NAME: seen}
        assert await dump(raw, namespace) == before

        assert await timetable.drop(Q, NAME, version=1) == 1
        assert (await timetable.end(Q, NAME, version=2)).standings[NAME].waiting == ()
        await raw.config_set("maxmemory", 0)
        assert (await timetable.begin(Q, NAME, version=3, at_ms=9_000)).version == 3
    assert await check_queue(broker, Q) == []


async def test_of_a_lost_reply_the_standing_tells_what_was_done(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", redis_url: str
) -> None:
    """Fired and unheard of: the same again is refused, and the standing says that the tick was decided."""
    async with fault_proxy(redis_url) as proxy:
        broker = make_broker(proxy.url)
        seen = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_000)
        await load(raw)
        proxy.drop_reply(scripts.FIRE.sha.encode())

        error = await raised(lambda: broker.timetable.fire(schedule(), seen, due(2_000)))
        again = await broker.timetable.fire(schedule(), seen, due(2_000))

        assert isinstance(error, BrokerUnavailable)
        job_id = tick_id(NAME, 2_000)
        assert (again.done, again.standing) == (False, Standing(version=1, last_ms=2_000, job_id=job_id, busy=True))
        assert (await broker.stats(Q)).enqueued == 1
        (record,), _ = await broker.timetable.records(Q, limit=9)
        assert record.tick_ms == 2_000


@pytest.mark.parametrize(
    "script", [scripts.BEGIN, scripts.END, scripts.UNWAIT, scripts.NOTE], ids=lambda each: each.name
)
async def test_every_other_verb_is_safe_to_repeat_after_a_lost_reply(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", redis_url: str, script: scripts.Script
) -> None:
    async with fault_proxy(redis_url) as proxy:
        broker = make_broker(proxy.url)
        timetable = broker.timetable
        seen = await timetable.begin(Q, NAME, version=1, at_ms=1_000)
        queueing = schedule(overlap="queue")
        fired = await timetable.fire(queueing, seen, due(2_000, 3_000))
        before = len((await timetable.records(Q, limit=99))[0])
        calls = {
            "begin": lambda: timetable.begin(Q, NAME, version=2, at_ms=5_000),
            "end": lambda: timetable.end(Q, NAME, version=2),
            "unwait": lambda: timetable.drop(Q, NAME, version=1),
            "note": lambda: timetable.note(fired.records),
        }
        await load(raw)
        proxy.drop_reply(script.sha.encode())

        assert isinstance(await raised(calls[script.name]), BrokerUnavailable)
        once = (await timetable.look(Q, [NAME])).standings
        await calls[script.name]()

        assert (await timetable.look(Q, [NAME])).standings == once
        recorded = len((await timetable.records(Q, limit=99))[0]) - before
        assert recorded == {"begin": 0, "end": 0, "unwait": 1, "note": 2}[script.name]


async def test_jobs_of_more_than_one_mib_go_in_several_calls(make_broker: MakeBroker) -> None:
    """`last_ms` tells how far a call came; a job that is larger than all others goes alone."""
    broker = make_broker()
    large = schedule(payload={"x": "y" * 200_000})
    standing = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_000)
    ticks = [2_000 + n for n in range(12)]
    fired_by_call: list[int] = []
    for _ in ticks:
        left = [tick for tick in ticks if tick > standing.last_ms]
        if not left:
            break
        fired = await broker.timetable.fire(large, standing, due(*left))
        assert fired.done
        assert fired.standing is not None
        standing = fired.standing
        fired_by_call.append(len(fired.records))

    assert fired_by_call == [5, 5, 2]
    assert (await broker.stats(Q)).enqueued == 12


async def test_firing_waits_for_no_operator(make_broker: MakeBroker, raw: "redis.asyncio.Redis") -> None:
    """An operator's command that takes long holds up no tick."""
    broker = make_broker()
    standing = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_000)
    waiting = asyncio.create_task(broker.call(["BLPOP", broker.keys(Q).bell, 4]))
    await asyncio.sleep(0)

    fired = await broker.timetable.fire(schedule(), standing, due(2_000))

    assert fired.done
    assert not waiting.done()
    await raw.rpush(broker.keys(Q).bell, 1)
    await waiting


async def test_the_record_is_bounded(make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.broker.firing.RECORDS_KEPT", 200)
    broker = make_broker()
    standing = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_000)
    for start in range(0, 1_000, 100):
        steps = [
            Step(fires=False, reason=Reason.MISSED, tick_ms=2_000 + n, first_ms=2_000 + n)
            for n in range(start, start + 100)
        ]
        fired = await broker.timetable.fire(schedule(), standing, steps)
        assert fired.standing is not None
        standing = fired.standing

    left = await broker.call(["XLEN", broker.keys(Q).ticks])
    assert 200 <= left < 400  # whole nodes of 100 entries are dropped
    newest, _ = await broker.timetable.records(Q, limit=1)
    assert newest[0].tick_ms == 2_999


async def test_a_page_of_records_looks_at_a_bounded_number(make_broker: MakeBroker) -> None:
    """A name that nobody has is not looked for to the end in one call."""
    broker = make_broker()
    told = TickRecord(
        name="s", queue=Q, version=1, decision=Decision.RUN, reason=Reason.ASKED, tick_ms=0, first_ms=0, at_ms=0
    )
    await broker.timetable.note([msgspec.structs.replace(told, tick_ms=n) for n in range(2_100)])
    await broker.timetable.note([msgspec.structs.replace(told, name="first", tick_ms=-1)])

    found, cursor = await broker.timetable.records(Q, name="unknown", limit=10)

    assert found == []
    assert cursor is not None
    assert await broker.timetable.records(Q, name="unknown", limit=10, after=cursor) == ([], None)


async def test_f37_after_a_flush_a_schedule_stands_nowhere_and_is_begun_anew(
    make_broker: MakeBroker, own_server: RedisServer, own_raw: "redis.asyncio.Redis"
) -> None:
    """What was seen before the flush fires nothing; begun again, the schedule fires on a queue that is there."""
    broker = make_broker(own_server.url)
    seen = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_000)
    await own_raw.flushall()

    fired = await broker.timetable.fire(schedule(), seen, due(2_000))
    assert (fired.done, fired.standing) == (False, None)
    await own_raw.flushall()
    begun = await broker.timetable.begin(Q, NAME, version=1, at_ms=1_500)
    assert (await broker.timetable.fire(schedule(), begun, due(2_000))).done
    assert await broker.queues() == [Q]
    assert await check_queue(broker, Q) == []


class Both:
    """The same calls to Redis and to memory; what they answer must be the same, but for time."""

    def __init__(self, seed: int, brokers: tuple[Broker, Broker]) -> None:
        self.rng = random.Random(seed)
        self.brokers = brokers
        self.workers: list[Any] = []
        self.version = 1
        self.brought_ms = 0
        self.of = schedule(overlap="queue", max_catchup=3)

    async def each(self, call: Any) -> Any:
        answers = [_timeless(await call(broker)) for broker in self.brokers]
        assert answers[0] == answers[1]
        return answers[0]

    async def step(self) -> None:
        name = self.rng.choice(["fire"] * 6 + ["end_job"] * 3 + ["edit", "begin", "end", "drop", "enqueue", "cancel"])
        await getattr(self, name)()
        await self.each(lambda broker: broker.timetable.look(Q, [NAME]))

    async def fire(self) -> None:
        look = await self.each(lambda broker: broker.timetable.look(Q, [NAME]))
        seen = look["standings"].get(NAME) or Standing(version=1, last_ms=1_000)
        if self.rng.random() < 0.1:
            seen = msgspec.structs.replace(seen, version=seen.version + self.rng.choice([-1, 1]))
        at_ms = seen.last_ms
        steps = []
        for _ in range(self.rng.randrange(5)):
            first_ms, at_ms = at_ms + 1, at_ms + self.rng.randint(1, 3)
            fires = self.rng.random() < 0.8
            reason = Reason.ON_TIME if fires else Reason.MISSED
            steps.append(Step(fires=fires, reason=reason, tick_ms=at_ms, first_ms=at_ms if fires else first_ms))
        await self.each(lambda broker: broker.timetable.fire(self.of, seen, steps))

    async def end_job(self) -> None:
        found = await self.each(lambda broker: broker.stats(Q))
        if sum(found["ready"].values()):
            for worker in self.workers:
                await settle(worker, COMPLETED, await take_one(worker))

    async def edit(self) -> None:
        self.version += 1
        overlap = self.rng.choice(["allow", "skip", "queue"])
        self.of = schedule(overlap=overlap, max_catchup=self.rng.randint(1, 4))
        await self.begin()

    async def begin(self) -> None:
        version = max(1, self.version - self.rng.choice([0, 0, 0, 1]))
        self.brought_ms += 2  # each tick is brought once
        waiting = [self.brought_ms, self.brought_ms + 1] if self.rng.random() < 0.3 else []
        at_ms = self.rng.randrange(1_000, 3_000)
        await self.each(
            lambda broker: broker.timetable.begin(
                Q, NAME, version=version, at_ms=at_ms, waiting=waiting, job_id="brought" if waiting else None
            )
        )

    async def end(self) -> None:
        self.version += self.rng.choice([0, 1])
        await self.each(lambda broker: broker.timetable.end(Q, NAME, version=self.version))
        if self.rng.random() < 0.7:
            await self.edit()

    async def drop(self) -> None:
        await self.each(lambda broker: broker.timetable.drop(Q, NAME, version=self.version))

    async def enqueue(self) -> None:
        job = self.of.tick_job(self.rng.randrange(1_000, 3_000))
        await self.each(lambda broker: broker.enqueue([Submission(job=job)]))

    async def cancel(self) -> None:
        look = await self.each(lambda broker: broker.timetable.look(Q, [NAME]))
        seen = look["standings"].get(NAME)
        if seen is not None and seen.job_id not in (None, "brought"):
            await self.each(lambda broker: broker.cancel(Q, seen.job_id))


def _timeless(answer: Any) -> Any:
    """An answer without what the clocks said."""
    if not isinstance(answer, msgspec.Struct):
        return answer
    facts = {name: getattr(answer, name) for name in answer.__struct_fields__}
    for name in ("now_ms", "oldest_ready_ms"):
        facts.pop(name, None)
    if "records" in facts:
        facts["records"] = [msgspec.structs.replace(each, at_ms=0) for each in facts["records"]]
    return facts


@pytest.mark.parametrize("seed", range(8))
async def test_memory_decides_as_redis_does(make_broker: MakeBroker, seed: int) -> None:
    """Random edits, moves, firings and ends of jobs: the same answers and the same records, step by step."""
    real, memory = make_broker(), MemoryBroker(block=timedelta(milliseconds=10))
    both = Both(seed, (real, memory))
    for broker in both.brokers:
        both.workers.append(await broker.join([Q]))
    for _ in range(150):
        await both.step()

    records = []
    for broker in both.brokers:
        found, cursor = await broker.timetable.records(Q, limit=2_000)
        assert cursor is None
        records.append([msgspec.structs.replace(each, at_ms=0) for each in found])
    assert records[0] == records[1]
    assert {each.reason for each in records[0]} >= {Reason.ON_TIME, Reason.OVERLAP, Reason.MISSED}
    assert (await real.stats(Q)).drift == (await memory.stats(Q)).drift == 0
    assert await check_queue(real, Q) == []
