"""From what a caller sent to a job that can be enqueued."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.api.request import JobFields, NewJob
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
    job = checked_job(call, new, payload=new.payload, id=new.id, unique_key=new.unique_key)
    return Intake(job=job, delay=new.delay, run_at=new.scheduled_at)


def checked_job(call: Call, sent: JobFields, *, payload: Mapping[str, Any], **more: Any) -> Job:
    """The job that was sent, with the options *more*. What was left out is as the task says, else the job's default.

    Raises:
        InvalidJob: it is refused.
        Refusal: its queue is none of the caller's.
    """
    registry = call.site.registry
    job = Job(sent.type, payload, **_options(registry, sent), **more)
    if not call.caller.sees(job.queue):
        raise Refusal("forbidden", f"this key does not cover the queue {job.queue!r}")
    if registry is not None and job.type in registry:
        registry.get(job.type).check(job.payload_json)
    return job


def _options(registry: Registry | None, sent: JobFields) -> Mapping[str, Any]:
    options: dict[str, Any] = {"queue": "default", "priority": Priority.MEDIUM}
    if registry is not None and sent.type in registry:
        task = registry.get(sent.type).options
        options = {"queue": task.queue, "priority": task.priority, "result_ttl": task.result_ttl}
    names = ("queue", "priority", "max_retries", "timeout", "expires", "result_ttl")
    given = {name: getattr(sent, name) for name in names if getattr(sent, name) is not None}
    return {**options, **given}
