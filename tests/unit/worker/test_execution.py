import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from jobqueue.context import JobContext, current_job
from jobqueue.errors import Discard, RetryLater, Snooze
from jobqueue.middleware.base import CallNext
from jobqueue.outcome import (
    COMPLETED,
    RELEASED,
    Cancelled,
    Completed,
    Dead,
    DeadReason,
    Expired,
    Outcome,
    Retrying,
    Snoozed,
)
from jobqueue.registry import Registry
from jobqueue.retry import RetryPolicy
from jobqueue.worker.execution import Execution, Run, Stop
from tests.unit.worker.scene import delivery
from testutil.eventually import eventually

NOW_MS = 1_000_000


class Bench:
    def __init__(self) -> None:
        self.registry = Registry()
        self.middleware: list[Any] = []
        self._execution: Execution | None = None

    @property
    def execution(self) -> Execution:
        if self._execution is None:
            self._execution = Execution(
                self.registry, middleware=tuple(self.middleware), default_timeout_s=30.0, rng=random.Random(1)
            )
        return self._execution

    def task(self, handler: Callable[..., Any], **options: Any) -> None:
        self.registry.task("t", **options)(handler)

    def prepare(self, **facts: Any) -> Run | tuple[str, Outcome]:
        return self.execution.prepare(delivery(**facts), NOW_MS)

    def run_of(self, **facts: Any) -> Run:
        run = self.prepare(**facts)
        assert isinstance(run, Run)
        return run

    def start(self, **facts: Any) -> tuple[Run, "asyncio.Task[Outcome]"]:
        run = self.run_of(**facts)
        attempt = asyncio.create_task(self.execution.attempt(run))
        run.work = attempt  # type: ignore[assignment]
        return run, attempt

    async def outcome(self, handler: Callable[..., Any] | None = None, **facts: Any) -> Outcome:
        if handler is not None:
            self.task(handler)
        return await self.start(**facts)[1]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.execution.close()


def raising(error: BaseException) -> Callable[[], Any]:
    async def handler() -> None:
        raise error

    return handler


def dead(outcome: object) -> Dead:
    assert isinstance(outcome, Dead)
    return outcome


def retrying(outcome: Outcome) -> Retrying:
    assert isinstance(outcome, Retrying)
    return outcome


# what is not run


def test_a_body_that_cannot_be_read_is_a_dead_letter(bench: Bench) -> None:
    type_name, outcome = bench.prepare(body=b"\x00 no json")  # type: ignore[misc]

    assert type_name == ""
    assert dead(outcome).reason is DeadReason.UNREADABLE


def test_a_job_that_has_expired_is_not_run(bench: Bench) -> None:
    bench.task(lambda: None)

    assert bench.prepare(expires_ms=NOW_MS) == ("t", Expired())
    assert isinstance(bench.prepare(expires_ms=NOW_MS + 1), Run)


def test_an_unknown_task_is_given_back_with_a_growing_delay_and_dies_in_the_end(bench: Bench) -> None:
    outcomes = [bench.prepare(deferrals=n)[1] for n in range(13)]  # type: ignore[index]

    delays = [each.delay_ms for each in outcomes[:12]]
    assert all(isinstance(each, Snoozed) and each.deferral for each in outcomes[:12])
    assert delays == sorted(delays)
    assert delays[0] == 5_000
    assert dead(outcomes[12]).reason is DeadReason.UNKNOWN_TASK


def test_a_task_that_is_registered_later_is_known(bench: Bench) -> None:
    assert not isinstance(bench.prepare(), Run)

    bench.task(lambda: None)

    assert isinstance(bench.prepare(), Run)


def test_the_timeout_is_the_jobs_else_the_tasks_else_the_workers(bench: Bench) -> None:
    bench.registry.task("t", timeout=timedelta(seconds=7))(lambda: None)
    bench.registry.task("plain")(lambda: None)

    assert bench.run_of(options={"timeout": timedelta(seconds=3)}).timeout_s == 3
    assert bench.run_of().timeout_s == 7
    assert bench.run_of(type="plain").timeout_s == 30


# how it ends


async def test_a_handler_that_returns_completes(bench: Bench) -> None:
    async def handler() -> str:
        return current_job().type

    assert await bench.outcome(handler) is COMPLETED


async def test_a_handler_that_fails_is_retried_until_its_budget_is_spent(bench: Bench) -> None:
    bench.task(raising(ValueError("no")), retry=RetryPolicy(max_retries=1))

    assert retrying(await bench.outcome()).failure.error_class == "ValueError"
    assert dead(await bench.outcome(attempt=2)).reason is DeadReason.EXHAUSTED
    # A crash of a worker is no failure of the handler.
    assert isinstance(await bench.outcome(attempt=2, crashes=1), Retrying)


async def test_signals_steer_the_job(bench: Bench) -> None:
    for name, error in [
        ("later", RetryLater(timedelta(seconds=9))),
        ("snooze", Snooze(timedelta(seconds=8))),
        ("discard", Discard("enough")),
    ]:
        bench.registry.task(name)(raising(error))

    assert retrying(await bench.outcome(type="later")).delay_ms == 9_000
    assert await bench.outcome(type="snooze") == Snoozed(8_000, reason="snooze for 0:00:08")
    assert dead(await bench.outcome(type="discard")).reason is DeadReason.DISCARDED


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit(), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("plain", [False, True], ids=["coroutine", "thread"])
async def test_whatever_a_handler_raises_is_its_own_failure(bench: Bench, error: BaseException, plain: bool) -> None:
    def handler() -> None:
        raise error

    outcome = await asyncio.wait_for(bench.outcome(handler if plain else raising(error)), 30)

    assert retrying(outcome).failure.error_class == type(error).__name__


async def test_a_handler_that_cancels_itself_has_failed(bench: Bench) -> None:
    """It was given back at once, uncounted, for ever."""

    async def handler() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert retrying(await bench.outcome(handler)).failure.error_class == "CancelledError"


async def test_a_payload_that_does_not_fit_is_retried(bench: Bench) -> None:
    async def handler(n: int) -> None: ...

    assert retrying(await bench.outcome(handler)).failure.error_class == "InvalidJob"


async def test_middleware_may_raise_and_may_leave_the_handler_out(bench: Bench) -> None:
    async def middleware(ctx: JobContext, call_next: CallNext) -> object:
        if ctx.attempt == 1:
            raise ValueError("not today")
        return None

    bench.middleware.append(middleware)
    bench.task(raising(AssertionError("ran")))

    assert retrying(await bench.outcome()).failure.message == "not today"
    assert await bench.outcome(attempt=2) is COMPLETED


# how it is stopped


async def until_cancelled() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("stop", list(Stop))
async def test_a_handler_that_is_stopped_comes_to_what_it_was_stopped_for(bench: Bench, stop: Stop) -> None:
    bench.task(until_cancelled)
    run, attempt = bench.start()
    await eventually(lambda: run.context)

    run.ask_to_stop(stop, 0.0)

    outcome = await attempt
    match stop:
        case Stop.TIMEOUT:
            assert retrying(outcome).failure.error_class == "JobTimeout"
        case Stop.CANCEL:
            assert outcome == Cancelled()
        case _:
            assert outcome is RELEASED


async def test_the_first_reason_to_stop_stands(bench: Bench) -> None:
    bench.task(until_cancelled)
    run, attempt = bench.start()
    await eventually(lambda: run.context)

    run.ask_to_stop(Stop.CANCEL, 0.0)
    run.ask_to_stop(Stop.SHUTDOWN, 0.0)

    assert await attempt == Cancelled()


@pytest.mark.parametrize("stop", list(Stop))
async def test_a_handler_that_swallows_its_cancellation_has_completed_unless_its_time_was_over(
    bench: Bench, stop: Stop
) -> None:
    async def handler() -> None:
        with suppress(asyncio.CancelledError):
            await until_cancelled()

    bench.task(handler)
    run, attempt = bench.start()
    await eventually(lambda: run.context)
    await asyncio.sleep(0)

    run.ask_to_stop(stop, 0.0)

    outcome = await attempt
    assert isinstance(outcome, Retrying) if stop is Stop.TIMEOUT else outcome is COMPLETED


@pytest.mark.parametrize("stop", [Stop.CANCEL, Stop.SHUTDOWN])
async def test_an_error_while_stopping_changes_nothing(bench: Bench, stop: Stop) -> None:
    async def handler() -> None:
        try:
            await until_cancelled()
        finally:
            raise ValueError("clean-up failed")

    bench.task(handler)
    run, attempt = bench.start()
    await eventually(lambda: run.context)
    await asyncio.sleep(0)

    run.ask_to_stop(stop, 0.0)

    assert await attempt == (Cancelled() if stop is Stop.CANCEL else RELEASED)


async def test_a_thread_is_waited_for_and_hears_that_it_should_stop(bench: Bench) -> None:
    began = threading.Event()

    def handler(ctx: JobContext) -> None:
        began.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)

    bench.task(handler)
    run, attempt = bench.start()
    await eventually(began.is_set)

    run.ask_to_stop(Stop.TIMEOUT, 0.0)

    assert retrying(await asyncio.wait_for(attempt, 30)).failure.error_class == "JobTimeout"


# what it returned


class Model(BaseModel):
    n: int


class Hostile:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError("hands off")


async def kept(bench: Bench, value: object) -> Any:
    async def handler() -> object:
        return value

    outcome = await bench.outcome(handler, options={"result_ttl": timedelta(hours=1)})
    assert isinstance(outcome, Completed)
    assert outcome.result_json is not None
    return msgspec.json.decode(outcome.result_json)


async def test_a_result_is_kept_as_json_where_it_is_asked_for(bench: Bench) -> None:
    assert await kept(bench, {"n": [1, None], "model": Model(n=2)}) == {"n": [1, None], "model": {"n": 2}}


@pytest.mark.parametrize(
    "value", [object(), {1: object()}, "\ud800", Hostile()], ids=["object", "nested", "surrogate", "own code"]
)
async def test_a_result_that_json_cannot_say_is_replaced_and_its_job_done(bench: Bench, value: object) -> None:
    """A result whose own code failed in another way was given back and run again, for ever."""
    assert "no JSON" in (await kept(bench, value))["reason"]


async def test_a_huge_result_is_replaced_and_its_job_done(bench: Bench) -> None:
    assert "the limit is" in (await kept(bench, "x" * 1_000_000))["reason"]


async def test_a_circular_result_is_replaced_and_its_job_done(bench: Bench) -> None:
    value: list[Any] = []
    value.append(value)

    assert "no JSON" in (await kept(bench, value))["reason"]
