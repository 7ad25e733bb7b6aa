"""`JobQueue`: the front door for producers and operators."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from jobqueue.bootstrap import Parts, wire
from jobqueue.broker.base import Enqueued, EnqueueResult, QueueStats, Submission, WorkerInfo
from jobqueue.config import Settings
from jobqueue.durability import Durability, read_durability
from jobqueue.errors import DeadLetterNotFound, IdempotencyConflict, InvalidJob, JobQueueError, RepositoryUnavailable
from jobqueue.job import PRIORITIES, Job, JobState, Priority, canonical_id, check_key
from jobqueue.planning import Schedules
from jobqueue.record import Many
from jobqueue.registry import Registry
from jobqueue.repository.base import DeadLetters, Executions, LetterState
from jobqueue.scheduler.scheduler import Scheduler
from jobqueue.search import ANY, Bulk, Finder, JobFilter, Lookup
from jobqueue.search.letter import find_letter
from jobqueue.status import JobHandle, JobStatus

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
        self._lookup = Lookup(parts)
        self._finder = Finder(parts, self._lookup)
        self._bulk = Bulk(parts, self._finder)
        self._schedules = Schedules(parts)

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
    def schedules(self) -> Schedules:
        """Jobs made at set times: define, change, pause, look at, run, backfill."""
        return self._schedules

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

    async def get(
        self, job_id: str, *, queue: str | None = None, sees: Callable[[str], bool] | None = None
    ) -> JobStatus | None:
        """Where a job is now, or what came of it; None when nothing is known of it.

        A live job is found in Redis; one that has ended in the history, among the dead letters, or
        by its kept result. Only in *queue*, or in the queues whose names *sees* is true of, where one is given.
        """
        return await self._lookup.job(job_id, queue=queue, sees=sees)

    async def find(
        self, where: JobFilter = ANY, *, limit: int = 50, after: str | None = None
    ) -> tuple[list[JobStatus], str | None]:
        """A page of the jobs of *where*, and the cursor of the next page (None: this was the last).

        Live jobs come from Redis: running, queued, then delayed; within each by queue, oldest first. Then come those
        that ended, from Postgres, newest first. A job that stays where it is is found once; one that moves between
        two pages may be found twice or not at all. Work is bounded: a page may be short, even empty, with a cursor
        to go on. Without Postgres, of the jobs that ended only dead ones are found.

        Raises:
            ConfigError: *limit* is not 1 to 1 000, or *after* is not a cursor of this method.
            JobQueueError: *where* names an ended state other than dead, and no Postgres is configured.
            BrokerUnavailable, RepositoryUnavailable: they cannot be asked.
        """
        return await self._finder.page(where, limit=limit, after=after)

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

    async def cancel_where(self, where: JobFilter, *, limit: int = 200, dry_run: bool = False) -> Many:
        """Cancel up to *limit* live jobs of *where*, or with *dry_run* only count them.

        Jobs that run are asked to stop, and count as done. Call again while `remaining` is not 0: what was done is
        not done twice. Some 10 000 jobs are counted at most; `more_than` says that there may be more.

        Raises:
            ConfigError: *limit* is not 1 to 1 000, or *where* names a state in which a job has ended.
            BrokerUnavailable: some may have been cancelled; call again.
        """
        return await self._bulk.cancel(where, limit=limit, dry_run=dry_run)

    async def retry(self, job_id: str, *, queue: str | None = None) -> JobState | None:
        """Let a job run now: one that waits for its time (`queued`), or a dead one, under its id (`queued`).

        One that is ready or runs is left as it is: `queued`, `running`. None: it is neither live nor dead.

        Raises:
            InvalidJob: *job_id* is no job id; or a dead letter that cannot be read, or whose unique key is taken.
            BrokerUnavailable, RepositoryUnavailable: call again; it is not done twice.
        """
        job_id = canonical_id(job_id)
        names = [queue] if queue is not None else await self.queues()
        for name in names:
            state = await self.parts.broker.hasten(name, job_id)
            if state is not None:
                return state
        return await self._requeue(job_id, names)

    async def _requeue(self, job_id: str, queues: Sequence[str]) -> JobState | None:
        stored = await find_letter(self.dead_letters, job_id, sees=frozenset(queues).__contains__, queues=queues)
        if stored is None:
            return await self._live_state(job_id, queues)  # somebody else may have been first
        if stored.state == LetterState.REQUEUED:
            return await self._live_state(job_id, queues)
        # Another one may be at it: then it is on its way.
        requeued = await self._requeue_letter(job_id, stored.letter.queue)
        return JobState.QUEUED if requeued else await self._live_state(job_id, queues) or JobState.QUEUED

    async def _requeue_letter(self, job_id: str, queue: str) -> bool:
        try:
            return await self.dead_letters.requeue(job_id, queue=queue)
        except DeadLetterNotFound:
            return False

    async def _live_state(self, job_id: str, queues: Sequence[str]) -> JobState | None:
        status = await self._lookup.live(job_id, queues)
        return None if status is None else status.state

    async def retry_where(self, where: JobFilter, *, limit: int = 200, dry_run: bool = False) -> Many:
        """Let up to *limit* jobs of *where* run now, or with *dry_run* only count them.

        They are `scheduled`, `retrying` or `dead`, and *where* says which. Call again while `remaining` is
        not 0; but a job that fails again meanwhile matches again: end when the first `matched` are done. Each death
        is queued again once.

        Raises:
            ConfigError: *limit* is not 1 to 1 000, or the state of *where* is not one of the three.
            BrokerUnavailable, RepositoryUnavailable: some may have been retried; call again.
        """
        return await self._bulk.retry(where, limit=limit, dry_run=dry_run)

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
