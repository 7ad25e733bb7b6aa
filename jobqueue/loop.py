"""The one way that background loops run: owned, supervised, observable."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from jobqueue.clock import Clock

_log = structlog.get_logger("jobqueue.loop")
_LONGEST_BACKOFF_S = 30.0
_SHORTEST_BACKOFF_S = 0.1
_MOST_DOUBLINGS = 16  # 2.0 ** 1024 overflows, and a loop may fail for days


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """What a health probe reads of one loop."""

    name: str
    period: timedelta
    last_tick: float
    failures: int = 0
    pause: float = 0.0
    """Seconds that the loop means to rest after its last tick: its backoff, or what its step asked for."""

    def healthy(self, now: float) -> bool:
        """Whether the loop has ticked within its last three periods, a longer rest that it announced aside."""
        period = max(self.period.total_seconds(), 1.0)
        return now - self.last_tick <= max(period, self.pause) + 2 * period


async def run_every(
    heartbeat: Heartbeat,
    step: Callable[[], Awaitable[timedelta | None]],
    *,
    clock: Clock,
    jitter: float = 0.0,
    wake: asyncio.Event | None = None,
    longest_backoff_s: float = _LONGEST_BACKOFF_S,
) -> None:
    """Call *step* for ever, waiting the heartbeat's period between calls, or what the step returned.

    An exception is logged and counted, and the step is tried again with a growing pause, up to
    *longest_backoff_s* or the period: a loop ends only by cancellation. *jitter* spreads the pause by
    that fraction either way; setting *wake* ends a pause early.
    """
    consecutive = 0
    while True:
        try:
            pause = await step()
            consecutive = 0
        except Exception as error:
            consecutive += 1
            heartbeat.failures += 1
            pause = None
            _report(heartbeat, error)
        seconds = (heartbeat.period if pause is None else pause).total_seconds()
        if consecutive:
            seconds = _backoff(seconds, consecutive, longest_backoff_s)
        heartbeat.pause = seconds * random.uniform(1 - jitter, 1 + jitter)
        heartbeat.last_tick = clock.monotonic()
        if wake is None:
            await asyncio.sleep(heartbeat.pause)
        else:
            await _rest(heartbeat.pause, wake)


async def _rest(seconds: float, wake: asyncio.Event) -> None:
    # Not `wait_for`: before Python 3.12 it may swallow a cancellation, and this loop would go on for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    wake.clear()


def _backoff(period: float, consecutive: int, longest: float) -> float:
    first = max(period, _SHORTEST_BACKOFF_S)
    return min(first * 2.0 ** min(consecutive - 1, _MOST_DOUBLINGS), max(first, longest))


def _report(heartbeat: Heartbeat, error: Exception) -> None:
    # A broken __repr__ or a closed log must not end the loop.
    with suppress(Exception):
        _log.warning("loop.failed", loop=heartbeat.name, failures=heartbeat.failures, error=repr(error))
