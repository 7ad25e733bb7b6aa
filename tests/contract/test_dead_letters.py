"""What every dead-letter queue promises: each sentence of `jobqueue.repository.base.DeadLetters`.

The fixture `letters` (conftest.py) chooses the store; one that is filled by a shipper fills itself there.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

from jobqueue.broker.base import Broker
from jobqueue.clock import from_ms
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.job import MAX_PAYLOAD_BYTES, Job, Priority, new_id
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure
from jobqueue.record import Many
from jobqueue.repository.base import DeadLetters, LetterFilter, LetterState
from tests.contract.scene import DEAD, Q, enqueue, job, run, settle, take_one
from testutil.eventually import eventually

ANY = LetterFilter()


async def bury(broker: Broker, *jobs: Job, outcome: Dead = DEAD) -> None:
    """One after the other, each at a millisecond of its own."""
    for each in jobs:
        await run(broker, outcome, each)
        last = (await broker.journal.read(each.queue, "dead", after="0-0", count=100_000)).dead_letters[-1]  # type: ignore[union-attr]
        worker = await broker.join([each.queue])
        await eventually(lambda last=last, worker=worker: worker.now_ms() > last.died_ms + 1)


async def ids(letters: DeadLetters, where: LetterFilter = ANY, *, limit: int = 100) -> list[str]:
    found, _ = await letters.list(where, limit=limit)
    return [each.letter.job_id for each in found]


@pytest.fixture(params=["memory", "valkey", "redis", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_letter_tells_what_died_and_why(broker: Broker, letters: DeadLetters) -> None:
    died = job(3, priority="high", unique_key="k")
    await bury(broker, died)

    stored = await letters.get(died.id)

    letter = stored.letter
    assert (letter.job_id, letter.queue, letter.priority, letter.body) == (died.id, Q, Priority.HIGH, died.to_wire())
    assert (letter.reason, letter.error_class, letter.error_message) == ("exhausted", "ValueError", "no such address")
    assert (letter.traceback, letter.attempts, letter.crashes, letter.generation) == ("Traceback ...", 1, 0, 0)
    assert (stored.type, stored.state, stored.requeued_at) == ("email.send", LetterState.DEAD, None)
    assert stored.died_at == from_ms(letter.died_ms)


async def test_letters_are_listed_newest_first_over_all_queues(broker: Broker, letters: DeadLetters) -> None:
    jobs = [job(n, queue=("a", "b")[n % 2]) for n in range(6)]
    await bury(broker, *jobs)

    assert await ids(letters) == [each.id for each in reversed(jobs)]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_join_without_gap_or_overlap(broker: Broker, letters: DeadLetters, limit: int) -> None:
    jobs = [job(n, queue=("a", "b", "c")[n % 3]) for n in range(6)]
    await asyncio.gather(*(run(broker, DEAD, each) for each in jobs))

    found: list[str] = []
    after = None
    for _ in range(10):
        page, after = await letters.list(ANY, limit=limit, after=after)
        assert len(page) <= limit
        found += [each.letter.job_id for each in page]
        if after is None:
            break

    assert after is None
    assert sorted(found) == sorted(each.id for each in jobs)


async def test_a_page_that_is_the_last_says_so(broker: Broker, letters: DeadLetters) -> None:
    await bury(broker, job(1), job(2))

    _, after = await letters.list(ANY, limit=2)

    assert after is None


async def test_letters_are_found_by_what_they_are(broker: Broker, letters: DeadLetters) -> None:
    mail, report = job(1), Job("report.build", {}, queue="reports")
    await bury(broker, mail)
    await bury(broker, report, outcome=Dead(DeadReason.GIVEN_UP, Failure("KeyError", "Column_x missing")))
    first = (await letters.get(mail.id)).died_at

    for where, expected in (
        (LetterFilter(queue="reports"), [report.id]),
        (LetterFilter(queue="nobody"), []),
        (LetterFilter(type="email.send"), [mail.id]),
        (LetterFilter(reason="given_up"), [report.id]),
        (LetterFilter(error="column_X"), [report.id]),
        (LetterFilter(error="valueerror"), [mail.id]),
        (LetterFilter(job_id=mail.id), [mail.id]),
        (LetterFilter(state=LetterState.REQUEUEING), []),
        (LetterFilter(state="dead"), [report.id, mail.id]),  # type: ignore[arg-type]  # as text, as api.md says
        (LetterFilter(before=first), []),
        (LetterFilter(before=first + timedelta(milliseconds=1)), [mail.id]),
        (LetterFilter(queues=("reports", "nobody")), [report.id]),
        (LetterFilter(queues=(Q, "reports")), [report.id, mail.id]),
        (LetterFilter(queue=Q, queues=("reports",)), []),
        (LetterFilter(queues=()), []),
        (ANY, [report.id, mail.id]),
    ):
        assert await ids(letters, where) == expected, where
        assert await letters.count(where) == len(expected), where


async def test_a_requeued_job_comes_back_under_its_id_with_a_fresh_budget(broker: Broker, letters: DeadLetters) -> None:
    died = job(9, priority="low", unique_key="k")
    await bury(broker, died)

    assert await letters.requeue(died.id)

    worker = await broker.join([Q])
    again = await take_one(worker)
    assert (again.job_id, again.body, again.rank, again.unique_key) == (died.id, died.to_wire(), 3, "k")
    assert (again.attempt, again.crashes, again.generation, again.last_error) == (1, 0, 1, None)
    assert (await enqueue(broker, job(unique_key="k")))[0].job_id == died.id
    assert await ids(letters) == []
    await settle(worker, COMPLETED, again)
    stats = await broker.stats(Q)
    assert (stats.enqueued, stats.completed, stats.died, stats.requeued, stats.live) == (2, 1, 1, 1, 0)


async def test_one_death_is_requeued_once_however_often_one_clicks(broker: Broker, letters: DeadLetters) -> None:
    died = job()
    await bury(broker, died)

    async def click() -> bool:
        # Without a memory of what was requeued, a late click finds nothing.
        with suppress(DeadLetterNotFound):
            return await letters.requeue(died.id)
        return False

    assert sum(await asyncio.gather(*(click() for _ in range(20)))) == 1
    assert not await click()
    assert (await broker.stats(Q)).depth == 1


async def test_a_requeued_job_may_die_again(broker: Broker, letters: DeadLetters) -> None:
    died = job()
    await bury(broker, died)
    await letters.requeue(died.id)
    worker = await broker.join([Q])
    await settle(worker, DEAD, await take_one(worker))

    assert (await letters.get(died.id)).letter.generation == 1
    assert await letters.requeue(died.id)
    assert (await take_one(worker)).generation == 2


async def test_a_letter_stays_while_another_job_holds_its_unique_key(broker: Broker, letters: DeadLetters) -> None:
    died, holder = job(1, unique_key="k"), job(2, unique_key="k")
    await bury(broker, died)
    await enqueue(broker, holder)

    with pytest.raises(InvalidJob, match=holder.id):
        await letters.requeue(died.id)
    assert await ids(letters) == [died.id]

    await broker.cancel(Q, holder.id)
    assert await letters.requeue(died.id)


async def test_a_deleted_letter_is_gone_and_counted(broker: Broker, letters: DeadLetters, kind: str) -> None:
    keep, drop = job(1), job(2)
    await bury(broker, keep, drop)

    assert await letters.delete(drop.id)
    assert not await letters.delete(drop.id)

    assert await ids(letters) == [keep.id]
    # Postgres counts with its rows; the fixture holds both counts against the broker's.
    assert (await broker.stats(Q)).purged == (0 if kind == "postgres" else 1)


async def test_of_two_jobs_with_one_id_in_two_queues_the_letter_of_the_named_queue_is_meant(
    broker: Broker, letters: DeadLetters
) -> None:
    mine = job(1, queue="mine")
    theirs = job(2, queue="theirs", id=mine.id)
    await bury(broker, mine, theirs)

    assert (await letters.get(mine.id)).letter.queue == "theirs", "the newest, where no queue is named"
    assert (await letters.get(mine.id, queue="mine")).letter.body == mine.to_wire()
    assert await letters.requeue(mine.id, queue="mine", payload=b'{"n":3}')
    assert await broker.locate("mine", mine.id) is not None
    assert (await letters.get(mine.id, queue="theirs")).letter.body == theirs.to_wire()
    assert not await letters.delete(mine.id, queue="mine")
    assert await letters.delete(mine.id, queue="theirs")
    assert await ids(letters) == []


async def test_a_queue_without_a_letter_of_this_id_has_none(broker: Broker, letters: DeadLetters) -> None:
    theirs = job(1, queue="theirs")
    await bury(broker, theirs)
    await enqueue(broker, job(2, queue="mine"))

    with pytest.raises(DeadLetterNotFound):
        await letters.get(theirs.id, queue="mine")
    with pytest.raises(DeadLetterNotFound):
        await letters.requeue(theirs.id, queue="mine")
    assert not await letters.delete(theirs.id, queue="mine")
    assert await ids(letters) == [theirs.id]


@pytest.mark.parametrize("job_id", [new_id(), "nonsense", ""], ids=["unknown", "nonsense", "empty"])
async def test_an_id_without_a_letter_is_not_found(letters: DeadLetters, job_id: str) -> None:
    with pytest.raises(DeadLetterNotFound):
        await letters.get(job_id)
    with pytest.raises(DeadLetterNotFound):
        await letters.requeue(job_id)
    assert not await letters.delete(job_id)


async def test_an_edited_job_comes_back_with_its_new_payload_and_all_else_as_it_was(
    broker: Broker, letters: DeadLetters
) -> None:
    died = Job("email.send", {"to": "ada"}, queue=Q, priority="low", max_retries=7, headers={"a": "b"}, unique_key="k")
    await bury(broker, died)

    assert await letters.requeue(died.id, payload=b' {"to": "na\xc3\xafve", "n": 12345678901234567890123}\n')

    again = await take_one(await broker.join([Q]))
    assert again.body == died.to_wire().replace(
        b'{"to":"ada"}', b'{"to": "na\xc3\xafve", "n": 12345678901234567890123}'
    )
    assert (again.job_id, again.rank, again.unique_key, again.attempt, again.generation) == (died.id, 3, "k", 1, 1)
    assert await ids(letters) == []


async def test_a_newer_producers_fields_survive_an_edit(broker: Broker, letters: DeadLetters) -> None:
    died = job()
    object.__setattr__(died, "_extra", {"colour": msgspec.Raw(b'"red"')})
    await bury(broker, died)

    await letters.requeue(died.id, payload=b"{}")

    body = (await take_one(await broker.join([Q]))).body
    assert msgspec.json.decode(body)["colour"] == "red"
    assert msgspec.json.decode(body)["payload"] == {}


BAD_PAYLOADS = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[1]",
    "no text": b'{"a":"\xff"}',
    "half a pair": b'{"a":"\\ud800"}',
    "two of them": b"{}{}",
    "too deep": b'{"a":' + b"[" * 80 + b"]" * 80 + b"}",
    "too long": b'{"a":"' + b"x" * MAX_PAYLOAD_BYTES + b'"}',
    "too large a number": b'{"a":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS.keys())
async def test_a_payload_that_no_job_may_have_leaves_the_letter_as_it_was(
    broker: Broker, letters: DeadLetters, payload: bytes
) -> None:
    died = job(1)
    await bury(broker, died)

    with pytest.raises(InvalidJob, match=f"dead letter of job {died.id} cannot be requeued: payload"):
        await letters.requeue(died.id, payload=payload)

    assert (await letters.get(died.id)).letter.body == died.to_wire()
    assert await ids(letters) == [died.id]


async def test_an_edit_in_vain_leaves_the_letter_with_what_it_died_of(broker: Broker, letters: DeadLetters) -> None:
    died, holder = job(1, unique_key="k"), job(2, unique_key="k")
    await bury(broker, died)
    await enqueue(broker, holder)

    with pytest.raises(InvalidJob, match=holder.id):
        await letters.requeue(died.id, payload=b'{"n":99}')
    assert (await letters.get(died.id)).letter.body == died.to_wire()

    await broker.cancel(Q, holder.id)
    assert await letters.requeue(died.id, payload=b'{"n":100}')
    assert (await take_one(await broker.join([Q]))).job().payload == {"n": 100}


async def test_of_twenty_different_edits_at_once_one_is_queued(broker: Broker, letters: DeadLetters) -> None:
    died = job()
    await bury(broker, died)

    async def edit(n: int) -> int | None:
        with suppress(DeadLetterNotFound):
            payload = None if n % 3 == 0 else b'{"n":%d}' % n
            return n if await letters.requeue(died.id, payload=payload) else None
        return None

    winners = [n for n in await asyncio.gather(*(edit(n) for n in range(20))) if n is not None]

    assert len(winners) == 1
    again = (await take_one(await broker.join([Q]))).job().payload["n"]
    # A plain click may be the one that finishes somebody's edit; an edit that won is what was queued.
    assert again == winners[0] or (winners[0] % 3 == 0 and again in range(20))
    assert (await broker.stats(Q)).depth == 0


async def test_many_are_requeued_by_what_they_are_and_the_rest_is_counted(broker: Broker, letters: DeadLetters) -> None:
    mails = [job(n) for n in range(5)]
    report = Job("report.build", {}, queue="reports")
    await bury(broker, *mails, report)
    where = LetterFilter(type="email.send")

    first = await letters.requeue_where(where, limit=3)
    second = await letters.requeue_where(where, limit=3)
    third = await letters.requeue_where(where, limit=3)

    assert first == Many(matched=5, done=3, remaining=2)
    assert second == Many(matched=2, done=2, remaining=0)
    assert third == Many(matched=0)
    assert await ids(letters) == [report.id]
    worker = await broker.join([Q])
    taken = {(await take_one(worker)).job_id for _ in mails}
    assert taken == {each.id for each in mails}


async def test_one_that_cannot_be_requeued_is_named_and_holds_up_no_other(broker: Broker, letters: DeadLetters) -> None:
    jobs = [job(1), job(2, unique_key="k"), job(3)]
    holder = job(4, unique_key="k")
    await bury(broker, *jobs)
    await enqueue(broker, holder)

    many = await letters.requeue_where(ANY, limit=2)

    assert (many.matched, many.done, many.remaining, list(many.failed)) == (3, 2, 0, [jobs[1].id])
    assert holder.id in many.failed[jobs[1].id]
    assert await ids(letters) == [jobs[1].id]


async def test_two_who_requeue_all_at_once_queue_each_job_once(broker: Broker, letters: DeadLetters) -> None:
    jobs = [job(n) for n in range(10)]
    await bury(broker, *jobs)

    manys = await asyncio.gather(*(letters.requeue_where(ANY, limit=100) for _ in range(4)))

    assert sum(many.done for many in manys) == 10
    assert (await broker.stats(Q)).depth == 10


async def test_many_are_deleted_by_what_they_are(broker: Broker, letters: DeadLetters, kind: str) -> None:
    jobs = [job(n, queue=("a", "b")[n % 2]) for n in range(6)]
    await bury(broker, *jobs)
    where = LetterFilter(queues=("a",))

    assert await letters.delete_where(where, limit=2) == Many(matched=3, done=2, remaining=1)
    assert await letters.delete_where(where, limit=2) == Many(matched=1, done=1)
    assert await letters.delete_where(where, limit=2) == Many(matched=0)

    assert await letters.count(ANY) == 3
    assert (await broker.stats("a")).purged == (0 if kind == "postgres" else 3)


async def test_what_is_on_its_way_or_back_is_acted_on_by_nobody(broker: Broker, letters: DeadLetters) -> None:
    await bury(broker, job(1))

    for state in (LetterState.REQUEUED, LetterState.REQUEUEING):
        where = LetterFilter(state=state)
        assert (
            await letters.requeue_where(where, limit=5) == await letters.delete_where(where, limit=5) == Many(matched=0)
        )
    assert await letters.count(ANY) == 1
    assert await letters.requeue_where(LetterFilter(state=None), limit=5) == Many(matched=1, done=1)


async def test_letters_are_grouped_by_their_error(broker: Broker, letters: DeadLetters) -> None:
    refused = Dead(DeadReason.EXHAUSTED, Failure("OSError", "refused"))
    mails = [job(n) for n in range(3)]
    await bury(broker, mails[0], mails[1], outcome=refused)
    await bury(broker, mails[2], outcome=Dead(DeadReason.EXHAUSTED, Failure("OSError", "unreachable")))
    others = [job(9), job(10, queue="reports")]
    await bury(broker, *others)
    dates = [(await letters.get(each.id)).died_at for each in mails]

    groups = await letters.groups(ANY, limit=10)

    assert [(each.type, each.queue, each.error_class, each.count) for each in groups] == [
        ("email.send", Q, "OSError", 3),
        ("email.send", "reports", "ValueError", 1),
        ("email.send", Q, "ValueError", 1),
    ]
    assert (groups[0].first_at, groups[0].last_at) == (dates[0], dates[2])
    assert (groups[0].last_message, groups[0].last_id) == ("unreachable", mails[2].id)
    assert await letters.groups(ANY, limit=1) == groups[:1]
    assert await letters.groups(LetterFilter(queue="reports"), limit=10) == groups[1:2]
