"""`Worker`: the front door for running jobs in one's own program."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog

from jobqueue.app import JobQueue
from jobqueue.broker.base import Settlement
from jobqueue.config import Settings
from jobqueue.loop import Heartbeat
from jobqueue.middleware.base import Middleware
from jobqueue.middleware.metrics import Metrics
from jobqueue.outcome import COMPLETED, Retrying, Snoozed
from jobqueue.registry import Registry
from jobqueue.scheduler.scheduler import Scheduler
from jobqueue.worker.incarnation import Limits
from jobqueue.worker.pool import Pool

_log = structlog.get_logger("jobqueue.worker")


class Worker:
    """Runs jobs in this event loop, and promotes and reaps on its queues.

        await Worker(queue, registry, queues=["critical", "default"], concurrency=10).run()

    What is not given comes from the queue's settings.
    """

    def __init__(
        self,
        queue: JobQueue,
        registry: Registry,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        shutdown_timeout: timedelta | None = None,
        middleware: Sequence[Middleware] = (),
        observe: Callable[[Settlement], None] | None = None,
    ) -> None:
        settings = queue.settings.worker
        overrides = {
            "WORKER_QUEUES": queues,
            "WORKER_CONCURRENCY": concurrency,
            "WORKER_SHUTDOWN_TIMEOUT": shutdown_timeout,
        }
        given = Settings.load({}, overrides=overrides).worker
        self._queues = given.queues if queues is not None else settings.queues
        self._queue = queue
        self._allow_eviction = queue.settings.redis.allow_eviction
        self._observe = observe
        self._slots = given.concurrency if concurrency is not None else settings.concurrency
        self._care = Scheduler(
            broker=queue.parts.broker,
            clock=queue.parts.clock,
            reap_interval=settings.reap_interval,
            queues=self._queues,
        )
        self._pool = Pool(
            queue.parts.broker,
            registry,
            queues=self._queues,
            limits=Limits(
                concurrency=self._slots,
                lease=queue.settings.redis.lease,
                shutdown_timeout=given.shutdown_timeout if shutdown_timeout is not None else settings.shutdown_timeout,
                cancel_grace=settings.cancel_grace,
                max_block=settings.max_block,
                max_crashes=settings.max_crashes,
            ),
            default_timeout_s=settings.job_timeout.total_seconds(),
            middleware=middleware,
            observe=self._settled,
            clock=queue.parts.clock,
        )

    @property
    def metrics(self) -> Metrics:
        """What this worker has counted."""
        return self._pool.metrics

    @property
    def running(self) -> int:
        """Handlers running now."""
        return self._pool.running

    @property
    def slots(self) -> int:
        """Handlers that may run at once."""
        return self._slots

    @property
    def joined(self) -> bool:
        """Whether the broker knows it as a consumer."""
        return self._pool.name is not None

    @property
    def loops(self) -> Iterable[Heartbeat]:
        """How the loops do that promote and reap."""
        return self._care.heartbeats.values()

    def stop(self) -> None:
        """Take no more jobs, finish the running ones within the shutdown timeout, give back the rest."""
        self._pool.stop()

    def hurry(self) -> None:
        """Stop, and do not wait for running jobs: give them back now."""
        self._pool.hurry()

    async def run(self, *, burst: bool = False, handle_signals: bool = False) -> None:
        """Work until stopped or cancelled; with *burst*, until the queues are empty.

        Being cancelled once is a graceful shutdown, twice a hurried one. With *handle_signals*,
        SIGTERM and SIGINT do the same.

        Raises:
            ConfigError: the server is too old, or would evict jobs.
        """
        if self._queue.parts.redis is not None:
            for server in await self._queue.parts.redis.servers():
                server.check(allow_eviction=self._allow_eviction)
        with self._signals() if handle_signals else contextlib.nullcontext():
            caring = asyncio.create_task(self._care.run())
            try:
                await self._run_pool(burst)
            finally:
                caring.cancel()
                await asyncio.gather(caring, return_exceptions=True)

    def _settled(self, batch: Sequence[Settlement]) -> None:
        for settlement in batch:
            if settlement.outcome is not COMPLETED and isinstance(settlement.outcome, Retrying | Snoozed):
                self._care.promote_soon(settlement.delivery.queue)
            if self._observe is not None:
                self._tell(self._observe, settlement)

    def _tell(self, observe: Callable[[Settlement], None], settlement: Settlement) -> None:
        try:
            observe(settlement)
        except Exception:
            _log.exception("observer.failed", job_id=settlement.delivery.job_id)

    async def _run_pool(self, burst: bool) -> None:
        pool = asyncio.create_task(self._pool.run(burst=burst))
        try:
            await asyncio.shield(pool)
        except asyncio.CancelledError:
            self.stop()
            while not pool.done():
                try:
                    await asyncio.shield(pool)
                except asyncio.CancelledError:
                    self.hurry()
            raise

    @contextlib.contextmanager
    def _signals(self) -> Any:
        loop = asyncio.get_running_loop()
        heard = 0

        def shut_down() -> None:
            nonlocal heard
            heard += 1
            if heard == 1:
                _log.info("worker.stopping")
                self.stop()
            else:
                _log.warning("worker.hurrying")
                self.hurry()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shut_down)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
