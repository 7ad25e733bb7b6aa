"""History while two servers call themselves primary: a failover that the old one has not heard of."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import redis

from jobqueue.app import JobQueue
from jobqueue.broker.base import Settlement
from jobqueue.config import RedisSettings, Settings
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure
from jobqueue.repository.base import LetterFilter
from jobqueue.repository.schedules import TickFilter
from jobqueue.scheduler.ship import ship_queue
from tests.contract.test_tick_records import minutes, record
from testutil.eventually import eventually

Q = "default"
_COPIED_AT_ONCE = ("--repl-diskless-sync-delay", "0")  # else it waits 5 s for more replicas
FAILURE = Failure(error_class="ValueError", message="never", traceback="")


@dataclass
class Side:
    """One server, and a client that takes it for the primary."""

    server: RedisServer
    queue: JobQueue

    async def end(self, *jobs: Job) -> None:
        """Let each job end: every third as a dead letter. They are settled one by one: an entry of history each."""
        consumer = await self.queue.parts.broker.join([Q])
        await self.queue.enqueue_many(jobs)
        taken = await consumer.fetch(len(jobs), wait=False)
        for n, delivery in enumerate(taken):
            dead = Dead(reason=DeadReason.EXHAUSTED, failure=FAILURE)
            await consumer.settle([Settlement(delivery=delivery, outcome=COMPLETED if n % 3 else dead, type="t")])
        await consumer.leave()
        await consumer.close()

    async def ship(self) -> None:
        parts = self.queue.parts
        assert parts.shipping is not None
        await ship_queue(parts.broker.journal, parts.shipping.archive, Q)

    def tell(self, *command: str) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            client.execute_command(*command)  # type: ignore[no-untyped-call]

    def is_linked(self) -> bool:
        with redis.Redis.from_url(self.server.url) as client:
            told: dict[str, object] = client.info("replication")  # type: ignore[assignment]
            return told["master_link_status"] == "up"


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    with (
        start_redis(extra_args=_COPIED_AT_ONCE) as old,
        start_redis(extra_args=("--replicaof", "127.0.0.1", str(old.port))) as new,
    ):
        yield old, new


@pytest.fixture
async def sides(
    servers: tuple[RedisServer, RedisServer], namespace: str, database_url: str
) -> AsyncIterator[tuple[Side, Side]]:
    def side(server: RedisServer) -> Side:
        settings = Settings.load(
            {}, overrides={"REDIS_URL": server.url, "DATABASE_URL": database_url, "JOBQUEUE_NAMESPACE": namespace}
        )
        assert isinstance(settings.redis, RedisSettings)
        return Side(server, JobQueue.from_settings(settings))

    old, new = map(side, servers)
    await eventually(new.is_linked)  # while it loads its first copy it serves nobody
    yield old, new
    await old.queue.close()
    await new.queue.close()


def _jobs(many: int) -> list[Job]:
    return [Job("t", {"n": n}) for n in range(many)]


async def _recorded(queue: JobQueue) -> Counter[str]:
    """How many rows each job has; the counts by the minute say the same."""
    rows = await queue.executions.recent(queue=Q, type=None, outcome=None, limit=10_000)
    assert await queue.executions.count_by_outcome(queue=Q, since=None) == Counter(row.outcome for row in rows)
    return Counter(row.job_id for row in rows)


async def _letters(queue: JobQueue) -> Counter[str]:
    found, _ = await queue.dead_letters.list(LetterFilter(), limit=1000)
    return Counter(each.letter.job_id for each in found)


@pytest.mark.parametrize("old_ships_first", [True, False])
async def test_f49_f52_history_of_the_new_primary_is_whole_while_the_old_one_still_serves(
    sides: tuple[Side, Side], old_ships_first: bool
) -> None:
    """While two servers call themselves primary, all that the new one settles is recorded once, dead letters too."""
    old, new = sides
    shipped, waiting = _jobs(9), _jobs(9)
    await old.end(*shipped)
    await old.ship()
    await old.end(*waiting)
    await eventually(lambda: _same_journal(old, new))

    new.tell("REPLICAOF", "NO", "ONE")
    mine, discarded = _jobs(30), _jobs(30)
    await asyncio.gather(new.end(*mine), old.end(*discarded))  # at the same time, so that their ids mix
    for side in [old, new] if old_ships_first else [new, old]:
        await side.ship()
    await new.ship()

    recorded, letters = await _recorded(new.queue), await _letters(new.queue)
    kept = [job.id for job in (*shipped, *waiting, *mine)]
    assert {job_id: recorded[job_id] for job_id in kept} == dict.fromkeys(kept, 1)
    dead = [job.id for jobs in (shipped, waiting, mine) for job in jobs[::3]]
    assert {job_id: letters[job_id] for job_id in dead} == dict.fromkeys(dead, 1)
    assert (await new.queue.stats(Q)).journal == 0
    if not old_ships_first:
        assert not set(recorded) & {job.id for job in discarded}  # what the old one did is not what happened


async def test_f72_a_trim_that_a_replica_has_not_heard_of_doubles_no_row(sides: tuple[Side, Side]) -> None:
    """A failover that forgets that history was trimmed ships none of it again."""
    old, new = sides
    await old.end(*_jobs(30))
    await eventually(lambda: _same_journal(old, new))
    new.tell("REPLICAOF", "NO", "ONE")
    await old.ship()
    assert (await new.queue.stats(Q)).journal == 30

    await new.ship()
    recorded = await _recorded(new.queue)
    assert (len(recorded), set(recorded.values())) == (30, {1})
    assert set((await _letters(new.queue)).values()) == {1}
    assert (await new.queue.stats(Q)).journal == 0


@pytest.mark.parametrize("old_ships_first", [True, False])
async def test_f72_the_record_of_ticks_is_whole_and_not_doubled_after_a_failover(
    sides: tuple[Side, Side], old_ships_first: bool
) -> None:
    """Decisions about ticks: those shipped, those waiting and those of the new primary are recorded once each."""
    old, new = sides
    shipped, waiting, mine, discarded = ([record(10 * k + n, queue=Q) for n in range(10)] for k in range(4))
    await old.queue.parts.broker.timetable.note(shipped)
    await old.ship()
    await old.queue.parts.broker.timetable.note(waiting)
    await eventually(lambda: _same_ticks(old, new))

    new.tell("REPLICAOF", "NO", "ONE")
    await asyncio.gather(new.queue.parts.broker.timetable.note(mine), old.queue.parts.broker.timetable.note(discarded))
    for side in [old, new] if old_ships_first else [new, old]:
        await side.ship()
    await new.ship()

    found, _ = await new.queue.parts.ticks.search(TickFilter(), limit=100)
    recorded = Counter(each.job_id for each in found)
    kept = [each.job_id for each in (*shipped, *waiting, *mine)]
    assert {job_id: recorded[job_id] for job_id in kept} == dict.fromkeys(kept, 1)
    assert await new.queue.parts.broker.journal.waiting_in([Q], "ticks") == []
    if not old_ships_first:
        assert len(found) == 30


async def test_f72_a_trim_of_ticks_that_a_replica_has_not_heard_of_doubles_no_row(sides: tuple[Side, Side]) -> None:
    """A failover that forgets that the record of ticks was trimmed ships none of it again."""
    old, new = sides
    await old.queue.parts.broker.timetable.note([record(n, queue=Q) for n in range(30)])
    await eventually(lambda: _same_ticks(old, new))
    new.tell("REPLICAOF", "NO", "ONE")
    await old.ship()
    assert await new.queue.parts.broker.journal.waiting_in([Q], "ticks") == [Q]

    await new.ship()

    found, _ = await new.queue.parts.ticks.search(TickFilter(), limit=100)
    assert sorted(minutes(found)) == list(range(30))
    assert await new.queue.parts.broker.journal.waiting_in([Q], "ticks") == []


async def test_a_trim_meant_for_the_old_primary_leaves_the_new_one_alone(sides: tuple[Side, Side]) -> None:
    old, new = sides
    await new.queue.parts.broker.journal.primary(Q)
    old_name = await old.queue.parts.broker.journal.primary(Q)
    await old.end(*_jobs(3))
    await eventually(lambda: _same_journal(old, new))
    new.tell("REPLICAOF", "NO", "ONE")
    assert await new.queue.parts.broker.journal.primary(Q) != old_name
    await new.queue.parts.broker.journal.trim(Q, "journal", upto="9999999999999-0", primary=old_name)
    assert (await new.queue.stats(Q)).journal == 3


async def _same_ticks(old: Side, new: Side) -> bool:
    pages = [await side.queue.parts.broker.timetable.records(Q, limit=100) for side in (old, new)]
    return bool(pages[0][0]) and pages[0] == pages[1]


async def _same_journal(old: Side, new: Side) -> bool:
    there, here = await old.queue.stats(Q), await new.queue.stats(Q)
    return (there.journal, there.dead, there.died) == (here.journal, here.dead, here.died) and there.died > 0
