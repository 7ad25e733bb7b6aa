"""A job id is unique within a queue: who takes the id of a job in a queue of others neither sees nor hides that job."""

from datetime import timedelta

import pytest

from jobqueue.access.scope import Scope
from jobqueue.app import JobQueue
from jobqueue.job import Job
from jobqueue.search import JobFilter
from tests.integration.api.conftest import Api, make_key
from tests.integration.search.scene import DEAD, ended

pytestmark = pytest.mark.timeout(90)

ALL = tuple(Scope)


@pytest.fixture
async def bank(guarded: Api, queue: JobQueue) -> Api:
    return guarded.holding(await make_key(queue, *ALL, queues=("bank",)))


@pytest.fixture
async def mail(guarded: Api, queue: JobQueue) -> Api:
    return guarded.holding(await make_key(queue, *ALL, queues=("mail",)))


async def test_a_live_job_is_not_hidden_by_one_with_its_id(bank: Api, mail: Api, queue: JobQueue) -> None:
    theirs = await queue.enqueue(Job("pay", {"card": "4711"}, queue="bank"), delay=timedelta(hours=1))
    mine = {"type": "pay", "queue": "mail", "id": theirs.id, "delay": "1h"}
    await mail.expect(201, "POST", "/jobs", json=mine)

    for holder, name in ((bank, "bank"), (mail, "mail")):
        assert (await holder.get(f"/jobs/{theirs.id}"))["queue"] == name
        assert [each["queue"] for each in (await holder.get(f"/jobs?q={theirs.id}"))["items"]] == [name]
    assert (await queue.cancel_where(JobFilter(), limit=10, dry_run=True)).matched == 2
    await mail.expect(200, "DELETE", f"/jobs/{theirs.id}")
    assert (await bank.expect(200, "DELETE", f"/jobs/{theirs.id}"))["state"] == "cancelled"


async def test_the_history_of_a_job_is_not_told_to_who_takes_its_id(bank: Api, mail: Api, queue: JobQueue) -> None:
    theirs = await ended(queue, Job("pay", {"card": "4711"}, queue="bank"), DEAD)
    await bank.get(f"/jobs/{theirs}")
    await ended(queue, Job("pay", {"n": 1}, queue="mail", id=theirs))

    mine = await mail.get(f"/jobs/{theirs}")

    assert (mine["queue"], mine["state"], len(mine["attempts"])) == ("mail", "completed", 1)
    assert "4711" not in str(mine)
    told = await bank.get(f"/jobs/{theirs}")
    assert (told["queue"], told["state"], told["payload"]) == ("bank", "dead", {"card": "4711"})
    assert [each["queue"] for each in (await bank.get("/jobs"))["items"]] == ["bank"]


async def test_a_dead_letter_lends_its_payload_to_no_job_of_another_queue(
    bank: Api, mail: Api, queue: JobQueue
) -> None:
    theirs = (await queue.enqueue(Job("pay", {"card": "4711"}, queue="bank"), delay=timedelta(hours=1))).id
    await ended(queue, Job("pay", {"n": 1}, queue="mail", id=theirs), DEAD)
    await mail.get(f"/jobs/{theirs}")
    await bank.expect(200, "DELETE", f"/jobs/{theirs}")
    await ended(queue, Job("pay", {"card": "4711"}, queue="bank", id=theirs), DEAD)
    await bank.get(f"/jobs/{theirs}")

    assert (await mail.get(f"/jobs/{theirs}"))["payload"] == {"n": 1}


async def test_a_dead_letter_is_not_hidden_by_a_newer_one_with_its_id(bank: Api, mail: Api, queue: JobQueue) -> None:
    theirs = await ended(queue, Job("pay", {"card": "4711"}, queue="bank"), DEAD)
    await bank.get(f"/dlq/{theirs}")
    await ended(queue, Job("pay", {"n": 1}, queue="mail", id=theirs), DEAD)

    assert (await bank.get(f"/dlq/{theirs}"))["payload"] == {"card": "4711"}
    assert (await mail.get(f"/dlq/{theirs}"))["payload"] == {"n": 1}
    assert (await bank.get(f"/jobs/{theirs}"))["can"] == ["retry", "edit"]
    await bank.expect(200, "POST", f"/dlq/{theirs}/retry", json={"payload": {"card": "4712"}})
    assert (await mail.get(f"/dlq/{theirs}"))["payload"] == {"n": 1}
    assert (await queue.get(theirs, queue="bank")).payload == {"card": "4712"}  # type: ignore[union-attr]
    await mail.expect(204, "DELETE", f"/dlq/{theirs}")
    await mail.refused("not-found", "GET", f"/dlq/{theirs}")


async def test_patterns_of_a_key_find_the_letter_that_it_sees(guarded: Api, queue: JobQueue) -> None:
    holder = guarded.holding(await make_key(queue, *ALL, queues=("ban*",)))
    theirs = await ended(queue, Job("pay", {"card": "4711"}, queue="bank"), DEAD)
    await holder.get(f"/dlq/{theirs}")
    await ended(queue, Job("pay", {"n": 1}, queue="mail", id=theirs), DEAD)

    assert (await holder.get(f"/dlq/{theirs}"))["queue"] == "bank"
    await holder.expect(204, "DELETE", f"/dlq/{theirs}")
    await holder.refused("not-found", "GET", f"/dlq/{theirs}")
    assert (await queue.dead_letters.get(theirs)).letter.queue == "mail"


async def test_a_job_is_retried_in_its_own_queue(bank: Api, mail: Api, queue: JobQueue) -> None:
    theirs = await ended(queue, Job("pay", {"card": "4711"}, queue="bank"), DEAD)
    await bank.get(f"/dlq/{theirs}")
    await ended(queue, Job("pay", {"n": 1}, queue="mail", id=theirs), DEAD)

    await bank.expect(200, "POST", f"/jobs/{theirs}/retry")

    assert (await bank.get(f"/jobs/{theirs}"))["state"] == "queued"
    assert (await mail.get(f"/jobs/{theirs}"))["state"] == "dead"
