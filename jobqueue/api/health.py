"""`/health` and `/ready`: the same for the API, workers and schedulers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal

from jobqueue.api import view
from jobqueue.clock import Clock, SystemClock
from jobqueue.loop import Heartbeat

_FRESH_S = 2.0
_ANSWER_S = 30.0
"""Longer than a round of any loop waits for a server that hangs: by default each call waits 5 s at most."""

Loops = Callable[[], Iterable[Heartbeat]]


def health(loops: Iterable[Heartbeat], clock: Clock) -> view.Health:
    """Whether this process is alive: an answer at all says that its event loop turns, and no loop of its own has
    missed three periods, after the time that a server may take to answer. One that is away makes nobody ill."""
    then = clock.monotonic() - _ANSWER_S
    checks: dict[str, bool] = {}
    for each in loops:
        name = each.name.partition(":")[0]  # of `reap:mail`: no names of queues
        checks[name] = checks.get(name, True) and each.healthy(then)
    return _told(checks, well="ok")


class Readiness:
    """Whether all that this process needs is there. Asked often, it looks once in two seconds."""

    def __init__(self, look: Callable[[], Awaitable[Mapping[str, bool]]], clock: Clock | None = None) -> None:
        self._look = look
        self._clock = clock or SystemClock()
        self._looking = asyncio.Lock()
        self._found: Mapping[str, bool] = {}
        self._found_at: float | None = None

    async def checks(self, *, fresh_s: float = _FRESH_S) -> Mapping[str, bool]:
        """What is needed, and whether it is there; not older than *fresh_s*."""
        async with self._looking:
            now = self._clock.monotonic()
            if self._found_at is None or now - self._found_at > fresh_s:
                self._found = await self._look()
                self._found_at = self._clock.monotonic()
            return self._found

    async def ready(self) -> view.Health:
        """The answer of `/ready`."""
        return _told(await self.checks(), well="ready")


def _told(checks: Mapping[str, bool], *, well: Literal["ok", "ready"]) -> view.Health:
    return view.Health(
        status=well if all(checks.values()) else "unready",
        checks={name: "ok" if good else "failed" for name, good in checks.items()},
    )
