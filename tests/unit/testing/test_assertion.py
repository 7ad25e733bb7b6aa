from datetime import date, timedelta
from decimal import Decimal

import pytest

from jobqueue import Job, JobQueue, Registry, RetryPolicy
from jobqueue.testing import assert_enqueued, drain, enqueued, memory_queue

registry = Registry()


@registry.task("email.send", queue="mail", priority="high")
async def send_email(to: str, due: date | None = None, price: Decimal | None = None) -> None: ...


@registry.task("fail", retry=RetryPolicy(base=timedelta(hours=1), jitter="none"))
async def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def queue() -> JobQueue:
    return memory_queue()


async def test_jobs_that_wait_are_listed_in_the_order_of_their_enqueueing(queue: JobQueue) -> None:
    await queue.enqueue(Job("c", queue="z"))
    await queue.enqueue(Job("a", {"n": 1}), delay=timedelta(hours=1))
    await queue.enqueue(Job("b", priority="critical"))

    listed = enqueued(queue)

    assert [job.type for job in listed] == ["a", "b", "c"]
    assert (listed[0].payload, listed[1].priority, listed[2].queue) == ({"n": 1}, "critical", "z")


async def test_jobs_that_run_or_have_ended_do_not_wait(queue: JobQueue) -> None:
    inner = Registry()

    @inner.task("look")
    async def look() -> None:
        assert enqueued(queue) == []

    await queue.enqueue(look.job())
    await drain(queue, inner, raise_errors=True)

    assert enqueued(queue) == []


async def test_jobs_to_be_retried_wait(queue: JobQueue) -> None:
    await queue.enqueue(fail.job())

    await drain(queue, registry)

    assert_enqueued(queue, fail)


async def test_a_job_is_found_by_its_task_or_name_and_some_of_its_arguments(queue: JobQueue) -> None:
    handle = await queue.enqueue(send_email.job(to="ada", due=date(2026, 12, 1), price=Decimal("4.50")))

    for task in (send_email, "email.send"):
        assert_enqueued(queue, task)
        assert_enqueued(queue, task, {"to": "ada"}, count=1, queue_name="mail")
        (job,) = assert_enqueued(queue, task, {"due": date(2026, 12, 1), "price": Decimal("4.50")})
        assert job.id == handle.id


async def test_an_argument_that_is_not_there_is_not_null(queue: JobQueue) -> None:
    await queue.enqueue(send_email.job(to="ada"))

    assert_enqueued(queue, send_email, {"due": None}, count=0)


async def test_no_such_job(queue: JobQueue) -> None:
    await queue.enqueue(send_email.job(to="ada"))

    assert_enqueued(queue, send_email, {"to": "bob"}, count=0)
    with pytest.raises(AssertionError, match=r"expected 0 jobs of 'email\.send', found 1"):
        assert_enqueued(queue, send_email, count=0)


async def test_the_message_shows_what_waits(queue: JobQueue) -> None:
    await queue.enqueue(send_email.job(to="ada"))
    await queue.enqueue(Job("report.build"), delay=timedelta(minutes=90))

    with pytest.raises(AssertionError) as failed:
        assert_enqueued(queue, send_email, {"to": "bob"}, queue_name="mail")

    assert str(failed.value).splitlines() == [
        "expected 1 or more jobs of 'email.send' with {\"to\":\"bob\"} on queue 'mail', found 0; these jobs wait:",
        "  report.build {} on queue 'default', medium, due in 1h30m",
        '  email.send {"to":"ada"} on queue \'mail\', high',
    ]


async def test_the_message_says_that_nothing_waits(queue: JobQueue) -> None:
    with pytest.raises(AssertionError, match=r"expected 2 jobs of 'email\.send', found 0; no job waits"):
        assert_enqueued(queue, send_email, count=2)


async def test_a_long_message_is_cut(queue: JobQueue) -> None:
    await queue.enqueue_many(Job("a", {"text": "x" * 1000}) for _ in range(25))

    with pytest.raises(AssertionError) as failed:
        assert_enqueued(queue, "b")

    lines = str(failed.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"
    assert max(map(len, lines)) < 300


def test_a_queue_on_a_server_is_refused() -> None:
    with pytest.raises(TypeError, match=r"memory_queue\(\)"):
        enqueued(JobQueue.connect())
