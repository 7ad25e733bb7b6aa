"""The dead letter of a job among the queues asked for, whoever took its id in another one."""

from collections.abc import Callable, Sequence

from jobqueue.errors import DeadLetterNotFound
from jobqueue.repository.base import DeadLetters, LetterFilter, LetterState, StoredLetter

Sees = Callable[[str], bool]
"""Whether a queue is one of those asked for. A job id is unique within a queue only."""


async def find_letter(
    letters: DeadLetters, job_id: str, *, sees: Sees, queues: Sequence[str] | None
) -> StoredLetter | None:
    """A job's newest death that was not requeued, else its newest, in a queue that *sees* admits.

    *queues* are those of them that are known, None for all.
    """
    try:
        stored = await letters.get(job_id)
    except DeadLetterNotFound:
        return None
    if sees(stored.letter.queue):
        return stored
    for state in (LetterState.DEAD, None):
        where = LetterFilter(job_id=job_id, queues=None if queues is None else tuple(queues), state=state)
        found, _ = await letters.list(where, limit=1)
        if found:
            return found[0]
    return None
