import asyncio

import pytest

from jobqueue.context import JobContext
from jobqueue.job import Job
from jobqueue.middleware import CallNext, Middleware, compose

CTX = JobContext(lambda: Job("t"), job_id="i", type="t", queue="q", attempt=1, deadline_ms=0)


def recorder(name: str, story: list[str]) -> Middleware:
    async def middleware(ctx: JobContext, call_next: CallNext) -> object:
        story.append(f"{name} in")
        value = await call_next(ctx)
        story.append(f"{name} out")
        return value

    return middleware


async def test_the_first_middleware_is_outermost() -> None:
    story: list[str] = []

    async def handler(ctx: JobContext) -> object:
        story.append("handler")
        return "done"

    run = compose([recorder("a", story), recorder("b", story)], handler)

    assert await run(CTX) == "done"
    assert story == ["a in", "b in", "handler", "b out", "a out"]


async def test_without_middleware_the_handler_is_all() -> None:
    async def handler(ctx: JobContext) -> object:
        return ctx

    assert compose([], handler) is handler


async def test_a_chain_runs_many_times_and_at_once() -> None:
    story: list[str] = []

    async def handler(ctx: JobContext) -> object:
        await asyncio.sleep(0)
        return None

    run = compose([recorder("a", story)], handler)
    await asyncio.gather(run(CTX), run(CTX), run(CTX))

    assert story.count("a in") == story.count("a out") == 3


async def test_an_exception_of_the_handler_passes_through_every_middleware() -> None:
    seen: list[str] = []

    async def watch(ctx: JobContext, call_next: CallNext) -> object:
        try:
            return await call_next(ctx)
        except KeyError:
            seen.append("watched")
            raise

    async def handler(ctx: JobContext) -> object:
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        await compose([watch, watch], handler)(CTX)

    assert seen == ["watched", "watched"]


async def test_a_middleware_may_turn_an_exception_into_another_or_into_a_value() -> None:
    async def soothe(ctx: JobContext, call_next: CallNext) -> object:
        try:
            return await call_next(ctx)
        except ValueError:
            return "soothed"

    async def translate(ctx: JobContext, call_next: CallNext) -> object:
        try:
            return await call_next(ctx)
        except KeyError as error:
            raise ValueError from error

    async def handler(ctx: JobContext) -> object:
        raise KeyError

    assert await compose([soothe, translate], handler)(CTX) == "soothed"


async def test_a_middleware_that_does_not_call_next_keeps_the_handler_from_running() -> None:
    ran: list[object] = []

    async def skip(ctx: JobContext, call_next: CallNext) -> object:
        return "skipped"

    async def handler(ctx: JobContext) -> object:
        ran.append(ctx)
        return None

    assert await compose([skip, recorder("inner", [])], handler)(CTX) == "skipped"
    assert ran == []


async def test_an_exception_of_a_middleware_is_the_attempts() -> None:
    async def refuse(ctx: JobContext, call_next: CallNext) -> object:
        raise PermissionError("not you")

    async def handler(ctx: JobContext) -> object:
        return None

    with pytest.raises(PermissionError, match="not you"):
        await compose([refuse], handler)(CTX)


async def test_a_middleware_may_be_an_object_or_hand_on_another_context() -> None:
    other = JobContext(lambda: Job("t"), job_id="j", type="t", queue="q", attempt=1, deadline_ms=0)

    class Exchange:
        async def __call__(self, ctx: JobContext, call_next: CallNext, /) -> object:
            return await call_next(other)

    async def handler(ctx: JobContext) -> object:
        return ctx

    assert await compose([Exchange()], handler)(CTX) is other


async def test_a_cancellation_passes_through() -> None:
    async def handler(ctx: JobContext) -> object:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await compose([recorder("a", [])], handler)(CTX)
