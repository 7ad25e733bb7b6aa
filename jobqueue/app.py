"""The front doors: `JobQueue` for producers and operators, `Worker` for running jobs in one's own program."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
import structlog

from jobqueue.bootstrap import Parts, wire
from jobqueue.broker.base import Enqueued, EnqueueResult, Found, QueueStats, Settlement, Submission, WorkerInfo
from jobqueue.clock import from_ms
from jobqueue.config import Settings
from jobqueue.durability import Durability, read_durability
from jobqueue.errors import DeadLetterNotFound, IdempotencyConflict, InvalidJob, JobQueueError, RepositoryUnavailable
from jobqueue.job import PRIORITIES, Job, JobState, Priority, canonical_id, check_key, decode_envelope
from jobqueue.middleware.base import Middleware
from jobqueue.middleware.metrics import Metrics
from jobqueue.outcome import COMPLETED, Retrying, Snoozed
from jobqueue.registry import Registry
from jobqueue.repository.base import DeadLetters, Executions
from jobqueue.scheduler.scheduler import Scheduler
from jobqueue.scheduler.ship import ship_queue
from jobqueue.status import JobHandle, JobStatus
from jobqueue.worker.incarnation import Limits
from jobqueue.worker.pool import Pool

_log = structlog.get_logger("jobqueue.app")

_JOB_OPTIONS = ("queue", "priority", "max_retries", "timeout", "expires", "unique_key", "result_ttl", "headers")
_NO_OPTIONS = (None,) * len(_JOB_OPTIONS)
_DAY = timedelta(hours=24)
_LONGEST_DELAY = timedelta(days=3650)
_POLL_S = 0.1
# Another process may be shipping the last of it at this moment.
_HISTORY_FOLLOWS_S = 5.0


class JobQueue:
    """Enqueue jobs, find them, and operate the queues. Safe for many concurrent callers of one event loop.

        async with JobQueue.connect("redis://localhost:6379") as queue:
            await queue.enqueue(send_email.job(to="ada@example.org", subject="Welcome"))

    Nothing is connected before the first call.
    """

    def __init__(self, parts: Parts, registry: Registry | None = None) -> None:
        self.parts = parts
        self._registry = registry

    @classmethod
    def connect(
        cls,
        url: str = "redis://localhost:6379",
        *,
        database_url: str | None = None,
        namespace: str = "jq",
        registry: Registry | None = None,
    ) -> Self:
        """A queue on this Redis or Valkey; with *database_url*, history and dead letters in that Postgres.

        With a *registry*, payloads of jobs made without their handler's code are validated too.

        Raises:
            ConfigError: a URL or the namespace is wrong.
        """
        given = {"REDIS_URL": url, "JOBQUEUE_NAMESPACE": namespace, "DATABASE_URL": database_url}
        return cls.from_settings(Settings.load({}, overrides=given), registry=registry)

    @classmethod
    def from_env(cls, *, registry: Registry | None = None) -> Self:
        """A queue as the environment and `jobqueue.toml` say."""
        return cls.from_settings(Settings.load(), registry=registry)

    @classmethod
    def from_settings(cls, settings: Settings, *, registry: Registry | None = None) -> Self:
        """A queue as *settings* say."""
        return cls(wire(settings), registry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what has been enqueued and close the connections."""
        await self.parts.close()

    @property
    def settings(self) -> Settings:
        """The settings that this queue was made with."""
        return self.parts.settings

    @property
    def dead_letters(self) -> DeadLetters:
        """Jobs that will not be tried again by themselves: list, get, requeue, delete."""
        return self.parts.dead_letters

    @property
    def executions(self) -> Executions:
        """History, one row per attempt.

        Raises:
            JobQueueError: no Postgres is configured.
        """
        if self.parts.executions is None:
            raise JobQueueError("there is no history without Postgres; set DATABASE_URL, or pass database_url")
        return self.parts.executions

    async def enqueue(
        self,
        job: Job,
        *,
        queue: str | None = None,
        priority: Priority | str | int | None = None,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
        max_retries: int | None = None,
        timeout: timedelta | None = None,
        expires: timedelta | None = None,
        idempotency_key: str | None = None,
        idempotency_ttl: timedelta = _DAY,
        unique_key: str | None = None,
        result_ttl: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        durability: Durability | str | None = None,
    ) -> JobHandle:
        """Queue one job; returns when the broker has it.

        Options given here override the job's own. The same job again while it lives queues nothing
        and says so (`created` is False); with an *idempotency_key* also after it has ended, for
        *idempotency_ttl*; with a *unique_key* at most one live job of the queue holds the key.
        Concurrent calls share round trips.

        Args:
            delay: counted by the broker's clock.
            run_at: an aware datetime; in the past means now.
            durability: `local`, `fsync` or `replicated:n`: how safe the job is when this returns. Else the settings'.

        Raises:
            InvalidJob: the job or an option was refused; nothing was queued.
            ConfigError: the server cannot keep this durability; nothing was queued.
            IdempotencyConflict: the key stands for another body.
            BrokerUnavailable: nothing was queued.
            Backpressure: the broker is full; nothing was queued.
            EnqueueUncertain: no answer, or not as durable, in time; the job may or may not be queued.
        """
        options = (queue, priority, max_retries, timeout, expires, unique_key, result_ttl, headers)
        job = _job(job)
        if options != _NO_OPTIONS:
            given = zip(_JOB_OPTIONS, options, strict=True)
            job = job.replace(**{name: value for name, value in given if value is not None})
        job = self._checked(job)
        submission = Submission(job=job, durability=self._durability(durability))
        if delay is not None or run_at is not None or idempotency_key is not None or idempotency_ttl is not _DAY:
            submission.delay = _check_delay(delay, run_at)
            submission.run_at_ms = _check_run_at(run_at)
            submission.idempotency_key = check_key("idempotency_key", idempotency_key)
            submission.idempotency_ttl = _check_ttl(idempotency_ttl)
        (result,) = await self.parts.broker.enqueue([submission])
        if result.status is Enqueued.CONFLICT:
            raise IdempotencyConflict(idempotency_key or "", result.job_id)
        return JobHandle(id=result.job_id, queue=job.queue, created=result.status is Enqueued.NEW)

    async def enqueue_many(
        self,
        jobs: Iterable[Job],
        *,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
        durability: Durability | str | None = None,
    ) -> list[EnqueueResult]:
        """Queue many jobs, a round trip per batch of up to 500; one result each, in order.

        All are checked before the first is sent. A failure of the broker may leave the earlier
        batches queued; enqueueing the same jobs again is safe while they live.

        Raises:
            As `enqueue`, but an item that exists already is a result, not an error.
        """
        due, at_ms = _check_delay(delay, run_at), _check_run_at(run_at)
        safe = self._durability(durability)
        submissions = [
            Submission(job=self._checked(_job(job)), delay=due, run_at_ms=at_ms, durability=safe) for job in jobs
        ]
        return await self.parts.broker.enqueue(submissions) if submissions else []

    def _durability(self, given: Durability | str | None) -> Durability:
        return self.settings.redis.durability if given is None else read_durability(given)

    def _checked(self, job: Job) -> Job:
        if self._registry is not None and job.type in self._registry:
            self._registry.get(job.type).check(job.payload_json)
        return job

    async def get(self, job_id: str, *, queue: str | None = None) -> JobStatus | None:
        """Where a job is now, or what came of it; None when nothing is known of it.

        A live job is found in Redis; one that has ended in the history, among the dead letters, or
        by its kept result.
        """
        job_id = canonical_id(job_id)
        queues = [queue] if queue is not None else await self.queues()
        for name in queues:
            found = await self.parts.broker.locate(name, job_id)
            if found is not None:
                return _live(job_id, found)
        return await self._ended(job_id, queues)

    async def _ended(self, job_id: str, queues: Sequence[str]) -> JobStatus | None:
        kept = [(name, await self.parts.broker.result(name, job_id)) for name in queues]
        try:
            status = await self._recorded(job_id, queues)
        except RepositoryUnavailable:
            if not any(result for _, result in kept):
                raise
            status = None
        for name, result in kept:
            if result is not None:
                return _with_result(status, job_id, name, result)
        return status

    async def _recorded(self, job_id: str, queues: Sequence[str]) -> JobStatus | None:
        """From the history, once what still waits to be shipped has been, or from the dead letters."""
        status = await self._from_history(job_id)
        if self.parts.shipping is not None:
            for name in queues if status is None else [status.queue]:
                await ship_queue(self.parts.broker.journal, self.parts.shipping.archive, name)
            status = await self._from_history(job_id)
        return status or await self._from_dead_letters(job_id)

    async def _from_history(self, job_id: str) -> JobStatus | None:
        if self.parts.executions is None:
            return None
        executions = await self.parts.executions.of_job(job_id)
        if not executions:
            return None
        last = executions[-1]
        return JobStatus(
            id=job_id,
            type=last.type or next((each.type for each in executions if each.type), ""),
            queue=last.queue,
            priority=last.priority,
            state=_STATES.get(last.outcome, JobState.RETRYING),
            attempt=last.attempt,
            worker=last.worker or None,
            last_error=last.error_class,
            executions=executions,
        )

    async def _from_dead_letters(self, job_id: str) -> JobStatus | None:
        try:
            stored = await self.dead_letters.get(job_id)
        except DeadLetterNotFound:
            return None
        letter = stored.letter
        return JobStatus(
            id=job_id,
            type=stored.type,
            queue=letter.queue,
            priority=letter.priority,
            state=JobState.DEAD,
            attempt=letter.attempts,
            worker=letter.worker,
            last_error=letter.error_class,
            payload=_payload_of(letter.body),
        )

    def scheduler(self) -> Scheduler:
        """A scheduler for every queue of this namespace: `await queue.scheduler().run()`, until cancelled."""
        return self.parts.scheduler()

    async def wait(self, job_id: str, *, timeout: timedelta, queue: str | None = None) -> JobStatus | None:
        """Wait until a job has ended; None when nothing is known of it any more.

        What came of it is known when it keeps its result (`result_ttl`), or from the history.

        Raises:
            TimeoutError: it has not ended within *timeout*.
        """
        async with asyncio.timeout(timeout.total_seconds()):
            unknown_since: float | None = None
            while True:
                try:
                    status = await self.get(job_id, queue=queue)
                except RepositoryUnavailable:
                    # It may be back before the time is up.
                    await asyncio.sleep(_POLL_S)
                    continue
                if status is not None and status.ended:
                    return status
                now = self.parts.clock.monotonic()
                unknown_since = now if status is not None or unknown_since is None else unknown_since
                if status is None and (self.parts.executions is None or now - unknown_since > _HISTORY_FOLLOWS_S):
                    return None
                await asyncio.sleep(_POLL_S)

    async def cancel(self, job_id: str, *, queue: str | None = None) -> JobState | None:
        """Cancel a job: one that waits ends now (`cancelled`), one that runs is asked to stop (`running`).

        None: it is not live; there is nothing to cancel.
        """
        for name in [queue] if queue is not None else await self.queues():
            state = await self.parts.broker.cancel(name, job_id)
            if state is not None:
                return state
        return None

    async def queues(self) -> list[str]:
        """The names of all queues."""
        return await self.parts.broker.queues()

    async def stats(self, queue: str) -> QueueStats:
        """A queue's depth, age and counters at one instant."""
        return await self.parts.broker.stats(queue)

    async def workers(self, queue: str | None = None) -> list[WorkerInfo]:
        """The workers of a queue, or of all."""
        names = [queue] if queue is not None else await self.queues()
        return [worker for name in names for worker in await self.parts.broker.workers(name)]

    async def pause(self, queue: str) -> None:
        """Let no more jobs of *queue* be started. Workers hear of it with their next heartbeat, within 2 s."""
        await self.parts.broker.pause(queue)

    async def resume(self, queue: str) -> None:
        """Undo `pause`."""
        await self.parts.broker.resume(queue)

    async def purge(self, queue: str, *, priorities: Iterable[Priority] = PRIORITIES, delayed: bool = True) -> int:
        """Cancel every waiting job of *queue*; running ones go on. Returns how many were cancelled."""
        return await self.parts.broker.purge(queue, priorities, delayed=delayed)


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
                concurrency=given.concurrency if concurrency is not None else settings.concurrency,
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


_STATES = {
    "completed": JobState.COMPLETED,
    "dead": JobState.DEAD,
    "cancelled": JobState.CANCELLED,
    "expired": JobState.EXPIRED,
}


def _live(job_id: str, found: Found) -> JobStatus:
    job = found.job
    return JobStatus(
        id=job_id,
        type=job.type,
        queue=job.queue,
        priority=job.priority,
        state=found.state,
        attempt=found.attempt,
        payload=job.payload,
        created_at=job.created_at,
        due_at=from_ms(found.due_ms) if found.due_ms else None,
        worker=found.worker,
        last_error=found.last_error,
        progress=msgspec.json.decode(found.progress) if found.progress else None,
        cancel_requested=found.cancel_requested,
    )


def _payload_of(body: bytes) -> Any:
    try:
        return msgspec.json.decode(decode_envelope(body).payload)
    except (InvalidJob, msgspec.MsgspecError):
        return None


def _with_result(status: JobStatus | None, job_id: str, queue: str, kept: bytes) -> JobStatus:
    ended = msgspec.json.decode(kept)
    if status is None:
        status = JobStatus(
            id=job_id,
            type="",
            queue=queue,
            priority=Priority.MEDIUM,
            state=_STATES[ended["outcome"]],
            attempt=0,
        )
    status.state = _STATES[ended["outcome"]]
    if status.state is JobState.COMPLETED:
        status.result = ended["result"]
    elif ended["error"]:
        status.last_error = ended["error"][0]
    return status


def _job(job: object) -> Job:
    if isinstance(job, Job):
        return job
    raise TypeError(f"enqueue takes a Job, such as task.job(...) makes, got {job!r}")


def _check_delay(delay: object, run_at: object) -> timedelta | None:
    if delay is None:
        return None
    if not isinstance(delay, timedelta):
        raise TypeError(f"delay must be a timedelta such as timedelta(minutes=5), got {delay!r}")
    if run_at is not None:
        raise InvalidJob("give delay or run_at, not both")
    if not timedelta(0) <= delay <= _LONGEST_DELAY:
        raise InvalidJob(f"delay must be from 0 to {_LONGEST_DELAY.days} days, got {delay}")
    return delay


def _check_ttl(ttl: object) -> timedelta:
    if not isinstance(ttl, timedelta):
        raise TypeError(f"idempotency_ttl must be a timedelta such as timedelta(hours=24), got {ttl!r}")
    if not timedelta(milliseconds=1) <= ttl <= _LONGEST_DELAY:
        raise InvalidJob(f"idempotency_ttl must be from 1 ms to {_LONGEST_DELAY.days} days, got {ttl}")
    return ttl


def _check_run_at(run_at: object) -> int | None:
    if run_at is None:
        return None
    if not isinstance(run_at, datetime) or run_at.tzinfo is None:
        raise TypeError(f"run_at must be an aware datetime such as datetime.now(UTC), got {run_at!r}")
    ms = int(run_at.timestamp() * 1000)
    if ms < 0 or run_at.year > 9000:
        raise InvalidJob(f"run_at must be a date from 1970 to 9000, got {run_at}")
    return ms
