"""What is told of a job, from each of the places that know of it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from jobqueue.broker.base import Found
from jobqueue.clock import from_ms
from jobqueue.errors import InvalidJob
from jobqueue.job import Job, JobState, Priority, decode_envelope, time_of
from jobqueue.record import ENDS, Execution
from jobqueue.repository.base import StoredLetter
from jobqueue.status import JobStatus

_STATES = {
    "completed": JobState.COMPLETED,
    "dead": JobState.DEAD,
    "cancelled": JobState.CANCELLED,
    "expired": JobState.EXPIRED,
}


def of_live(found: Found, *, now_ms: int) -> JobStatus:
    """A live job, as the broker has it; of one that cannot be read, what stands beside its body."""
    status = JobStatus(
        id=found.job_id,
        type=found.type,
        queue=found.queue,
        priority=found.priority,
        state=found.state,
        attempt=found.attempt,
        due_at=from_ms(found.due_ms) if found.due_ms else None,
        started_at=from_ms(now_ms - found.running_ms) if found.running_ms is not None else None,
        duration_ms=found.running_ms,
        worker=found.worker,
        last_error=found.last_error,
        progress=msgspec.json.decode(found.progress) if found.progress else None,
        cancel_requested=found.cancel_requested,
    )
    _add_body(status, found.body)
    return status


def of_end(last: Execution) -> JobStatus:
    """A job by the newest row that the history has of it."""
    status = JobStatus(
        id=last.job_id,
        type=last.type,
        queue=last.queue,
        priority=last.priority,
        state=_STATES.get(last.outcome, JobState.RETRYING),
        attempt=last.attempt,
        worker=last.worker or None,
        last_error=last.error_class,
        error_message=last.error_message,
        created_at=time_of(last.job_id),
        started_at=_instant(last.started_ms) if last.attempt else None,
        finished_at=_instant(last.started_ms + round(last.duration_ms)) if last.started_ms else None,
        duration_ms=last.duration_ms if last.attempt else None,
    )
    if last.payload is not None:
        status.payload, status.payload_kept = _decoded(last.payload), True
    return status


def of_history(executions: Sequence[Execution]) -> JobStatus:
    """A job by all that the history has of it, oldest first."""
    status = of_end(_last(executions))
    status.type = status.type or next((each.type for each in executions if each.type), "")
    status.executions = executions
    return status


def _last(executions: Sequence[Execution]) -> Execution:
    """The end of the newest life, or its newest attempt: an end without an attempt is numbered 0, and stands first."""
    life = [each for each in executions if each.generation == executions[-1].generation]
    return next((each for each in reversed(life) if each.outcome in ENDS), life[-1])


def of_letter(stored: StoredLetter) -> JobStatus:
    """A dead job, by its dead letter."""
    letter = stored.letter
    status = JobStatus(
        id=letter.job_id,
        type=stored.type,
        queue=letter.queue,
        priority=letter.priority,
        state=JobState.DEAD,
        attempt=letter.attempts,
        worker=letter.worker or None,
        last_error=letter.error_class,
        error_message=letter.error_message,
        finished_at=stored.died_at,
    )
    _add_body(status, letter.body)
    return status


def add_letter(status: JobStatus, stored: StoredLetter) -> None:
    """What only the body of a dead letter tells of a job in the history."""
    _add_body(status, stored.letter.body)


def _add_body(status: JobStatus, body: bytes) -> None:
    try:
        job = Job.from_wire(body, id=status.id, queue=status.queue, priority=status.priority)
        status.created_at, status.max_retries, status.timeout = job.created_at, job.max_retries, job.timeout
        status.headers = job.headers
        status.payload, status.payload_kept = job.payload, True
    except InvalidJob:
        return


def read_body(body: bytes) -> tuple[str, bytes]:
    """The task and the payload in a body; of one that cannot be read, no task and all of it."""
    try:
        envelope = decode_envelope(body)
    except InvalidJob:
        return "", body
    return envelope.type, bytes(envelope.payload)


def with_result(status: JobStatus | None, job_id: str, queue: str, kept: bytes) -> JobStatus:
    """What is known of a job with the outcome that it kept in Redis."""
    ended = msgspec.json.decode(kept)
    state = _STATES[ended["outcome"]]
    if status is None:
        status = JobStatus(id=job_id, type="", queue=queue, priority=Priority.MEDIUM, state=state, attempt=0)
    status.state = state
    if state is JobState.COMPLETED:
        status.result = ended["result"]
    elif ended["error"]:
        status.last_error, status.error_message = ended["error"][0], ended["error"][1]
    return status


def _instant(ms: int) -> datetime | None:
    return from_ms(ms) if ms else None


def _decoded(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return payload.decode(errors="replace")
