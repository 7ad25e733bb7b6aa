"""One delivery, from its bytes to its outcome.

The hot path. Per job: one msgspec decode, one context, one asyncio task, no timer, no log line. Measured
for a no-op by `python -m benchmarks.parts`, µs of CPU a job:

    an entry becomes a delivery              0.25
    `prepare`: envelope, task, run           0.71
    a task of its own                        1.25
    `attempt`: context, arguments, handler   2.36    of it context 0.45, arguments checked 0.61
    settlement, its command, packing it      0.45    with history 1.05

The whole worker, with slots, lease, metrics and the parsing of replies, costs 8.7 (docs/explanation/performance.md).
"""

import asyncio
import os
import random
from enum import StrEnum
from typing import Any

import msgspec

from jobqueue.broker.base import Delivery
from jobqueue.context import JobContext, enter
from jobqueue.errors import InvalidJob, UnknownTask
from jobqueue.job import Envelope, decode_envelope
from jobqueue.middleware.base import CallNext, Middleware, compose
from jobqueue.outcome import (
    COMPLETED,
    RELEASED,
    Cancelled,
    Completed,
    Dead,
    DeadReason,
    Expired,
    Failure,
    Outcome,
    decide,
    decide_unknown,
    timed_out,
)
from jobqueue.registry import Registry, Task
from jobqueue.worker.threads import Threads

_MAX_RESULT_BYTES = 256 * 1024

_forks = 0
"""How many forks this process is away from the one that imported this module."""


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Stop(StrEnum):
    """Why a running handler was asked to stop."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    FENCED = "fenced"


class Run(msgspec.Struct, eq=False):
    """One delivery in a slot."""

    delivery: Delivery
    envelope: Envelope
    task: Task[..., Any]
    chain: CallNext
    timeout_s: float
    started: float = 0.0
    started_ms: int = 0
    deadline: float = 0.0
    context: JobContext | None = None
    work: "asyncio.Task[None] | None" = None
    stop: Stop | None = None
    stop_at: float = 0.0
    settled: bool = False

    def ask_to_stop(self, why: Stop, now: float) -> None:
        """Cancel the handler, once; the first reason stands."""
        if self.stop is None:
            self.stop, self.stop_at = why, now
            if self.context is not None:
                self.context.request_cancel()
            if self.work is not None:
                self.work.cancel()


class Execution:
    """How deliveries are prepared, run and judged. Shared by all incarnations of a pool."""

    def __init__(
        self,
        registry: Registry,
        *,
        middleware: tuple[Middleware, ...],
        default_timeout_s: float,
        rng: random.Random,
    ) -> None:
        self._registry = registry
        self._middleware = middleware
        self._default_timeout_s = default_timeout_s
        self._rng = rng
        self._forks = _forks
        self._chains: dict[str, tuple[Task[..., Any], CallNext, float]] = {}
        self._threads = Threads("jobqueue-handler")

    def prepare(self, delivery: Delivery, now_ms: int) -> Run | tuple[str, Outcome]:
        """What is to be run; or, where nothing is to be run, the task's name and the outcome at once."""
        try:
            envelope = decode_envelope(delivery.body)
        except InvalidJob as error:
            return "", Dead(DeadReason.UNREADABLE, Failure.of(error))
        if delivery.expires_ms and delivery.expires_ms <= now_ms:
            return envelope.type, Expired()
        try:
            task, chain, timeout_s = self._chains.get(envelope.type) or self._compile(envelope.type)
        except UnknownTask as error:
            return envelope.type, decide_unknown(error, deferrals=delivery.deferrals)
        if envelope.timeout_ms is not None:
            timeout_s = envelope.timeout_ms / 1000
        return Run(delivery, envelope, task, chain, timeout_s)

    def _compile(self, name: str) -> tuple[Task[..., Any], CallNext, float]:
        task = self._registry.get(name)
        chain = compose(self._middleware, self._registry.chain(task, self._threads))
        timeout = task.options.timeout
        timeout_s = self._default_timeout_s if timeout is None else timeout.total_seconds()
        self._chains[name] = compiled = (task, chain, timeout_s)
        return compiled

    async def attempt(self, run: Run) -> Outcome:
        """Run the handler inside its middleware. Every error comes back as an outcome."""
        context = run.context = _context(run)
        enter(context)
        try:
            value = await run.chain(context)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt raised by a handler are its failure, not the worker's end. So is a
            # cancellation that nobody here asked for: given back, a handler that cancels itself would run for ever.
            return self.stopped(run) if run.stop else self._failed(run, error)
        finally:
            if _forks != self._forks:
                # A fork that came back: a second worker on the same sockets would garble both.
                os._exit(1)
        if run.stop is Stop.TIMEOUT:
            return self.stopped(run)
        if run.envelope.result_ttl_ms:
            return Completed(_result_json(value))
        return COMPLETED

    def stopped(self, run: Run) -> Outcome:
        """The outcome of an attempt that was asked to stop."""
        match run.stop:
            case Stop.TIMEOUT:
                return self._failed(run, timed_out(run.timeout_s))
            case Stop.CANCEL:
                return Cancelled()
            case _:
                return RELEASED

    def _failed(self, run: Run, error: BaseException) -> Outcome:
        return decide(
            error,
            failures=run.delivery.failures,
            policy=run.task.options.retry,
            max_retries=run.task.options.max_retries if run.envelope.max_retries is None else run.envelope.max_retries,
            rng=self._rng,
        )

    def close(self) -> None:
        """End the threads: the idle ones now, the others after their handlers."""
        self._threads.shutdown()


def _context(run: Run) -> JobContext:
    delivery, envelope = run.delivery, run.envelope
    return JobContext(
        delivery.job,
        delivery.job_id,
        envelope.type,
        delivery.queue,
        delivery.attempt,
        run.started_ms + int(run.timeout_s * 1000),
        bytes(envelope.payload),
    )


def _result_json(value: object) -> bytes:
    """The kept result; one that JSON cannot say, or that is too large, is replaced: its job is done all the same."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=_dump_model)
    except Exception as error:  # whatever a model's own code raises
        return _not_kept(f"no JSON: {Failure.of(error).message}"[:500])
    if len(encoded) > _MAX_RESULT_BYTES:
        return _not_kept(f"{len(encoded)} bytes; the limit is {_MAX_RESULT_BYTES}")
    return encoded


def _not_kept(reason: str) -> bytes:
    return msgspec.json.encode({"jobqueue": "result not kept", "reason": reason})


def _dump_model(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return dump(mode="json")
