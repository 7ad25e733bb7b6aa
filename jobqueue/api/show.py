"""From what jobqueue knows to what callers are shown. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from jobqueue.api import view
from jobqueue.api.mask import mask
from jobqueue.broker.base import QueueStats, WorkerInfo
from jobqueue.clock import from_ms, to_ms
from jobqueue.errors import InvalidJob
from jobqueue.job import Job, JobState, Priority, decode_envelope
from jobqueue.planning.origin import Origin
from jobqueue.record import Bucket, ErrorGroup, Execution, Many
from jobqueue.repository.base import StoredLetter
from jobqueue.status import JobStatus

Can = Literal["cancel", "retry", "edit"]
Masked = Collection[str]


def new_job(job: Job, *, due_at: datetime | None, masked: Masked) -> view.Job:
    """A job just queued, as it was sent."""
    return view.Job(
        id=job.id,
        type=job.type,
        queue=job.queue,
        priority=job.priority.value,
        state=JobState.QUEUED if due_at is None else JobState.SCHEDULED,
        attempt=1,
        payload=mask(job.payload, masked),
        payload_kept=True,
        created_at=job.created_at,
        due_at=due_at,
        started_at=None,
        finished_at=None,
        duration_ms=None,
        worker=None,
        last_error=None,
        error_message=None,
        cancel_requested=False,
    )


def job(status: JobStatus, masked: Masked) -> view.Job:
    """A job, wherever it is."""
    return view.Job(**_job_fields(status, masked))


def job_detail(status: JobStatus, masked: Masked, *, made_by: Origin | None, can: Sequence[Can]) -> view.JobDetail:
    """A job with its attempts, the schedule that it was *made_by*, and what *can* be done with it."""
    return view.JobDetail(
        **_job_fields(status, masked),
        progress=mask(status.progress, masked),
        result=mask(status.result, masked),
        max_retries=status.max_retries,
        timeout_ms=None if status.timeout is None else to_ms(status.timeout),
        attempts=[view.Attempt(**_attempt_fields(each)) for each in status.executions],
        made_by=None if made_by is None else view.MadeBy(schedule=made_by.schedule, tick=made_by.tick),
        can=list(can),
    )


def _job_fields(status: JobStatus, masked: Masked) -> dict[str, Any]:
    return {
        "id": status.id,
        "type": status.type,
        "queue": status.queue,
        "priority": Priority(status.priority).value,
        "state": status.state,
        "attempt": status.attempt,
        "payload": mask(status.payload, masked),
        "payload_kept": status.payload_kept,
        "created_at": status.created_at,
        "due_at": status.due_at,
        "started_at": status.started_at,
        "finished_at": status.finished_at,
        "duration_ms": status.duration_ms,
        "worker": status.worker,
        "last_error": status.last_error,
        "error_message": status.error_message,
        "cancel_requested": status.cancel_requested,
    }


def _attempt_fields(execution: Execution) -> dict[str, Any]:
    started = execution.started_ms or None
    return {
        "attempt": execution.attempt,
        "generation": execution.generation,
        "outcome": execution.outcome,
        "worker": execution.worker,
        "queued_at": from_ms(execution.queued_ms) if execution.queued_ms else None,
        "started_at": None if started is None else from_ms(started),
        "finished_at": None if started is None else from_ms(started + round(execution.duration_ms)),
        "duration_ms": execution.duration_ms,
        "error_class": execution.error_class,
        "error_message": execution.error_message,
        "traceback": execution.traceback,
    }


def execution(row: Execution) -> view.Execution:
    """One row of the history."""
    return view.Execution(
        **_attempt_fields(row),
        id=row.job_id,
        type=row.type,
        queue=row.queue,
        priority=Priority(row.priority).value,
    )


def letter(stored: StoredLetter, masked: Masked) -> view.Letter:
    """A dead letter."""
    dead = stored.letter
    payload = payload_of(dead.body)
    return view.Letter(
        id=dead.job_id,
        type=stored.type,
        queue=dead.queue,
        priority=Priority(dead.priority).value,
        state=stored.state.value,
        reason=dead.reason,
        error_class=dead.error_class,
        error_message=dead.error_message,
        traceback=dead.traceback,
        attempts=dead.attempts,
        crashes=dead.crashes,
        payload=mask(payload, masked),
        payload_kept=payload is not None,
        worker=dead.worker,
        died_at=stored.died_at,
        requeued_at=stored.requeued_at,
    )


def payload_of(body: bytes) -> Any:
    """The arguments in a job's body; None where it cannot be read."""
    try:
        return msgspec.json.decode(decode_envelope(body).payload)
    except (InvalidJob, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def error_group(group: ErrorGroup) -> view.ErrorGroup:
    """Failures of one task with one error class."""
    return view.ErrorGroup(**msgspec.structs.asdict(group))


def bucket(found: Bucket) -> view.Bucket:
    """The executions that ended in one span of time."""
    outcomes = dict(found.outcomes)
    completed = outcomes.pop("completed", 0)
    failed = outcomes.pop("dead", 0) + outcomes.pop("retrying", 0)
    return view.Bucket(
        at=from_ms(found.at_ms),
        completed=completed,
        failed=failed,
        other=sum(outcomes.values()),
        p50_ms=found.p50_ms,
        p95_ms=found.p95_ms,
    )


def done(many: Many) -> view.Done:
    """What came of an action on many."""
    return view.Done(**msgspec.structs.asdict(many))


def depth(stats: QueueStats) -> dict[Any, int]:
    """How many jobs are ready, by priority."""
    return {priority.value: stats.ready.get(priority, 0) for priority in Priority}


def worker(name: str, infos: Sequence[WorkerInfo], jobs: Sequence[view.Running]) -> view.Worker:
    """One worker process, from what each of its queues knows of it."""
    first = infos[0]
    return view.Worker(
        name=name,
        host=first.host,
        pid=first.pid,
        started_at=None if first.started_ms is None else from_ms(first.started_ms),
        queues=sorted(each.queue for each in infos),
        slots=first.slots,
        running=sum(each.running for each in infos),
        jobs=list(jobs),
        alive=any(each.lease_ms > 0 for each in infos),
        lease_ms=max(each.lease_ms for each in infos),
    )
