"""What every dead-letter queue promises: each sentence of `jobqueue.repository.base.DeadLetters`.

The fixture `letters` (conftest.py) chooses the store; one that is filled by a shipper fills itself there.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from jobqueue.broker.base import Broker
from jobqueue.clock import from_ms
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.job import Job, Priority, new_id
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure
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
        (LetterFilter(before=first), []),
        (LetterFilter(before=first + timedelta(milliseconds=1)), [mail.id]),
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


@pytest.mark.parametrize("job_id", [new_id(), "nonsense", ""], ids=["unknown", "nonsense", "empty"])
async def test_an_id_without_a_letter_is_not_found(letters: DeadLetters, job_id: str) -> None:
    with pytest.raises(DeadLetterNotFound):
        await letters.get(job_id)
    with pytest.raises(DeadLetterNotFound):
        await letters.requeue(job_id)
    assert not await letters.delete(job_id)
