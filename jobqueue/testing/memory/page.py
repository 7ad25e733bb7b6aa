"""Pages of live jobs: sorted, and cut behind the place that the cursor names."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from jobqueue.broker.base import Delivery, Found, Place
from jobqueue.errors import ConfigError
from jobqueue.job import PRIORITIES, JobState
from jobqueue.testing.memory.store import MemoryQueue, Store

MOST_JOBS: Final = 200
_CURSORS: Final[dict[Place, Any]] = {
    Place.QUEUED: tuple[int, int],
    Place.RUNNING: tuple[int, int],
    Place.DELAYED: tuple[int, str],
}


def page(
    store: Store, queue: MemoryQueue, place: Place, *, limit: int, after: str | None
) -> tuple[list[Found], str | None]:
    """Up to *limit* jobs behind *after*, and the cursor of the next page."""
    if not 1 <= limit <= MOST_JOBS:
        raise ConfigError(f"limit must be between 1 and {MOST_JOBS}, got {limit}")
    start = _read(after, place) if after is not None else ()
    behind = sorted((key, job.job_id) for key, job in _placed(queue, place) if key > start)
    shown = behind[:limit]
    cursor = msgspec.json.encode(shown[-1][0]).decode() if len(behind) > limit else None
    return [found(store, queue, queue.live[job_id]) for _, job_id in shown], cursor


def _placed(queue: MemoryQueue, place: Place) -> Iterator[tuple[tuple[Any, ...], Delivery]]:
    """Every job of a place, with what it is sorted by. The second half of an entry id counts all that was ready."""
    match place:
        case Place.QUEUED:
            yield from (((job.rank, _number(job)), job) for jobs in queue.ready for job in jobs.values())
        case Place.RUNNING:
            yield from (((_number(job), job.rank), job) for jobs in queue.held.values() for job in jobs.values())
        case Place.DELAYED:
            yield from (((due_ms, job.job_id), job) for due_ms, job in queue.delayed.values())


def _number(job: Delivery) -> int:
    return int(job.entry_id.partition(b"-")[2])


def _read(after: str, place: Place) -> tuple[Any, ...]:
    try:
        start: tuple[Any, ...] = msgspec.json.decode(after, type=_CURSORS[place])
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"cursor must be one that the page before returned, got {after[:64]!r}; "
            f"leave it out to begin with the first page"
        ) from error
    return start


def found(store: Store, queue: MemoryQueue, job: Delivery) -> Found:
    """Where a live job is."""
    worker = queue.holder(job.job_id)
    return Found(
        job_id=job.job_id,
        queue=queue.name,
        priority=PRIORITIES[job.rank],
        body=job.body,
        unique_key=job.unique_key,
        state=_state(job, worker),
        attempt=job.attempt,
        due_ms=queue.delayed[job.job_id][0] if job.job_id in queue.delayed else None,
        worker=worker,
        running_ms=store.clock.now_ms() - queue.taken_ms[job.job_id] if worker is not None else None,
        last_error=job.last_error,
        progress=queue.progress.get(job.job_id),
        cancel_requested=job.job_id in queue.asked,
    )


def _state(job: Delivery, worker: str | None) -> JobState:
    if worker is not None:
        return JobState.RUNNING
    if job.entry_id:
        return JobState.QUEUED
    return JobState.RETRYING if job.attempt > 1 else JobState.SCHEDULED
