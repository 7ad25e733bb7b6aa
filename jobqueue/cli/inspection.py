"""The invariants of queues on a live system, with Postgres's side of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobqueue.app import JobQueue
from jobqueue.broker.invariants import LettersAccount, Violation, check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.clock import from_ms
from jobqueue.errors import BrokerError, JobQueueError
from jobqueue.record import JournalKind, entry_order
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


@dataclass(frozen=True, slots=True)
class SetBack:
    """Redis holds older data than Postgres has seen: up to *here* where Postgres has confirmed up to *there*.

    *heard* is the last sign of life in what Redis holds: an entry, a worker's beat or a reaper's look.
    """

    here: datetime
    there: datetime
    heard: datetime


async def set_back(jobs: JobQueue, queue: str) -> SetBack | None:
    """Whether a queue was set back: by an old backup that was restored, or by a crash that lost its newest writes.

    Ids of entries only grow, so Postgres can have shipped nothing that Redis has yet to make. Seen until the queue's
    next settlement after it was set back.

    Raises:
        BrokerError, RepositoryError: they cannot be looked at.
    """
    redis, database = jobs.parts.redis, jobs.parts.database
    epoch = await jobs.parts.broker.journal.epoch(queue)
    if redis is None or database is None or epoch is None:
        return None
    from jobqueue.repository.postgres import PostgresArchive

    archive, keys = PostgresArchive(database, namespace=jobs.settings.redis.namespace), redis.keys(queue)
    confirmed = {kind: entry_order(await archive.position(queue, kind, epoch)) for kind in _SHIPPED}
    beats = await redis.call(["HMGET", keys.meta, "beat_ms", "janitor_ms"])
    newest = {kind: await _last_generated(redis, getattr(keys, stream)) for kind, stream in _SHIPPED.items()}
    ahead = [kind for kind in _SHIPPED if confirmed[kind] > newest[kind]]
    if not ahead:
        return None
    kind = max(ahead, key=lambda kind: confirmed[kind])
    return SetBack(
        here=from_ms(newest[kind][0]),
        there=from_ms(confirmed[kind][0]),
        heard=from_ms(max(*(ms for ms, _ in newest.values()), *(int(each or 0) for each in beats))),
    )


async def _last_generated(redis: RedisStreamsBroker, stream: str) -> tuple[int, int]:
    try:
        facts = await redis.call(["XINFO", "STREAM", stream])
    except BrokerError as error:
        if "no such key" not in str(error):
            raise
        return 0, 0
    return entry_order(dict(zip(facts[::2], facts[1::2], strict=True))[b"last-generated-id"].decode())


async def _letters(jobs: JobQueue, queue: str) -> LettersAccount | None:
    if jobs.parts.database is None:
        return None
    from jobqueue.repository.postgres import PostgresDeadLetters

    # Counting through the front door ships what waits, so that no letter is in both places.
    await jobs.parts.dead_letters.count(_NONE)
    broker = jobs.parts.broker
    stored = PostgresDeadLetters(jobs.parts.database, broker, namespace=jobs.settings.redis.namespace)
    return await stored.accounted(queue, epoch=await broker.journal.epoch(queue))


_SHIPPED: dict[JournalKind, str] = {"journal": "journal", "dead": "dead"}
_NONE = LetterFilter(job_id="00000000-0000-0000-0000-000000000000")
