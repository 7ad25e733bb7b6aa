"""Dead letters as operators see them: what still waits in Redis is shipped before it is looked at."""

from collections.abc import Sequence

import structlog

from jobqueue.broker.base import Broker
from jobqueue.errors import RepositoryUnavailable
from jobqueue.record import ErrorGroup, Many
from jobqueue.repository.base import Archive, DeadLetters, LetterFilter, StoredLetter
from jobqueue.scheduler.shared import SharedShipping

_log = structlog.get_logger("jobqueue.scheduler")


class FreshDeadLetters:
    """The dead letters of a Postgres store, with those that have not reached it yet.

    While Postgres is away, reading shows what Redis still holds; changing waits for Postgres.
    """

    def __init__(self, stored: DeadLetters, unshipped: DeadLetters, broker: Broker, archive: Archive) -> None:
        self._stored = stored
        self._unshipped = unshipped
        self._broker = broker
        self._shipping = SharedShipping(broker.journal, archive)

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        try:
            await self._ship(where)
            return await self._stored.list(where, limit=limit, after=after)
        except RepositoryUnavailable as error:
            _log.warning("dead_letters.only_unshipped", error=str(error))
            return await self._unshipped.list(where, limit=limit)

    async def count(self, where: LetterFilter) -> int:
        await self._ship(where)
        return await self._stored.count(where)

    async def get(self, job_id: str, *, queue: str | None = None) -> StoredLetter:
        try:
            await self._ship(LetterFilter(queue=queue))
            return await self._stored.get(job_id, queue=queue)
        except RepositoryUnavailable:
            return await self._unshipped.get(job_id, queue=queue)

    async def requeue(self, job_id: str, *, queue: str | None = None, payload: bytes | None = None) -> bool:
        await self._ship(LetterFilter(queue=queue))
        return await self._stored.requeue(job_id, queue=queue, payload=payload)

    async def requeue_where(self, where: LetterFilter, *, limit: int) -> Many:
        await self._ship(where)
        return await self._stored.requeue_where(where, limit=limit)

    async def delete_where(self, where: LetterFilter, *, limit: int) -> Many:
        await self._ship(where)
        return await self._stored.delete_where(where, limit=limit)

    async def groups(self, where: LetterFilter, *, limit: int) -> Sequence[ErrorGroup]:
        try:
            await self._ship(where)
            return await self._stored.groups(where, limit=limit)
        except RepositoryUnavailable as error:
            _log.warning("dead_letters.only_unshipped", error=str(error))
            return await self._unshipped.groups(where, limit=limit)

    async def delete(self, job_id: str, *, queue: str | None = None) -> bool:
        await self._ship(LetterFilter(queue=queue))
        return await self._stored.delete(job_id, queue=queue)

    async def _ship(self, where: LetterFilter) -> None:
        """Bring the dead letters of the filter's queues into the store."""
        queues = [name for name in await self._broker.queues() if where.queue in (None, name)]
        if where.queues is not None:
            queues = sorted(set(queues).intersection(where.queues))
        await self._shipping.ship(queues, "dead")
