"""Settlement by group commit.

Outcomes are collected while jobs that will end within milliseconds are at hand, and go out in one
script per queue: when nothing more is at hand, with every fetch, or when a batch is full. No timer.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from jobqueue import crash
from jobqueue.broker.base import Consumer, Settlement
from jobqueue.errors import BrokerError, LeaseLost

_FULL = 256
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0

_log = structlog.get_logger("jobqueue.worker")


class Settler:
    """The settlements of one consumer. *settled* is called with each batch that the broker has confirmed."""

    def __init__(self, consumer: Consumer, settled: Callable[[Sequence[Settlement]], None]) -> None:
        self._consumer = consumer
        self._settled = settled
        self._waiting: list[Settlement] = []
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, settlement: Settlement) -> None:
        """Take an outcome; it goes out with the next batch."""
        self._waiting.append(settlement)
        if len(self._waiting) >= _FULL:
            self._wanted.set()

    def flush(self) -> None:
        """Send what waits as soon as the previous batch has been answered."""
        if self._waiting:
            self._wanted.set()

    @property
    def unsettled(self) -> int:
        """Outcomes not yet sent."""
        return len(self._waiting)

    async def drained(self) -> None:
        """Return when everything added so far has been confirmed."""
        while self._waiting or not self._idle.is_set():
            self.flush()
            await self._idle.wait()
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Send batches until cancelled.

        Raises:
            LeaseLost: this consumer was reaped; what it had not settled is void.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._idle.clear()
            try:
                # Only what waits now: what comes while this is under way goes out when it is wanted.
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._send(batch)
            finally:
                self._idle.set()

    async def _send(self, batch: list[Settlement]) -> None:
        """Repeat until confirmed: a settlement is idempotent, and the lease bounds how long it makes sense."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                crash.point("before_settle_send")
                await self._consumer.settle(batch)
                crash.point("after_settle_send")
            except LeaseLost:
                raise
            except BrokerError as error:
                _log.warning("settle.failed", jobs=len(batch), error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                self._settled(batch)
                return
