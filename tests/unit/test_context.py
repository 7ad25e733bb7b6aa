import asyncio
import contextvars
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from jobqueue.context import MAX_PROGRESS_BYTES, JobContext, current_job, enter
from jobqueue.errors import InvalidJob
from jobqueue.job import Job
from jobqueue.schedule import Schedule


def context(make_job: Callable[[], Job] = lambda: Job("email.send")) -> JobContext:
    return JobContext(
        make_job, job_id="the-id", type="email.send", queue="mail", attempt=2, deadline_ms=1_767_225_600_000
    )


def test_the_job_is_decoded_once_and_only_when_asked_for() -> None:
    made: list[Job] = []

    def make() -> Job:
        made.append(Job("email.send"))
        return made[-1]

    ctx = context(make)

    assert made == []
    assert ctx.job is ctx.job
    assert len(made) == 1


def test_a_context_tells_its_attempt() -> None:
    ctx = context()

    assert (ctx.job_id, ctx.type, ctx.queue, ctx.attempt) == ("the-id", "email.send", "mail", 2)
    assert ctx.deadline == datetime(2026, 1, 1, tzinfo=UTC)


def made_with(headers: dict[str, str]) -> JobContext:
    return context(lambda: Job("email.send", headers=headers))


def test_a_job_of_a_tick_knows_its_schedule_and_tick() -> None:
    ctx = made_with({"jobqueue-schedule": "digest", "jobqueue-tick": "2026-03-29T01:00:00Z"})

    assert (ctx.schedule, ctx.tick) == ("digest", datetime(2026, 3, 29, 1, tzinfo=UTC))


def test_the_schedule_itself_writes_what_the_context_reads() -> None:
    schedule = Schedule.of("digest", "@daily", Job("email.send", headers={"trace": "1"}))
    tick_ms = 1_767_225_600_000

    ctx, asked = context(lambda: schedule.tick_job(tick_ms)), context(schedule.job)

    assert (ctx.schedule, ctx.tick) == ("digest", datetime(2026, 1, 1, tzinfo=UTC))
    assert (asked.schedule, asked.tick) == ("digest", None)


def test_a_job_of_no_schedule_has_none() -> None:
    ctx = context()

    assert (ctx.schedule, ctx.tick) == (None, None)


@pytest.mark.parametrize("text", ["", "soon", "2026-03-29", "2026-03-29T01:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_header_that_is_no_instant_is_no_tick(text: str) -> None:
    assert made_with({"jobqueue-tick": text}).tick is None


@pytest.mark.parametrize("text", ["", "two words", "x" * 65, "../../etc"])
def test_a_header_that_is_no_name_is_no_schedule(text: str) -> None:
    assert made_with({"jobqueue-schedule": text}).schedule is None


def test_its_logger_is_bound_to_the_job() -> None:
    with capture_logs() as logs:
        context().logger.info("half way", done=50)

    assert logs == [
        {
            "event": "half way",
            "log_level": "info",
            "job_id": "the-id",
            "type": "email.send",
            "queue": "mail",
            "attempt": 2,
            "done": 50,
        }
    ]


def test_there_is_no_current_job_outside_of_a_handler() -> None:
    with pytest.raises(LookupError, match="only inside a running handler"):
        contextvars.Context().run(current_job)


async def test_the_current_job_is_that_of_the_asyncio_task() -> None:
    first, second = context(), context()

    async def handler(ctx: JobContext) -> JobContext:
        enter(ctx)
        await asyncio.sleep(0)
        return current_job()

    assert list(await asyncio.gather(handler(first), handler(second))) == [first, second]


async def test_the_current_job_is_known_in_a_thread() -> None:
    ctx = context()
    enter(ctx)

    assert await asyncio.to_thread(current_job) is ctx


def test_the_last_progress_wins_and_is_taken_once() -> None:
    ctx = context()

    ctx.progress({"done": 1})
    ctx.progress({"done": 2})

    assert ctx.take_progress() == b'{"done":2}'
    assert ctx.take_progress() is None


@pytest.mark.parametrize(
    "value", [object(), "\ud800", {(1,): 2}, 10**5000], ids=["object", "surrogate", "key", "number"]
)
def test_progress_that_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidJob, match="progress of job the-id is not JSON"):
        context().progress(value)


def test_progress_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(InvalidJob, match="not JSON"):
        context().progress(endless)


def test_progress_has_a_limit_and_what_was_there_stays() -> None:
    ctx = context()
    ctx.progress("x" * (MAX_PROGRESS_BYTES - 2))

    with pytest.raises(InvalidJob, match=f"progress holds {MAX_PROGRESS_BYTES + 1} bytes; the limit is"):
        ctx.progress("x" * (MAX_PROGRESS_BYTES - 1))

    assert ctx.take_progress() == b'"' + b"x" * (MAX_PROGRESS_BYTES - 2) + b'"'


def test_an_attempt_is_cancelled_once_somebody_asked() -> None:
    ctx = context()

    assert not ctx.cancelled

    ctx.request_cancel()

    assert ctx.cancelled


def test_arming_keeps_a_request_that_came_before() -> None:
    """A cancel that arrived between the start of an attempt and the start of its thread was forgotten."""
    ctx = context()
    ctx.request_cancel()

    ctx.arm()

    assert ctx.cancelled


def test_a_thread_sees_the_request() -> None:
    ctx = context()
    ctx.arm()

    ctx.request_cancel()

    assert contextvars.copy_context().run(lambda: ctx.cancelled)


def test_what_is_logged_of_a_context_does_not_hold_its_payload() -> None:
    ctx = JobContext(
        lambda: Job("t"), job_id="i", type="t", queue="q", attempt=1, deadline_ms=0, payload_json=b'{"card":"4111"}'
    )

    assert repr(ctx) == "JobContext('t', job_id='i', queue='q', attempt=1)"
