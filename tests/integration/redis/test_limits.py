"""Bounds: of a batch, of a promotion, of the journal."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from jobqueue.broker import journal, scripts
from jobqueue.broker.base import Enqueued
from jobqueue.broker.connection import Command, NodeLine
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, settle, take
from tests.integration.redis.conftest import MakeBroker

Calls = list[Command]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every command that goes out."""
    sent: Calls = []
    exchange = NodeLine.exchange

    async def noted(self: NodeLine, commands: list[Command], **options: Any) -> Any:
        sent.extend(commands)
        return await exchange(self, commands, **options)

    monkeypatch.setattr(NodeLine, "exchange", noted)
    return sent


def of(script: scripts.Script, calls: Calls) -> Calls:
    return [command for command in calls if len(command) > 1 and command[1] == script.sha]


def size(command: Command) -> int:
    return sum(len(part) for part in command if isinstance(part, str | bytes))


@pytest.mark.parametrize("together", [True, False], ids=["one call", "many callers"])
async def test_f43_many_jobs_go_out_in_bounded_batches(
    broker: RedisStreamsBroker, calls: Calls, together: bool
) -> None:
    """Every call has at most 500 jobs."""
    jobs = [job(n) for n in range(3_000)]

    if together:
        results = await enqueue(broker, *jobs)
    else:
        results = [each for (each,) in await asyncio.gather(*(enqueue(broker, each) for each in jobs))]

    assert [(each.status, each.job_id) for each in results] == [(Enqueued.NEW, each.id) for each in jobs]
    batches = of(scripts.ENQUEUE, calls)
    assert len(batches) <= 7
    fixed = 3 + len(scripts.ENQUEUE.keys) + len(scripts.ENQUEUE.args)
    assert max((len(command) - fixed) // 3 for command in batches) == 500
    worker = await broker.join([Q])
    taken = await take(worker, 3_000)
    assert [each.job_id for each in taken] == [each.id for each in jobs]
    await settle(worker, COMPLETED, *taken)
    assert len(of(scripts.SETTLE, calls)) == 6
    assert await check_queue(broker, Q) == []


async def test_f43_big_jobs_go_out_a_megabyte_at_a_time(broker: RedisStreamsBroker, calls: Calls) -> None:
    """Every call has at most 1 MB."""
    jobs = [Job("big", {"x": "y" * 250_000}, queue=Q) for _ in range(12)]

    await asyncio.gather(enqueue(broker, *jobs[:6]), *(enqueue(broker, each) for each in jobs[6:]))

    assert (await broker.stats(Q)).depth == 12
    assert max(size(command) for command in of(scripts.ENQUEUE, calls)) < 1_100_000
    assert len(of(scripts.ENQUEUE, calls)) <= 5
    worker = await broker.join([Q])
    taken = await take(worker, 12)
    await settle(worker, RETRY_NOW, *taken)
    assert max(size(command) for command in of(scripts.SETTLE, calls)) < 1_100_000
    assert (await broker.stats(Q)).depth == 12


async def test_failures_with_long_tracebacks_are_settled_a_megabyte_at_a_time(
    broker: RedisStreamsBroker, calls: Calls
) -> None:
    await enqueue(broker, *[job(n) for n in range(400)])
    worker = await broker.join([Q])
    failure = Failure("ValueError", "m" * 2_000, "t" * 8_000)

    await settle(worker, Dead(DeadReason.EXHAUSTED, failure), *await take(worker, 400))

    assert max(size(command) for command in of(scripts.SETTLE, calls)) < 1_300_000
    assert (await broker.stats(Q)).died == 400


async def test_one_job_larger_than_a_batch_goes_alone(broker: RedisStreamsBroker) -> None:
    huge = job(headers={"h": "x" * 8_000})
    object.__setattr__(huge, "payload_json", b'{"x":"%b"}' % (b"y" * 1_048_000))

    results = await enqueue(broker, job(), huge, job())

    assert {each.status for each in results} == {Enqueued.NEW}


@pytest.mark.parametrize("body", [0, 20_000], ids=["small", "20 kB each"])
async def test_f43_f44_jobs_due_at_once_are_promoted_in_bounded_batches(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis", body: int
) -> None:
    """Due jobs are made ready in bounded batches, by several promoters at once, each job once."""
    total, bound = (1_000, 1_048_576 // (body // 3)) if body else (10_000, 200)
    await enqueue(broker, *[job(n, headers=_ballast(body)) for n in range(total)], delay=timedelta(hours=1))
    # Every job due at the same millisecond.
    await raw.zunionstore(broker.keys(Q).delayed, {broker.keys(Q).delayed: 0})

    before = total
    while before:
        waits = await asyncio.gather(broker.promote(Q), broker.promote(Q))
        after = (await broker.stats(Q)).delayed
        assert 0 < before - after <= 2 * bound
        assert waits[-1] == (timedelta(0) if after else None)
        before = after

    worker = await broker.join([Q])
    stats = await broker.stats(Q)
    assert (stats.depth, stats.delayed, stats.drift) == (total, 0, 0)
    assert len({each.job_id for each in await take(worker, total)}) == total


def _ballast(size: int) -> dict[str, str] | None:
    return {"x": "y" * (size // 3)} if size else None


async def test_f76_a_full_journal_drops_the_oldest_and_counts_them(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """The journal keeps its bound: the oldest history is dropped and counted, dead letters never."""
    broker = make_broker(history=True, journal_max_bytes=3_000)
    worker = await broker.join([Q])
    last = ""
    for _ in range(30):
        await enqueue(broker, *[job(n) for n in range(4)])
        taken = await take(worker, 4)
        last = taken[-1].job_id
        await settle(worker, DEAD if _ % 10 == 0 else COMPLETED, *taken)

    stats = await broker.stats(Q)
    page = await broker.journal.read(Q, "journal", after="0-0", count=1_000)
    assert page is not None
    kept = page.executions
    assert 4 <= len(kept) < 40
    assert kept[-1].job_id == last
    assert stats.journal_dropped == 120 - len(kept)
    assert stats.dead == stats.died == 12  # dead letters are never dropped
    held = sum(len(fields[b"r"]) for _, fields in await raw.xrange(broker.keys(Q).journal))
    assert int(await raw.hget(broker.keys(Q).meta, "journal_bytes")) == held <= 3_000

    await broker.journal.trim(Q, "journal", upto=page.last, primary=page.primary)

    assert int(await raw.hget(broker.keys(Q).meta, "journal_bytes")) == 0


def _large(n: int, size: int) -> Job:
    return Job("email.send", {"n": n, "text": "x" * size}, queue=Q)


async def test_f76_payloads_count_for_the_bound_of_the_journal(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    """Payloads in the history count for the journal's bound."""
    broker = make_broker(history=True, journal_max_bytes=3_000, keep_payload=1_000)
    worker = await broker.join([Q])
    for n in range(10):
        await enqueue(broker, _large(n, 800))
        await settle(worker, COMPLETED, *await take(worker, 1))

    held = [len(fields[b"r"]) for _, fields in await raw.xrange(broker.keys(Q).journal)]

    assert len(held) == 3
    assert sum(held) == int(await raw.hget(broker.keys(Q).meta, "journal_bytes")) <= 3_000
    assert (await broker.stats(Q)).journal_dropped == 7


async def test_a_batch_of_settlements_is_bounded_by_the_payloads_that_go_along(
    make_broker: MakeBroker, calls: Calls
) -> None:
    for keep_payload, expected in ((0, 1), (1_000, 1), (200_000, 2)):
        broker = make_broker(history=True, keep_payload=keep_payload)
        worker = await broker.join([Q])
        await enqueue(broker, *(_large(n, 150_000) for n in range(10)))
        taken = await take(worker, 10)
        calls.clear()

        await settle(worker, COMPLETED, *taken)

        assert len(of(scripts.SETTLE, calls)) == expected, keep_payload


async def test_a_page_of_the_journal_has_fewer_entries_where_they_are_large(
    make_broker: MakeBroker, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PAGE_BYTES", 3_000)
    broker = make_broker(history=True, keep_payload=1_000)
    worker = await broker.join([Q])
    for n in range(30):
        await enqueue(broker, _large(n, 800))
        await settle(worker, COMPLETED, *await take(worker, 1))

    sizes, after = [], "0-0"
    while page := await broker.journal.read(Q, "journal", after=after, count=200):
        sizes.append((len(page.executions), page.full))
        after = page.last
    calls.clear()
    await broker.journal.trim(Q, "journal", upto=after, primary="")

    assert sizes == [(20, True), (3, True), (3, True), (3, True), (1, False)]
    assert len(of(scripts.TRIM, calls)) == 11  # by 3 of 30, and a last look
    assert (await broker.stats(Q)).journal == 0


async def test_a_producers_memory_is_one_small_key_that_vanishes(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    for n in range(20):
        await enqueue(broker, job(n))

    keys = [key async for key in raw.scan_iter(match=broker.keys(Q).producer("*").replace("{", "[{]"))]

    assert len(keys) == 1
    assert 0 < await raw.pttl(keys[0]) <= timedelta(hours=1) / timedelta(milliseconds=1)
