"""The record of ticks as operators see it: what still waits in Redis is shipped before it is looked at."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from jobqueue.broker.base import Broker
from jobqueue.errors import BrokerUnavailable, RepositoryUnavailable
from jobqueue.repository.base import Archive
from jobqueue.repository.schedules import TickFilter, TickRecords
from jobqueue.scheduler.shared import SharedShipping
from jobqueue.tick import TickRecord

_log = structlog.get_logger("jobqueue.scheduler")


class FreshTickRecords:
    """The records of a Postgres store, with those that have not reached it yet.

    Where Redis is away, the store's alone are shown; where Postgres is, those that wait for it.
    """

    def __init__(self, stored: TickRecords, unshipped: TickRecords, broker: Broker, archive: Archive) -> None:
        self._stored = stored
        self._unshipped = unshipped
        self._broker = broker
        self._shipping = SharedShipping(broker.journal, archive)

    async def search(
        self, where: TickFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        try:
            await self._ship(where.queues)
            return await self._stored.search(where, limit=limit, after=after)
        except RepositoryUnavailable as error:
            if after is not None:
                raise
            _log.warning("ticks.only_unshipped", error=str(error))
            found, _ = await self._unshipped.search(where, limit=limit)
            return found, None

    async def newest(self, names: Sequence[str]) -> Mapping[str, TickRecord]:
        await self._ship(None)
        return await self._stored.newest(names)

    async def fired(self, name: str, *, since: datetime, until: datetime) -> frozenset[int]:
        """See the port. Redis is looked at first: what leaves it meanwhile is in the store by then."""
        unshipped = await self._unshipped.fired(name, since=since, until=until)
        return unshipped | await self._stored.fired(name, since=since, until=until)

    async def asked_for(self, job_id: str, *, queue: str, since: datetime, until: datetime) -> str | None:
        try:
            await self._ship([queue])
            return await self._stored.asked_for(job_id, queue=queue, since=since, until=until)
        except RepositoryUnavailable as error:
            _log.warning("ticks.only_unshipped", error=str(error))
            return await self._unshipped.asked_for(job_id, queue=queue, since=since, until=until)

    async def _ship(self, wanted: Sequence[str] | None) -> None:
        """Bring the records of the queues into the store, unless Redis is away."""
        try:
            queues = await self._broker.queues()
            if wanted is not None:
                queues = sorted(set(queues).intersection(wanted))
            await self._shipping.ship(queues, "ticks")
        except BrokerUnavailable as error:
            _log.warning("ticks.only_shipped", error=str(error))
