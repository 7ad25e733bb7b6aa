"""Running what a queue in memory holds, one job after the other."""

import asyncio
import random
from datetime import timedelta

from jobqueue.app import JobQueue
from jobqueue.broker.base import Consumer, Delivery, Settlement
from jobqueue.context import JobContext
from jobqueue.errors import JobSignal
from jobqueue.middleware.base import CallNext
from jobqueue.outcome import RELEASED, Outcome, Snoozed
from jobqueue.registry import Registry
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.memory.broker import MemoryBroker
from jobqueue.testing.queue import broker_of
from jobqueue.worker.execution import Execution, Run

_SEED = 0


async def drain(
    queue: JobQueue,
    registry: Registry,
    *,
    scheduled: bool = False,
    raise_errors: bool = False,
    limit: int = 10_000,
) -> list[Settlement]:
    """Run every job that is ready, and those that they enqueue, until none is; one settlement for each attempt.

    One at a time, as a worker of every queue with one slot would: queues by name, highest priority
    first, oldest first within one. Paused queues are left alone. Retry delays come from a fixed seed.
    Timeouts are not enforced; for those, run a `Worker`.

    Args:
        queue: a `memory_queue`.
        registry: the tasks, and their middleware.
        scheduled: also what is due later, retries among it: whenever nothing is ready, the queue's
            `ManualClock` moves to the next job that is due. Ticks of schedules are not fired; see `fire_due`.
        raise_errors: raise what a handler raises, once its outcome is settled, and run no more.
            `Snooze`, `RetryLater` and `Discard` are outcomes, not errors.
        limit: more attempts than this are taken for an endless loop.

    Raises:
        RuntimeError: more than *limit* attempts.
        UnknownTask: with *raise_errors*, a job of no task of *registry*.
        TypeError: the queue is not in memory, or its clock cannot be moved.
    """
    runner = _Runner(queue, registry)
    clock = _manual_clock(queue) if scheduled else None
    settled: list[Settlement] = []
    try:
        while True:
            wait = await runner.promote()
            settlement = await runner.run_next()
            if settlement is not None:
                settled.append(settlement)
                if raise_errors:
                    runner.raise_error(settlement)
                _refuse_endless(settled, limit)
            elif clock is not None and wait is not None:
                clock.advance(wait)
            else:
                return settled
    finally:
        runner.close()


def _manual_clock(queue: JobQueue) -> ManualClock:
    clock = queue.parts.clock
    if isinstance(clock, ManualClock):
        return clock
    raise TypeError(
        f"drain(scheduled=True) moves the queue's clock, which must be a ManualClock, got {type(clock).__name__}; "
        f"leave out the clock of memory_queue()"
    )


def _refuse_endless(settled: list[Settlement], limit: int) -> None:
    if len(settled) > limit:
        last = settled[-1].type
        raise RuntimeError(
            f"drain has run more than {limit} attempts, the last of task {last!r}; "
            f"does it enqueue itself, or snooze, for ever? Otherwise raise the limit"
        )


class _Runner:
    """A worker with one slot, stepped by hand."""

    def __init__(self, queue: JobQueue, registry: Registry) -> None:
        self._broker: MemoryBroker = broker_of(queue)
        self._clock = queue.parts.clock
        self._registry = registry
        self._error: Exception | None = None
        self._execution = Execution(
            registry,
            middleware=(self._keep_error,),
            default_timeout_s=queue.settings.worker.job_timeout.total_seconds(),
            rng=random.Random(_SEED),
        )

    async def promote(self) -> timedelta | None:
        """Make ready what is due. Returns the time until the next job is."""
        waits = [await self._broker.promote(name) for name in await self._broker.queues()]
        return min((wait for wait in waits if wait is not None), default=None)

    async def run_next(self) -> Settlement | None:
        """Run the first job that is ready, if any is."""
        names = await self._broker.queues()
        paused = [name for name in names if (await self._broker.stats(name)).paused]
        # Joined anew for each job: the last one may have made a queue.
        consumer = await self._broker.join(names)
        try:
            taken = await consumer.fetch(1, skip=paused, wait=False)
            return await self._run(consumer, taken[0]) if taken else None
        finally:
            # Something is left only where we were cancelled.
            left = [Settlement(delivery=each, outcome=RELEASED) for each in await consumer.adopt()]
            await consumer.settle(left)
            await consumer.leave()

    async def _run(self, consumer: Consumer, delivery: Delivery) -> Settlement:
        self._error = None
        now_ms, started = consumer.now_ms(), self._clock.monotonic()
        run = self._execution.prepare(delivery, now_ms)
        if isinstance(run, tuple):
            type_name, outcome = run
            settlement = Settlement(delivery=delivery, outcome=outcome, type=type_name, started_ms=now_ms)
        else:
            run.started_ms = now_ms
            settlement = Settlement(
                delivery=delivery,
                outcome=await self._attempt(run),
                type=run.envelope.type,
                started_ms=now_ms,
                duration_ms=(self._clock.monotonic() - started) * 1000,
                result_ttl_ms=run.envelope.result_ttl_ms,
            )
        await consumer.settle([settlement])
        return settlement

    async def _attempt(self, run: Run) -> Outcome:
        # In a task of its own, as in a worker: with a context of its own, and our cancellation is never taken
        # for the handler's.
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(self._execution.attempt(run))
        return attempt.result()

    async def _keep_error(self, ctx: JobContext, call_next: CallNext) -> object:
        try:
            return await call_next(ctx)
        except Exception as error:
            self._error = error
            raise

    def raise_error(self, settlement: Settlement) -> None:
        """Raise what the last attempt raised."""
        if isinstance(settlement.outcome, Snoozed) and settlement.outcome.deferral:
            self._registry.get(settlement.type)  # which has no such task, and says so
        if self._error is not None and not isinstance(self._error, JobSignal):
            raise self._error

    def close(self) -> None:
        """End the threads of plain handlers."""
        self._execution.close()
