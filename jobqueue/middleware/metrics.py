"""Count what passes, in the process; the exposition reads it from here."""

import time
from collections import Counter
from dataclasses import dataclass, field

from jobqueue.context import JobContext
from jobqueue.middleware.base import CallNext


@dataclass(slots=True)
class Metrics:
    """Counters of one worker process. As middleware it also times the handlers.

    `settled` counts (queue, type, outcome); `seconds` and `attempts` sum over (queue, type).
    """

    settled: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    running: int = 0
    leases_lost: int = 0
    groups_recreated: int = 0
    leaked_handlers: int = 0

    async def __call__(self, ctx: JobContext, call_next: CallNext, /) -> object:
        started = time.perf_counter()
        self.running += 1
        try:
            return await call_next(ctx)
        finally:
            self.running -= 1
            key = (ctx.queue, ctx.type)
            self.attempts[key] += 1
            self.seconds[key] = self.seconds.get(key, 0.0) + time.perf_counter() - started
