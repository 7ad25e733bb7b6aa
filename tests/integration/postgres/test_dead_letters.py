"""Dead letters: paged, filtered, requeued once each whatever happens, deleted and accounted for."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from jobqueue.broker.base import Enqueued, EnqueueResult, Submission
from jobqueue.clock import from_ms
from jobqueue.config import PostgresSettings
from jobqueue.errors import BrokerUnavailable, ConfigError, DeadLetterNotFound, InvalidJob
from jobqueue.job import Job, check_key
from jobqueue.record import DeadLetter, Many
from jobqueue.repository.base import LetterFilter, LetterState
from jobqueue.repository.postgres import dead_letters as dead_letters_module
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.dead_letters import LettersAccount, PostgresDeadLetters
from jobqueue.repository.postgres.queries import DEAD_LETTERS as SQL
from tests.integration.postgres.conftest import Connect, dead_letters_of
from tests.integration.postgres.journal import NOW_MS, dead_letter, job_id_of

NOW = timedelta(0)


class FakeBroker:
    """Queues what it is given, once per idempotency key, as the real one does."""

    def __init__(self) -> None:
        self.queued: list[Submission] = []
        self.calls = 0
        self.holders: dict[str, str] = {}
        self.fail_before: Exception | None = None
        self.fail_after: BaseException | None = None

    async def enqueue(self, submissions: Sequence[Submission]) -> list[EnqueueResult]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.fail_before:
            raise self.fail_before
        results = [self._enqueue(each) for each in submissions]
        if self.fail_after:
            raise self.fail_after
        return results

    def _enqueue(self, submission: Submission) -> EnqueueResult:
        job, key = submission.job, check_key("idempotency_key", submission.idempotency_key)
        if any(each.idempotency_key == key for each in self.queued):
            return EnqueueResult(Enqueued.EXISTS, job.id)
        if job.unique_key in self.holders:
            return EnqueueResult(Enqueued.EXISTS, self.holders[job.unique_key])
        self.queued.append(submission)
        return EnqueueResult(Enqueued.NEW, job.id)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def letters(database: Database, broker: FakeBroker) -> PostgresDeadLetters:
    return dead_letters_of(database, broker)


async def ship(archive: PostgresArchive, *letters: DeadLetter, epoch: str = "e1", queue: str = "mail") -> None:
    async with archive.cursor(queue, "dead", epoch) as cursor:
        assert cursor is not None
        await cursor.ship(executions=[], dead_letters=letters, upto="9-0")


async def test_a_letter_comes_back_as_it_was(archive: PostgresArchive, letters: PostgresDeadLetters) -> None:
    kept = dead_letter(1, unique_key="order-17", generation=3)
    await ship(archive, kept)

    stored = await letters.get(kept.job_id)

    assert stored.letter == kept
    assert (stored.type, stored.state, stored.requeued_at) == ("email.send", LetterState.DEAD, None)
    assert stored.died_at == from_ms(kept.died_ms)


@pytest.mark.parametrize("job_id", ["nobody", "", "\x00", job_id_of(7)])
async def test_a_letter_that_is_not_there_is_named(letters: PostgresDeadLetters, job_id: str) -> None:
    with pytest.raises(DeadLetterNotFound, match="no dead letter of job"):
        await letters.get(job_id)
    with pytest.raises(DeadLetterNotFound):
        await letters.requeue(job_id)
    assert not await letters.delete(job_id)


async def test_pages_go_from_the_newest_death_to_the_oldest_though_rows_come_and_go(
    archive: PostgresArchive, letters: PostgresDeadLetters
) -> None:
    same_instant = NOW_MS
    await ship(archive, *(dead_letter(n, died_ms=same_instant + n // 3) for n in range(1, 11)))

    first, more = await letters.list(LetterFilter(), limit=4)
    await ship(archive, dead_letter(11, died_ms=same_instant + 60_000))
    await letters.delete(first[-1].letter.job_id)
    second, more = await letters.list(LetterFilter(), limit=4, after=more)
    third, end = await letters.list(LetterFilter(), limit=4, after=more)

    assert [each.letter.job_id for page in (first, second, third) for each in page] == [
        job_id_of(n) for n in range(10, 0, -1)
    ]
    assert end is None


async def test_a_page_that_ends_with_the_last_letter_has_no_next(
    archive: PostgresArchive, letters: PostgresDeadLetters
) -> None:
    await ship(archive, dead_letter(1), dead_letter(2))

    page, more = await letters.list(LetterFilter(), limit=2)

    assert len(page) == 2
    assert more is None


@pytest.mark.parametrize("cursor", ["", "%%%", "bm9wZQ", "W10", "WzEsMiwzXQ", "ünïcode", "WzFlOTksMV0", "A" * 500])
async def test_a_made_up_cursor_is_refused(letters: PostgresDeadLetters, cursor: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one that the page before returned"):
        await letters.list(LetterFilter(), limit=2, after=cursor)


FILTERS = {
    "queue": (LetterFilter(queue="report"), [4]),
    "type": (LetterFilter(type="email.send"), [1, 3, 4]),
    "reason": (LetterFilter(reason="crashed"), [2]),
    "error class": (LetterFilter(error="smtp"), [1, 2, 4]),
    "error message": (LetterFilter(error="50% OFF"), [3]),
    "error with a wildcard": (LetterFilter(error="%"), [3]),
    "job": (LetterFilter(job_id=job_id_of(2)), [2]),
    "no uuid": (LetterFilter(job_id="'; DROP TABLE x; --"), []),
    "nul": (LetterFilter(queue="a\x00b"), []),
    "before": (LetterFilter(before=from_ms(NOW_MS - 1000 + 3)), [1, 2]),
    "state": (LetterFilter(state=LetterState.REQUEUED), [5]),
    "any state": (LetterFilter(state=None), [1, 2, 3, 4, 5]),
    "all of them": (LetterFilter(queue="mail", type="email.send", error="smtp"), [1]),
}


@pytest.mark.parametrize(("where", "expected"), FILTERS.values(), ids=FILTERS.keys())
async def test_filters_hold_for_pages_and_counts(
    archive: PostgresArchive, letters: PostgresDeadLetters, where: LetterFilter, expected: list[int]
) -> None:
    await ship(
        archive,
        dead_letter(1),
        dead_letter(2, body=Job("report.build", {}, id=job_id_of(2)).to_wire(), reason="crashed"),
        dead_letter(3, error_class="ValueError", error_message="only 50% off"),
        dead_letter(4, "report"),
        dead_letter(5),
    )
    await letters.requeue(job_id_of(5))

    page, _ = await letters.list(where, limit=9)

    assert sorted(int(each.letter.job_id[-4:], 16) for each in page) == expected
    assert await letters.count(where) == len(expected)


async def test_a_naive_time_is_a_type_error(letters: PostgresDeadLetters) -> None:
    with pytest.raises(TypeError, match="before must be an aware datetime"):
        await letters.count(LetterFilter(before=from_ms(NOW_MS).replace(tzinfo=None)))


async def test_a_requeued_job_is_the_same_job_of_the_next_generation(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    dead = dead_letter(1, unique_key="order-17", generation=1)
    await ship(archive, dead)

    assert await letters.requeue(dead.job_id)

    [submission] = broker.queued
    assert submission.job.to_wire() == dead.body
    assert (submission.job.id, submission.job.queue, submission.job.priority) == (dead.job_id, "mail", dead.priority)
    assert submission.job.unique_key == "order-17"
    assert submission.generation == 2
    assert submission.idempotency_ttl == timedelta(days=7)
    stored = await letters.get(dead.job_id)
    assert stored.state is LetterState.REQUEUED
    assert stored.requeued_at is not None


async def test_f77_twenty_clicks_at_once_requeue_once(
    archive: PostgresArchive, settings: PostgresSettings, connect: Connect, broker: FakeBroker
) -> None:
    """20 requeues at once from 20 processes' pools queue the job once."""
    await ship(archive, dead_letter(1))
    clickers = [dead_letters_of(connect(replace(settings, pool_size=2)), broker) for _ in range(20)]

    answers = await asyncio.gather(*(clicker.requeue(job_id_of(1)) for clicker in clickers))

    assert answers.count(True) == 1
    assert len(broker.queued) == 1
    assert not await clickers[0].requeue(job_id_of(1))


async def test_f77_a_crash_before_the_enqueue_is_made_good_by_the_sweeper(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    """A requeue that broke off before its enqueue is carried on by the sweeper, once."""
    await ship(archive, dead_letter(1))
    broker.fail_before = BrokerUnavailable("Redis is away")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1))
    assert (await letters.get(job_id_of(1))).state is LetterState.REQUEUEING

    broker.fail_before = None

    assert await letters.finish_requeues(older_than=NOW) == 1
    assert await letters.finish_requeues(older_than=NOW) == 0
    assert len(broker.queued) == 1
    assert (await letters.get(job_id_of(1))).state is LetterState.REQUEUED


@pytest.mark.parametrize("error", [BrokerUnavailable("reply lost"), asyncio.CancelledError()], ids=["lost", "crash"])
async def test_f77_a_crash_after_the_enqueue_queues_nothing_twice(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker, error: BaseException
) -> None:
    """A requeue that broke off after its enqueue queues nothing twice when it is carried on."""
    await ship(archive, dead_letter(1))
    broker.fail_after = error
    with pytest.raises(type(error)):
        await letters.requeue(job_id_of(1))
    broker.fail_after = None

    assert await letters.finish_requeues(older_than=NOW) == 1

    assert broker.calls == 2
    assert len(broker.queued) == 1
    assert (await letters.get(job_id_of(1))).state is LetterState.REQUEUED


async def test_the_sweeper_leaves_fresh_requeues_to_those_who_began_them(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker, sql: asyncpg.Connection
) -> None:
    await ship(archive, dead_letter(1))
    broker.fail_before = BrokerUnavailable("Redis is away")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1))
    broker.fail_before = None

    assert await letters.finish_requeues() == 0
    await sql.execute("UPDATE jobqueue.dead_letters SET requeued_at = now() - interval '1 minute'")
    assert await letters.finish_requeues() == 1


async def test_f77_a_click_on_an_unfinished_requeue_finishes_it(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    """A click on an unfinished requeue finishes it, and queues nothing twice."""
    await ship(archive, dead_letter(1))
    broker.fail_after = BrokerUnavailable("reply lost")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1))
    broker.fail_after = None

    assert await letters.requeue(job_id_of(1))
    assert not await letters.requeue(job_id_of(1))
    assert len(broker.queued) == 1


async def test_two_deaths_of_one_job_in_one_generation_are_two_requeues(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, dead_letter(1), dead_letter(1, entry_id="77-7"))

    assert await letters.requeue(job_id_of(1))
    assert await letters.requeue(job_id_of(1))
    assert not await letters.requeue(job_id_of(1))
    assert len(broker.queued) == 2


async def test_a_held_unique_key_leaves_the_letter_dead_and_says_who_holds_it(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, dead_letter(1, unique_key="order-17"))
    broker.holders["order-17"] = job_id_of(99)

    with pytest.raises(InvalidJob, match=f"live job {job_id_of(99)} holds its unique key 'order-17'"):
        await letters.requeue(job_id_of(1))
    assert (await letters.get(job_id_of(1))).state is LetterState.DEAD

    broker.holders.clear()
    assert await letters.requeue(job_id_of(1))


async def test_an_unreadable_letter_stays_dead_and_stops_no_sweeper(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker, sql: asyncpg.Connection
) -> None:
    await ship(archive, dead_letter(1, body=b"\x00garbage"), dead_letter(2))

    with pytest.raises(InvalidJob, match="cannot be requeued: body is not a job"):
        await letters.requeue(job_id_of(1))
    assert (await letters.get(job_id_of(1))).state is LetterState.DEAD

    await sql.execute("UPDATE jobqueue.dead_letters SET state = 'requeueing', requeued_at = now()")
    assert await letters.finish_requeues(older_than=NOW) == 1
    assert (await letters.get(job_id_of(1))).state is LetterState.DEAD
    assert [each.job.id for each in broker.queued] == [job_id_of(2)]


async def test_a_deleted_letter_is_gone_and_counted(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 6)))
    await ship(archive, dead_letter(6), epoch="e2")
    await ship(archive, dead_letter(7, "report"), queue="report")
    await letters.requeue(job_id_of(1))

    assert await letters.delete(job_id_of(2))
    assert not await letters.delete(job_id_of(2))
    assert not await letters.delete(job_id_of(1)), "it is queued again"

    assert await letters.accounted("mail") == LettersAccount(waiting=4, purged=1)
    assert await letters.accounted("mail", epoch="e2") == LettersAccount(waiting=1, purged=0)
    assert await letters.accounted("report") == LettersAccount(waiting=1, purged=0)
    assert await letters.accounted("nobody") == LettersAccount(waiting=0, purged=0)


async def test_a_letter_on_its_way_back_cannot_be_deleted(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, dead_letter(1))
    broker.fail_before = BrokerUnavailable("Redis is away")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1))

    assert not await letters.delete(job_id_of(1))
    assert await letters.accounted("mail") == LettersAccount(waiting=1, purged=0)


async def test_deleting_at_once_counts_each_letter_once(archive: PostgresArchive, letters: PostgresDeadLetters) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 11)))

    answers = await asyncio.gather(*(letters.delete(job_id_of(n % 10 + 1)) for n in range(40)))

    assert answers.count(True) == 10
    assert await letters.accounted("mail") == LettersAccount(waiting=0, purged=10)


async def test_f77_deleting_and_requeueing_at_once_never_does_both(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    """Deleting and requeueing one letter at once: exactly one of the two happens."""
    await ship(archive, *(dead_letter(n) for n in range(1, 21)))

    async def requeue(number: int) -> bool:
        try:
            return await letters.requeue(job_id_of(number))
        except DeadLetterNotFound:
            return False

    requeued = asyncio.gather(*(requeue(n) for n in range(1, 21)))
    deleted = asyncio.gather(*(letters.delete(job_id_of(n)) for n in range(1, 21)))

    for once_more, gone in zip(await requeued, await deleted, strict=True):
        assert once_more != gone
    assert len(broker.queued) == (await requeued).count(True)


async def test_a_deletion_that_waited_for_a_requeue_deletes_nothing(
    archive: PostgresArchive, letters: PostgresDeadLetters, sql: asyncpg.Connection, database_url: str
) -> None:
    await ship(archive, dead_letter(1))
    watcher = await asyncpg.connect(database_url)

    async with asyncio.timeout(30), sql.transaction():
        await sql.execute("UPDATE jobqueue.dead_letters SET state = 'requeueing', requeued_at = now()")
        deleting = asyncio.create_task(letters.delete(job_id_of(1)))
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not await watcher.fetchval(blocked):  # noqa: ASYNC110 - the server has no event for us
            await asyncio.sleep(0.005)

    assert not await deleting
    assert await letters.accounted("mail") == LettersAccount(waiting=1, purged=0)
    await watcher.close()


async def test_namespaces_see_only_their_own(archive: PostgresArchive, database: Database, broker: FakeBroker) -> None:
    await ship(archive, dead_letter(1))
    other = dead_letters_of(database, broker, namespace="other")

    assert await other.count(LetterFilter()) == 0
    assert await other.finish_requeues(older_than=NOW) == 0
    assert not await other.delete(job_id_of(1))
    with pytest.raises(DeadLetterNotFound):
        await other.requeue(job_id_of(1))


EDIT = b'{"to":"grace@example.org"}'


def edited(number: int) -> bytes:
    return dead_letter(number).body.replace(b'{"to":"ada@example.org","number":%d}' % number, EDIT)


@pytest.mark.parametrize("queued_already", [False, True], ids=["before the enqueue", "after the enqueue"])
async def test_f77_the_sweeper_carries_out_an_edit_that_broke_off_with_the_edited_payload(
    archive: PostgresArchive,
    letters: PostgresDeadLetters,
    broker: FakeBroker,
    sql: asyncpg.Connection,
    queued_already: bool,
) -> None:
    """An edited requeue that broke off is carried on with the edited payload, once."""
    await ship(archive, dead_letter(1))
    if queued_already:
        broker.fail_after = BrokerUnavailable("reply lost")
    else:
        broker.fail_before = BrokerUnavailable("Redis is away")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1), payload=EDIT)
    broker.fail_before = broker.fail_after = None

    assert await letters.finish_requeues(older_than=NOW) == 1

    assert [each.job.to_wire() for each in broker.queued] == [edited(1)]
    row = await sql.fetchrow("SELECT body, payload, state FROM jobqueue.dead_letters")
    assert (bytes(row["body"]), row["payload"], row["state"]) == (edited(1), EDIT.decode(), "requeued")


async def test_an_edit_is_repeated_with_the_same_payload_and_with_no_other(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, dead_letter(1))
    broker.fail_before = BrokerUnavailable("Redis is away")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue(job_id_of(1), payload=EDIT)
    broker.fail_before = None

    assert not await letters.requeue(job_id_of(1), payload=b'{"to":"eve"}')
    assert broker.queued == []
    assert await letters.requeue(job_id_of(1), payload=EDIT)
    assert not await letters.requeue(job_id_of(1), payload=EDIT)
    assert [each.job.to_wire() for each in broker.queued] == [edited(1)]


async def test_a_body_edited_since_it_was_read_is_not_queued_as_it_was(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker, sql: asyncpg.Connection
) -> None:
    await ship(archive, dead_letter(1))
    row = await letters._newest(job_id_of(1))
    await sql.execute("UPDATE jobqueue.dead_letters SET state = 'requeueing', body = $1", edited(1))

    assert await letters._requeues.bring_back([row]) == [False]
    assert broker.queued == []


async def test_many_requeues_that_broke_off_are_made_good_by_the_sweeper(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 31)))
    broker.fail_after = BrokerUnavailable("reply lost")
    with pytest.raises(BrokerUnavailable):
        await letters.requeue_where(LetterFilter(), limit=20)
    broker.fail_after = None

    assert await letters.finish_requeues(older_than=NOW) == 20
    assert await letters.requeue_where(LetterFilter(), limit=20) == Many(matched=10, done=10)
    assert len(broker.queued) == 30


async def test_many_requeues_take_one_round_trip_a_hundred(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 251)))

    many = await letters.requeue_where(LetterFilter(), limit=250)

    assert (many.done, broker.calls) == (250, 3)


async def test_failures_do_not_stand_in_the_way_of_others(
    archive: PostgresArchive, letters: PostgresDeadLetters, broker: FakeBroker
) -> None:
    await ship(archive, *(dead_letter(n, body=b"\xff" if n > 100 else dead_letter(n).body) for n in range(1, 251)))

    many = await letters.requeue_where(LetterFilter(), limit=40)

    assert (many.matched, many.done, len(many.failed), many.remaining) == (250, 40, 150, 60)
    assert "body is not a job" in many.failed[job_id_of(250)]


async def test_what_is_counted_is_bounded(
    archive: PostgresArchive, letters: PostgresDeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 11)))
    monkeypatch.setattr(dead_letters_module, "_MOST_COUNTED", 5)

    many = await letters.delete_where(LetterFilter(), limit=3)

    assert many == Many(matched=5, more_than=True, done=3, remaining=2)


async def test_many_deletions_are_accounted_for_by_queue_and_epoch(
    archive: PostgresArchive, letters: PostgresDeadLetters
) -> None:
    await ship(archive, *(dead_letter(n) for n in range(1, 6)))
    await ship(archive, dead_letter(6), epoch="e2")
    await ship(archive, dead_letter(7, "report"), queue="report")

    manys = await asyncio.gather(*(letters.delete_where(LetterFilter(), limit=9) for _ in range(5)))

    assert sum(many.done for many in manys) == 7
    assert await letters.accounted("mail") == LettersAccount(waiting=0, purged=6)
    assert await letters.accounted("mail", epoch="e2") == LettersAccount(waiting=0, purged=1)
    assert await letters.accounted("report") == LettersAccount(waiting=0, purged=1)


async def test_letters_of_a_queue_and_of_a_task_are_found_by_their_index(
    archive: PostgresArchive, letters: PostgresDeadLetters, sql: asyncpg.Connection
) -> None:
    rare = {1: {"queue": "report"}, 2: {"body": Job("rare", {}, id=job_id_of(2)).to_wire()}}
    await ship(archive, *(dead_letter(n, **rare.get(n, {})) for n in range(1, 3001)))
    await sql.execute("ANALYZE jobqueue.dead_letters")
    nothing = [None] * 5

    for arguments, index in (
        (("report", None, *nothing, None), "dead_letters_of_queue"),
        ((None, "rare", *nothing, None), "dead_letters_of_type"),
        ((None, None, *nothing, None), "dead_letters_recent"),
    ):
        plan = await explained(sql, SQL.page, "jq", *arguments, None, None, 50)
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan


async def explained(sql: asyncpg.Connection, query: str, *args: object) -> str:
    async with sql.transaction():
        await sql.execute(SQL.plan_for_these)
        return "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {query}", *args))
