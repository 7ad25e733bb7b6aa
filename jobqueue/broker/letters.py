"""Dead letters as they are held outside of Postgres: shown, filtered, grouped."""

from collections.abc import AsyncIterable
from typing import Final

from jobqueue.broker.entry import type_of
from jobqueue.clock import from_ms
from jobqueue.errors import InvalidJob
from jobqueue.job import Job
from jobqueue.record import DeadLetter, ErrorGroup
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter

MOST_FAILURES: Final = 1_000
"""An action on many looks at so many letters beyond its limit at most, where many cannot be requeued."""


def stored(letter: DeadLetter) -> StoredLetter:
    """A letter still in the broker as the store would show it."""
    return StoredLetter(
        letter=letter, type=type_of(letter.body), state=LetterState.DEAD, died_at=from_ms(letter.died_ms)
    )


def matches(where: LetterFilter, stored: StoredLetter) -> bool:
    """Whether a letter is among those asked for."""
    letter = stored.letter
    text = f"{letter.error_class}: {letter.error_message}".lower()
    return (
        where.queue in (None, letter.queue)
        and (where.queues is None or letter.queue in where.queues)
        and where.type in (None, stored.type)
        and where.reason in (None, letter.reason)
        and where.job_id in (None, letter.job_id)
        and where.state in (None, stored.state)
        and (where.error is None or where.error.lower() in text)
        and (where.before is None or stored.died_at < where.before)
    )


async def grouped(letters: AsyncIterable[StoredLetter], *, limit: int) -> list[ErrorGroup]:
    """Letters by type, queue and error class, most frequent first."""
    groups: dict[tuple[str, str, str], ErrorGroup] = {}
    async for each in letters:
        letter = each.letter
        key = (each.type, letter.queue, letter.error_class)
        group = groups.get(key)
        if group is None:
            group = groups[key] = ErrorGroup(
                type=each.type,
                queue=letter.queue,
                error_class=letter.error_class,
                count=0,
                first_at=each.died_at,
                last_at=each.died_at,
                last_message=letter.error_message,
                last_id=letter.job_id,
            )
        group.count += 1
        group.first_at = min(group.first_at, each.died_at)
        if each.died_at > group.last_at:
            group.last_at, group.last_message, group.last_id = each.died_at, letter.error_message, letter.job_id
    by_size = sorted(groups.items(), key=lambda item: (-item[1].count, -item[1].last_at.timestamp(), item[0]))
    return [group for _, group in by_size[:limit]]


def edited_body(letter: DeadLetter, payload: bytes | None) -> bytes:
    """The body that is to be queued; empty for the one that the letter holds.

    Raises:
        InvalidJob: *payload* is not one that a job may have, or the letter's body cannot be read.
    """
    if payload is None:
        return b""
    try:
        job = Job.from_wire(letter.body, id=letter.job_id, queue=letter.queue, priority=letter.priority)
        return job.with_payload(payload).to_wire()
    except InvalidJob as error:
        raise InvalidJob(f"dead letter of job {letter.job_id} cannot be requeued: {error}") from error


def unique_key_held(letter: DeadLetter, holder: str) -> InvalidJob:
    """Why a letter cannot be requeued now."""
    return InvalidJob(
        f"dead letter of job {letter.job_id} cannot be requeued: live job {holder} holds its "
        f"unique key {letter.unique_key!r}; cancel that one, or try again when it has ended"
    )
