"""`/dlq`: dead letters; look, retry, edit, delete, one by one or by filter."""

from jobqueue.api import query, show, view
from jobqueue.api.call import Call
from jobqueue.api.mask import NothingBehind, unmask
from jobqueue.api.problem import Refusal
from jobqueue.api.request import Edit, LettersAction, LettersFilter
from jobqueue.job import JobState, encode_payload
from jobqueue.record import Many
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter
from jobqueue.search.letter import find_letter


async def ls(call: Call) -> view.LetterPage:
    """A page, newest death first."""
    asked: query.LettersQuery = call.query
    where = await _where(call, asked)
    letters, more = await call.queue.dead_letters.list(where, limit=asked.limit, after=call.cursor())
    masked = call.site.settings.mask_fields
    return view.LetterPage(items=[show.letter(each, masked) for each in letters], next_cursor=call.next_cursor(more))


async def groups(call: Call) -> view.ErrorGroups:
    """How many of which error, most frequent first."""
    asked: query.GroupsQuery = call.query
    found = await call.queue.dead_letters.groups(await _where(call, asked), limit=asked.limit)
    return view.ErrorGroups(items=[show.error_group(each) for each in found])


async def get(call: Call) -> view.Letter:
    """One dead letter, with payload and traceback."""
    return show.letter(await _visible(call), call.site.settings.mask_fields)


async def delete(call: Call) -> None:
    """Forget one dead letter."""
    stored = await _visible(call)
    if not await call.queue.dead_letters.delete(stored.letter.job_id, queue=stored.letter.queue):
        raise Refusal("conflict", f"the dead letter of job {stored.letter.job_id} is on its way back, or is gone")
    call.note(stored.letter.job_id, queue=stored.letter.queue, type=stored.type)


async def retry(call: Call) -> view.Retried:
    """Queue the job again, under its id, with a fresh budget of attempts; with another payload where one is given."""
    stored, edit = await _visible(call), call.body
    assert isinstance(edit, Edit)
    job_id = stored.letter.job_id
    if stored.state is not LetterState.DEAD:
        raise Refusal("conflict", f"job {job_id} was queued again before")
    payload = None if edit.payload is None else _edited(call, stored, edit.payload)
    if not await call.queue.dead_letters.requeue(job_id, queue=stored.letter.queue, payload=payload):
        raise Refusal("conflict", f"job {job_id} was queued again before")
    call.note(job_id, queue=stored.letter.queue, type=stored.type, edited=payload is not None)
    return view.Retried(id=job_id, state=JobState.QUEUED)


def _edited(call: Call, stored: StoredLetter, payload: dict[str, object]) -> bytes:
    """The new payload as JSON, with its own values behind the masks, checked against the task where it is known."""
    try:
        whole = unmask(payload, show.payload_of(stored.letter.body), call.site.settings.mask_fields)
    except NothingBehind as error:
        raise Refusal("invalid-job", str(error)) from error
    encoded = encode_payload(stored.type, whole)
    registry = call.site.registry
    if registry is not None and stored.type in registry:
        registry.get(stored.type).check(encoded)
    return encoded


async def retry_many(call: Call) -> view.Done:
    """Queue every dead letter of a filter again, up to `limit`; call again until `remaining` is 0."""
    action: LettersAction = call.body
    where = await _where(call, action.filter)
    if action.dry_run:
        return await _counted(call, where)
    many = await call.queue.dead_letters.requeue_where(where, limit=action.limit)
    return _noted(call, action, many)


async def delete_many(call: Call) -> view.Done:
    """Delete every dead letter of a filter, up to `limit`; call again until `remaining` is 0."""
    action: LettersAction = call.body
    where = await _where(call, action.filter)
    if action.dry_run:
        return await _counted(call, where)
    many = await call.queue.dead_letters.delete_where(where, limit=action.limit)
    return _noted(call, action, many)


async def _counted(call: Call, where: LetterFilter) -> view.Done:
    count = await call.queue.dead_letters.count(where)
    return show.done(Many(matched=count, remaining=count))


def _noted(call: Call, action: LettersAction, many: Many) -> view.Done:
    chosen = action.filter.model_dump(mode="json", exclude_none=True)
    call.note(action.filter.queue or "*", filter=chosen, done=many.done, failed=len(many.failed))
    return show.done(many)


async def _where(call: Call, asked: query.LettersWhere | LettersFilter) -> LetterFilter:
    return LetterFilter(
        queue=asked.queue,
        queues=await call.visible(),
        type=asked.type,
        reason=asked.reason,
        error=asked.error,
        before=asked.before,
    )


async def _visible(call: Call) -> StoredLetter:
    """A dead letter of the caller's queues.

    Raises:
        Refusal: there is none; of other queues it is not told that there is.
    """
    letters, queues = call.queue.dead_letters, await call.visible()
    stored = await find_letter(letters, call.path["id"].lower(), sees=call.caller.sees, queues=queues)
    if stored is None:
        raise Refusal("not-found", f"there is no dead letter of job {call.path['id']}")
    return stored
