import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import LogCapture

from jobqueue.context import JobContext
from jobqueue.job import Job
from jobqueue.middleware import compose, log_attempts

BOUND = {"job_id": "the-id", "type": "email.send", "queue": "mail", "attempt": 2}
SECRET = "hunter2"
CTX = JobContext(
    lambda: Job("email.send", {"password": SECRET}),
    job_id="the-id",
    type="email.send",
    queue="mail",
    attempt=2,
    deadline_ms=0,
)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What is logged, with what is bound to the context as in the default configuration."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[merge_contextvars, capture], cache_logger_on_first_use=False)
    yield capture.entries
    structlog.configure(**before)


async def test_start_and_end_are_logged_with_the_job(logs: list[Any]) -> None:
    async def handler(ctx: JobContext) -> object:
        return "done"

    assert await compose([log_attempts], handler)(CTX) == "done"

    started, finished = logs
    assert started == {"event": "attempt.started", "log_level": "debug", **BOUND}
    assert finished.pop("duration_ms") >= 0
    assert finished == {"event": "attempt.finished", "log_level": "debug", **BOUND}


async def test_a_failure_names_its_class_and_is_raised_on(logs: list[Any]) -> None:
    async def handler(ctx: JobContext) -> object:
        raise KeyError(SECRET)

    with pytest.raises(KeyError):
        await compose([log_attempts], handler)(CTX)

    failed = logs[-1]
    assert failed.pop("duration_ms") >= 0
    assert failed == {"event": "attempt.failed", "log_level": "debug", "error": "KeyError", **BOUND}


async def test_a_cancellation_is_logged_and_raised_on(logs: list[Any]) -> None:
    async def handler(ctx: JobContext) -> object:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await compose([log_attempts], handler)(CTX)

    assert logs[-1]["error"] == "CancelledError"


async def test_what_the_handler_logs_carries_the_job(logs: list[Any]) -> None:
    async def handler(ctx: JobContext) -> object:
        structlog.get_logger("shop").info("sent", to="ada")
        return None

    await compose([log_attempts], handler)(CTX)

    assert {"event": "sent", "log_level": "info", "to": "ada", **BOUND} in logs


async def test_nothing_stays_bound_after_the_attempt(logs: list[Any]) -> None:
    async def handler(ctx: JobContext) -> object:
        assert get_contextvars() == BOUND
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await compose([log_attempts], handler)(CTX)

    assert get_contextvars() == {}


@pytest.mark.parametrize("fails", [False, True])
async def test_payload_result_and_message_are_never_logged(logs: list[Any], fails: bool) -> None:
    async def handler(ctx: JobContext) -> object:
        if fails:
            raise ValueError(ctx.job.payload["password"])
        return ctx.job.payload

    await asyncio.gather(compose([log_attempts], handler)(CTX), return_exceptions=True)

    assert len(logs) == 2
    assert SECRET not in repr(logs)
