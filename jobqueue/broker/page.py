"""Pages of live jobs: a cursor is the place of the last job shown, so that nothing that stays is skipped or repeated.

A cursor reads `<rank>-<entry id>`, or among delayed jobs `<due, ms>-<id>`.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from jobqueue.broker import entry, scripts
from jobqueue.broker.base import Found, Place
from jobqueue.broker.keys import QueueKeys
from jobqueue.errors import ConfigError
from jobqueue.job import PRIORITIES, JobState

MOST_JOBS: Final = 200
_MOST_BYTES: Final = 4 * 1024 * 1024
_STATES: Final = {b"r": JobState.RUNNING, b"q": JobState.QUEUED, b"d": JobState.SCHEDULED}
_SCRIPTS: Final = {
    Place.QUEUED: scripts.PAGE_QUEUED,
    Place.RUNNING: scripts.PAGE_RUNNING,
    Place.DELAYED: scripts.PAGE_DELAYED,
}
_IN_STREAM: Final = re.compile(r"([0-3])-(\d{1,19}-\d{1,19})")
_BY_DUE: Final = re.compile(r"(-?\d{1,19}(?:\.\d{1,19})?)-([0-9a-f-]{36})")


def command(keys: QueueKeys, place: Place, *, limit: int, after: str | None) -> list[scripts.Value]:
    """What asks for a page.

    Raises:
        ConfigError: *limit* is out of range, or *after* is no cursor of *place*.
    """
    if not 1 <= limit <= MOST_JOBS:
        raise ConfigError(f"limit must be between 1 and {MOST_JOBS}, got {limit}")
    start: tuple[str | Any, ...]
    if place is Place.DELAYED:
        start = ("-inf", "") if after is None else _read(_BY_DUE, after)
        names = ("after_due", "after_id")
    else:
        start = ("0", "0-0") if after is None else _read(_IN_STREAM, after)
        names = ("after_rank", "after_entry")
    return _SCRIPTS[place].command(keys, limit=limit, max_bytes=_MOST_BYTES, **dict(zip(names, start, strict=True)))


def _read(cursor: re.Pattern[str], after: str) -> tuple[str | Any, ...]:
    found = cursor.fullmatch(after)
    if found is None:
        raise ConfigError(
            f"cursor must be one that the page before returned, got {after[:64]!r}; "
            f"leave it out to begin with the first page"
        )
    return found.groups()


def read(queue: str, answer: Sequence[Any]) -> tuple[list[Found], str | None]:
    """The jobs of a page, and the cursor of the next."""
    cursor, rows = answer
    return [found(queue, row[0].decode(), row[1:]) for row in rows], cursor.decode() or None


def found(queue: str, job_id: str, located: Sequence[Any]) -> Found:
    """A job as locate.lua tells of it."""
    place, rank, header, body, due, worker, running_ms, progress, asked = located
    counters = entry.read_header(header) if header else {}
    attempt = counters.get("attempt", 1)
    state = _STATES[place]
    if state is JobState.SCHEDULED and attempt > 1:
        state = JobState.RETRYING
    return Found(
        job_id=job_id,
        queue=queue,
        priority=PRIORITIES[int(rank)],
        body=body,
        unique_key=counters.get("unique_key"),
        state=state,
        attempt=attempt,
        due_ms=int(float(due)) or None,
        worker=worker.decode() or None,
        running_ms=int(running_ms) if state is JobState.RUNNING else None,
        last_error=counters.get("last_error"),
        progress=progress or None,
        cancel_requested=bool(asked),
    )
