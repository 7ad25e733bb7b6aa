"""`/jobs`: queue, look up, search, cancel, retry."""

import asyncio
import json
from collections.abc import Sequence

from aiohttp import web

from jobqueue.access.scope import Scope
from jobqueue.api import query, show, view
from jobqueue.api.call import Call
from jobqueue.api.intake import Intake, intake
from jobqueue.api.pipeline import json_of
from jobqueue.api.problem import Refusal
from jobqueue.api.repeat import Repetition, once
from jobqueue.api.request import CancelJobs, LiveJobs, NewJob, NewJobs, RetriableJobs, RetryJobs
from jobqueue.errors import DeadLetterNotFound, IdempotencyConflict, InvalidJob
from jobqueue.job import JobState
from jobqueue.planning.origin import origin_of
from jobqueue.record import Many
from jobqueue.repository.base import LetterState
from jobqueue.search import JobFilter
from jobqueue.status import ENDED, JobHandle, JobStatus

REFUSED_ITEM = (InvalidJob, IdempotencyConflict, Refusal)


async def create(call: Call) -> web.StreamResponse:
    """201 with the job; 200 with the one that stands in its place."""
    new: NewJob = call.body

    async def do(repeated: Repetition | None) -> web.Response:
        taken = intake(call, new)
        handle = await taken.enqueue(call.queue, idempotency_key=None if repeated is None else repeated.of_job())
        shown = await _shown(call, taken, handle, repeated)
        created = handle.created or repeated is not None
        return web.Response(body=json_of(shown), status=201 if created else 200, content_type="application/json")

    response = await once(call, do)
    response.headers["Location"] = f"{call.mount}/api/v1/jobs/{_id_in(response)}"
    return response


def _id_in(answer: web.Response) -> str:
    """Of the job in an answer of now or of before."""
    assert isinstance(answer.body, bytes)
    job_id: str = json.loads(answer.body)["id"]
    return job_id


async def _shown(call: Call, taken: Intake, handle: JobHandle, repeated: Repetition | None) -> view.Job:
    masked = call.site.settings.mask_fields
    if handle.created:
        return show.new_job(taken.job, due_at=taken.due_at, masked=masked)
    status = await call.queue.get(handle.id, queue=handle.queue)
    if status is not None:
        return show.job(status, masked)
    if repeated is not None:
        # It was queued by a request that was never answered, and has ended since; the history may not have it yet.
        return show.new_job(taken.job.replace(id=handle.id), due_at=None, masked=masked)
    raise Refusal(
        "conflict",
        f"job {handle.id} was queued before in its place; it has ended since, and is not known any more",
        job_id=handle.id,
    )


async def create_many(call: Call) -> web.StreamResponse:
    """One result for each job; what is refused does not hold up the others."""
    new: NewJobs = call.body

    async def do(repeated: Repetition | None) -> web.Response:
        taken = [_try_intake(call, each) for each in new.jobs]
        results = await _enqueue_all(call, taken, repeated)
        queued = sum(each.status == "new" for each in results)
        return web.Response(
            body=json_of(view.QueuedJobs(results=results, queued=queued)), content_type="application/json"
        )

    return await once(call, do)


def _try_intake(call: Call, new: NewJob) -> Intake | Exception:
    try:
        return intake(call, new)
    except REFUSED_ITEM as error:
        return error


async def _enqueue_all(
    call: Call, taken: Sequence[Intake | Exception], repeated: Repetition | None
) -> list[view.Queued]:
    """All at once: they share round trips."""

    async def one(number: int, item: Intake | Exception) -> view.Queued:
        if isinstance(item, Exception):
            return _refused(item)
        key = None if repeated is None else repeated.of_job(number)
        try:
            handle = await item.enqueue(call.queue, idempotency_key=key)
        except REFUSED_ITEM as error:
            return _refused(error)
        return view.Queued(status="new" if handle.created else "exists", id=handle.id, error=None)

    results = await asyncio.gather(*(one(number, item) for number, item in enumerate(taken)), return_exceptions=True)
    failed = next((each for each in results if isinstance(each, BaseException)), None)
    if failed is not None:
        raise failed
    return [each for each in results if isinstance(each, view.Queued)]


def _refused(error: Exception) -> view.Queued:
    detail = error.detail if isinstance(error, Refusal) else str(error)
    job_id = error.job_id if isinstance(error, IdempotencyConflict) else None
    return view.Queued(status="refused", id=job_id, error=detail)


async def get(call: Call) -> view.JobDetail:
    """A job, in any place, with all its attempts."""
    return await detail(call, call.path["id"])


async def detail(call: Call, job_id: str) -> view.JobDetail:
    """A job of the caller's queues in full."""
    status = await visible_job(call, job_id)
    sees = Scope.SCHEDULES_READ in call.caller.scopes
    made_by = await origin_of(status, call.queue.parts.ticks) if sees else None
    return show.job_detail(status, call.site.settings.mask_fields, made_by=made_by, can=await _can(call, status))


async def visible_job(call: Call, job_id: str) -> JobStatus:
    """A job of the caller's queues.

    Raises:
        Refusal: there is none; of other queues it is not told that there is.
    """
    status = await call.queue.get(job_id, sees=call.caller.sees)
    if status is None:
        raise Refusal("not-found", f"no job {job_id} is known")
    return status


async def _can(call: Call, status: JobStatus) -> list[show.Can]:
    scopes, can = call.caller.scopes, list[show.Can]()
    if not status.ended and Scope.JOBS_CANCEL in scopes:
        can.append("cancel")
    if status.state in (JobState.SCHEDULED, JobState.RETRYING) and Scope.JOBS_RETRY in scopes:
        can.append("retry")
    if status.state is JobState.DEAD and {Scope.JOBS_RETRY, Scope.DLQ_WRITE} & scopes and await _is_dead(call, status):
        if Scope.JOBS_RETRY in scopes:
            can.append("retry")
        if Scope.DLQ_WRITE in scopes:
            can.append("edit")
    return can


async def _is_dead(call: Call, status: JobStatus) -> bool:
    """Whether its dead letter is still there: it may have been deleted."""
    try:
        letter = await call.queue.dead_letters.get(status.id, queue=status.queue)
    except DeadLetterNotFound:
        return False
    return letter.state is LetterState.DEAD


async def ls(call: Call) -> view.JobPage:
    """A page of jobs: running, queued, delayed, then those that ended, newest first."""
    asked: query.JobsQuery = call.query
    where = await _where(call, asked)
    if where.queues == ():
        return view.JobPage(items=[], next_cursor=None)
    found, more = await call.queue.find(where, limit=asked.limit, after=call.cursor())
    masked = call.site.settings.mask_fields
    return view.JobPage(items=[show.job(each, masked) for each in found], next_cursor=call.next_cursor(more))


async def _where(call: Call, asked: query.JobsQuery | LiveJobs | RetriableJobs) -> JobFilter:
    state = None if asked.state is None else JobState(asked.state)
    if state in ENDED - {JobState.DEAD} and call.queue.parts.executions is None:
        raise Refusal("not-configured", f"{state} jobs are known only where Postgres keeps the history")
    return JobFilter(state=state, type=asked.type, queue=asked.queue, queues=await call.visible(), q=asked.q)


async def cancel(call: Call) -> view.Cancelled:
    """Cancel one job."""
    status = await visible_job(call, call.path["id"])
    state = await call.queue.cancel(status.id, queue=status.queue)
    if state is None:
        raise Refusal("conflict", f"job {status.id} is {status.state.value}: there is nothing to cancel")
    call.note(status.id, queue=status.queue, type=status.type, state=state.value)
    return view.Cancelled(id=status.id, state=state)


async def retry(call: Call) -> view.Retried:
    """Let a job run now: one that waits for its time, or a dead one, under its id."""
    status = await visible_job(call, call.path["id"])
    state = await call.queue.retry(status.id, queue=status.queue)
    if state is None or state is JobState.RUNNING:
        told = (state or status.state).value
        raise Refusal("conflict", f"job {status.id} is {told}: it neither waits for its time nor is a dead letter")
    call.note(status.id, queue=status.queue, type=status.type, before=status.state.value)
    return view.Retried(id=status.id, state=state)


async def cancel_many(call: Call) -> view.Done:
    """Cancel every live job of a filter, up to `limit`; call again until `remaining` is 0."""
    action: CancelJobs = call.body
    where = await _where(call, action.filter)
    return _noted(call, action, await call.queue.cancel_where(where, limit=action.limit, dry_run=action.dry_run))


async def retry_many(call: Call) -> view.Done:
    """Let every job of a filter run now, up to `limit`; its `state` is scheduled, retrying or dead."""
    action: RetryJobs = call.body
    where = await _where(call, action.filter)
    return _noted(call, action, await call.queue.retry_where(where, limit=action.limit, dry_run=action.dry_run))


def _noted(call: Call, action: CancelJobs | RetryJobs, many: Many) -> view.Done:
    if not action.dry_run:
        chosen = action.filter.model_dump(mode="json", exclude_none=True)
        call.note(action.filter.queue or "*", filter=chosen, done=many.done, failed=len(many.failed))
    return show.done(many)
