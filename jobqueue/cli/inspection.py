"""The invariants of queues on a live system, with Postgres's side of them."""

from collections.abc import Sequence

from jobqueue.app import JobQueue
from jobqueue.broker.invariants import LettersAccount, Violation, check_queue
from jobqueue.errors import JobQueueError
from jobqueue.repository.base import LetterFilter

_ROUNDS = 4


async def violations(jobs: JobQueue, queue: str) -> Sequence[Violation]:
    """Every broken invariant of a queue; empty when all is well.

    I2 adds up Redis and Postgres, which cannot be read at one instant: it counts as broken when it was in
    several looks in a row.

    Raises:
        BrokerUnavailable, RepositoryError: they cannot be looked at.
    """
    redis = jobs.parts.redis
    if redis is None:
        raise JobQueueError("the invariants are those of queues in Redis")
    found: list[Violation] = []
    for _ in range(_ROUNDS):
        found = await check_queue(redis, queue, letters=await _letters(jobs, queue))
        if not any(each.rule == "I2" for each in found):
            break
    return found


async def _letters(jobs: JobQueue, queue: str) -> LettersAccount | None:
    if jobs.parts.database is None:
        return None
    from jobqueue.repository.postgres import PostgresDeadLetters

    # Counting through the front door ships what waits, so that no letter is in both places.
    await jobs.parts.dead_letters.count(_NONE)
    broker = jobs.parts.broker
    stored = PostgresDeadLetters(jobs.parts.database, broker, namespace=jobs.settings.redis.namespace)
    return await stored.accounted(queue, epoch=await broker.journal.epoch(queue))


_NONE = LetterFilter(job_id="00000000-0000-0000-0000-000000000000")
