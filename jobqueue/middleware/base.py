"""The middleware protocol and its composition."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from jobqueue.context import JobContext

CallNext = Callable[[JobContext], Awaitable[object]]
"""The rest of the chain, down to the handler; returns what the handler returned."""


class Middleware(Protocol):
    """Wraps every attempt: `async def middleware(ctx, call_next)`.

    Call `await call_next(ctx)` and return what it returned, or raise. An exception is the
    attempt's failure; not calling `call_next` means that the handler does not run.
    """

    async def __call__(self, ctx: JobContext, call_next: CallNext, /) -> object: ...


def compose(middleware: Sequence[Middleware], handler: CallNext) -> CallNext:
    """Wrap *handler* so that the first middleware is outermost."""
    for each in reversed(middleware):
        handler = _wrap(each, handler)
    return handler


def _wrap(middleware: Middleware, call_next: CallNext) -> CallNext:
    def run(ctx: JobContext) -> Awaitable[object]:
        return middleware(ctx, call_next)

    return run
