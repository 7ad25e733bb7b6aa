"""Acting on every job of a filter: so many at a call, many at once, and safe to repeat."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from jobqueue.bootstrap import Parts
from jobqueue.errors import BrokerError, ConfigError, EnqueueUncertain, JobQueueError, RepositoryUnavailable
from jobqueue.job import JobState
from jobqueue.record import Many
from jobqueue.repository.base import LetterFilter
from jobqueue.search.choice import JobFilter
from jobqueue.search.finder import Finder
from jobqueue.status import ENDED

MAX_AT_ONCE: Final = 1_000
_PAGE: Final = 200
_PAGES: Final = 50
"""So many pages are counted: 10 000 jobs where all match, 100 000 looked at where few do."""
_TOGETHER: Final = 16
# A job moves the other way, so that none slips through between two of these.
_CANCELLABLE: Final = (JobState.SCHEDULED, JobState.RETRYING, JobState.QUEUED, JobState.RUNNING)
_RETRIABLE: Final = (JobState.SCHEDULED, JobState.RETRYING, JobState.DEAD)

Chosen = tuple[str, str]
"""A job's id and its queue: an id may be taken in each of them."""
Act = Callable[[str, str], Awaitable[str | None]]
"""Does it to a job of a queue; says why not, where it could not."""


class Bulk:
    """See `JobQueue.cancel_where` and `JobQueue.retry_where`."""

    def __init__(self, parts: Parts, finder: Finder) -> None:
        self._parts = parts
        self._finder = finder

    async def cancel(self, where: JobFilter, *, limit: int, dry_run: bool) -> Many:
        """Cancel live jobs; one that runs is asked to stop once."""
        _check_limit(limit)
        if where.state in ENDED:
            raise ConfigError(f"{where.state} jobs have ended and cannot be cancelled; {_one_of(_CANCELLABLE)}")
        states = _CANCELLABLE if where.state is None else (where.state,)
        return await self._act(where, states, limit, None if dry_run else self._cancel)

    async def retry(self, where: JobFilter, *, limit: int, dry_run: bool) -> Many:
        """Let delayed jobs run now, or queue dead ones again."""
        _check_limit(limit)
        state = where.state
        if state is None or state not in _RETRIABLE:
            asked = "jobs of any state" if state is None else f"{state} jobs"
            raise ConfigError(f"{asked} cannot be retried together; {_one_of(_RETRIABLE)}")
        if state != JobState.DEAD:
            return await self._act(where, [state], limit, None if dry_run else self._hasten)
        if where.q:
            return await self._act(where, [state], limit, None if dry_run else self._requeue)
        letters = LetterFilter(queue=where.queue, queues=where.queues, type=where.type)
        if dry_run:
            matched = await self._parts.dead_letters.count(letters)
            return Many(matched=matched, remaining=matched)
        return await self._parts.dead_letters.requeue_where(letters, limit=limit)

    async def _act(self, where: JobFilter, states: Sequence[JobState], limit: int, act: Act | None) -> Many:
        chosen: dict[Chosen, None] = {}
        more_than = False
        for state in states:
            more_than |= await self._choose(msgspec.structs.replace(where, state=state), chosen)
        many = Many(matched=len(chosen), more_than=more_than)
        if act is not None:
            await _carry_out(list(chosen)[:limit], act, many)
        many.remaining = len(chosen) - many.done - len(many.failed)
        if more_than and many.done:
            many.remaining = max(many.remaining, 1)
        return many

    async def _choose(self, where: JobFilter, chosen: dict[Chosen, None]) -> bool:
        """Add the jobs of *where*; returns whether there may be more than were counted."""
        after: str | None = None
        for _ in range(_PAGES):
            jobs, after = await self._finder.page(where, limit=_PAGE, after=after)
            # One that has been asked to stop needs no asking again: it ends when its handler lets it.
            chosen.update({(job.id, job.queue): None for job in jobs if not job.cancel_requested})
            if after is None:
                return False
        return True

    async def _cancel(self, job_id: str, queue: str) -> str | None:
        return _unless_gone(await self._parts.broker.cancel(queue, job_id))

    async def _hasten(self, job_id: str, queue: str) -> str | None:
        return _unless_gone(await self._parts.broker.hasten(queue, job_id))

    async def _requeue(self, job_id: str, queue: str) -> str | None:
        return None if await self._parts.dead_letters.requeue(job_id, queue=queue) else "it was queued again before"


async def _carry_out(chosen: Sequence[Chosen], act: Act, many: Many) -> None:
    """Do it to each; what one job refuses is noted and does not hold up the others."""
    for start in range(0, len(chosen), _TOGETHER):
        batch = chosen[start : start + _TOGETHER]
        answers = await asyncio.gather(*(act(*each) for each in batch), return_exceptions=True)
        for (job_id, _), answer in zip(batch, answers, strict=True):
            match answer:
                case None:
                    many.done += 1
                case str():
                    many.failed[job_id] = answer
                case BrokerError() | EnqueueUncertain() | RepositoryUnavailable():
                    raise answer
                case JobQueueError():
                    many.failed[job_id] = str(answer)
                case _:
                    raise answer


def _unless_gone(state: JobState | None) -> str | None:
    return "it has ended meanwhile" if state is None else None


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_AT_ONCE:
        raise ConfigError(f"limit must be from 1 to {MAX_AT_ONCE} a call, got {limit}; call again for more")


def _one_of(states: Sequence[JobState]) -> str:
    return f"state must be one of {', '.join(states)}"
