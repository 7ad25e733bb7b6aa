"""A worker's pool of slots: one incarnation after another, until it is stopped."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from jobqueue import crash
from jobqueue.broker.base import Broker, Consumer, Settlement
from jobqueue.clock import Clock, SystemClock
from jobqueue.errors import BrokerUnavailable, LeaseLost
from jobqueue.middleware.base import Middleware
from jobqueue.middleware.metrics import Metrics
from jobqueue.registry import Registry
from jobqueue.worker.execution import Execution
from jobqueue.worker.incarnation import Incarnation, Limits

_log = structlog.get_logger("jobqueue.worker")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Pool:
    """Runs the jobs of *queues*, served strictly in their order, at most `limits.concurrency` at once.

    *observe* is called in the event loop with every batch of confirmed settlements.
    """

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        *,
        queues: Sequence[str],
        limits: Limits,
        default_timeout_s: float,
        middleware: Sequence[Middleware] = (),
        metrics: Metrics | None = None,
        observe: Callable[[Sequence[Settlement]], None] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.metrics = metrics or Metrics(known=registry)
        self._broker = broker
        self._queues = tuple(queues)
        self._limits = limits
        self._observe = observe
        self._clock = clock or SystemClock()
        self._execution = Execution(
            registry,
            middleware=tuple(middleware),
            default_timeout_s=default_timeout_s,
            rng=rng or random.Random(),
        )
        self._incarnation: Incarnation | None = None
        self._stopping = asyncio.Event()

    @property
    def running(self) -> int:
        """Handlers running now."""
        return self._incarnation.running if self._incarnation is not None else 0

    @property
    def name(self) -> str | None:
        """The name of the present incarnation, once it is registered."""
        return self._incarnation.consumer.name if self._incarnation is not None else None

    def stop(self) -> None:
        """Shut down in order: no more jobs, finish those that run, give back the rest."""
        self._stopping.set()
        if self._incarnation is not None:
            self._incarnation.stop()

    def hurry(self) -> None:
        """Shut down now: give back what runs."""
        self.stop()
        if self._incarnation is not None:
            self._incarnation.hurry()

    async def run(self, *, burst: bool = False) -> None:
        """Work until `stop`; with *burst*, until the queues are empty."""
        try:
            while not self._stopping.is_set():
                if await self._live(burst) and burst:
                    break
        finally:
            self._execution.close()

    async def _live(self, burst: bool) -> bool:
        """One incarnation. Returns whether it ended in order."""
        consumer = await self._join()
        if consumer is None:
            return True
        crash.point("after_join")
        incarnation = self._incarnation = Incarnation(
            consumer,
            self._execution,
            self._limits,
            clock=self._clock,
            metrics=self.metrics,
            observe=self._observe,
            burst=burst,
        )
        if self._stopping.is_set():
            incarnation.stop()
        _log.info("worker.joined", worker=consumer.name, queues=self._queues, concurrency=self._limits.concurrency)
        try:
            await incarnation.live()
            _log.info("worker.left", worker=consumer.name)
        except LeaseLost as error:
            self.metrics.leases_lost += 1
            _log.error("lease.lost", worker=consumer.name, error=str(error))
            await self._rest(_FIRST_PAUSE_S)
            return False
        except Exception:
            # A fault of ours. What this incarnation held comes back by its lease; the next one goes on.
            _log.exception("worker.failed", worker=consumer.name)
            await self._rest(_FIRST_PAUSE_S)
            return False
        return True

    async def _join(self) -> Consumer | None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                return await self._broker.join(self._queues, slots=self._limits.concurrency)
            except BrokerUnavailable as error:
                _log.warning("join.failed", error=str(error), retry_in_s=pause)
            await self._rest(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        return None

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
