"""From what a caller sent to a job that can be enqueued."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.api.request import NewJob
from jobqueue.app import JobQueue
from jobqueue.errors import InvalidJob
from jobqueue.job import Job, Priority
from jobqueue.registry import Registry
from jobqueue.status import JobHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A job, checked, with when it is to be run."""

    job: Job
    delay: timedelta | None
    run_at: datetime | None

    @property
    def due_at(self) -> datetime | None:
        """About when it is due, by the clock here; None: now."""
        now = datetime.now(UTC)
        due = self.run_at if self.delay is None else now + self.delay
        return None if due is None or due <= now else due.astimezone(UTC)

    async def enqueue(self, queue: JobQueue, *, idempotency_key: str | None) -> JobHandle:
        """Queue it; the same *idempotency_key* again queues nothing."""
        return await queue.enqueue(self.job, delay=self.delay, run_at=self.run_at, idempotency_key=idempotency_key)


def intake(call: Call, new: NewJob) -> Intake:
    """Check a new job as the queue will, and against the task where this process knows it.

    Raises:
        InvalidJob: it is refused.
        Refusal: its queue is none of the caller's.
    """
    if new.delay is not None and new.scheduled_at is not None:
        raise InvalidJob("give delay or scheduled_at, not both")
    job = Job(new.type, new.payload, **_options(call.site.registry, new))
    if not call.caller.sees(job.queue):
        raise Refusal("forbidden", f"this key does not cover the queue {job.queue!r}")
    registry = call.site.registry
    if registry is not None and job.type in registry:
        registry.get(job.type).check(job.payload_json)
    return Intake(job=job, delay=new.delay, run_at=new.scheduled_at)


def _options(registry: Registry | None, new: NewJob) -> Mapping[str, Any]:
    """What was given; else what the task says; else the job's defaults."""
    options: dict[str, Any] = {"queue": "default", "priority": Priority.MEDIUM}
    if registry is not None and new.type in registry:
        task = registry.get(new.type).options
        options = {"queue": task.queue, "priority": task.priority, "result_ttl": task.result_ttl}
    names = ("id", "queue", "priority", "max_retries", "timeout", "expires", "unique_key", "result_ttl")
    given = {name: getattr(new, name) for name in names if getattr(new, name) is not None}
    return {**options, **given}
