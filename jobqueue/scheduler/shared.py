"""Shipping for those who want to see what is there now: who comes while one ship is under way shares the next."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from jobqueue.broker.base import Journal
from jobqueue.record import JournalKind
from jobqueue.repository.base import Archive
from jobqueue.scheduler.ship import ship_waiting

_Wanted: TypeAlias = tuple[JournalKind | None, tuple[str, ...]]


class SharedShipping:
    """Ships on demand. Of the same queues and kind one ship goes at a time, and one at most waits for it to end."""

    def __init__(self, journal: Journal, archive: Archive) -> None:
        self._journal = journal
        self._archive = archive
        self._going: dict[_Wanted, asyncio.Task[None]] = {}
        self._next: dict[_Wanted, asyncio.Task[None]] = {}

    async def ship(self, queues: Sequence[str], kind: JournalKind | None = None) -> None:
        """Bring what waits on *queues* at this moment into the archive; of one kind or of all.

        Raises:
            RepositoryUnavailable: Postgres is away; everything stays where it is.
            BrokerUnavailable: Redis is away.
        """
        wanted = (kind, tuple(queues))
        task = self._next.get(wanted)
        if task is None or task.done():
            # One that is under way may have looked before our letter came.
            task = self._next[wanted] = asyncio.create_task(self._ship(wanted, self._going.get(wanted)))
            task.add_done_callback(_noticed)
        await asyncio.shield(task)  # who leaves takes nothing from the others

    async def _ship(self, wanted: _Wanted, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._going[wanted] = task = self._next.pop(wanted)
        kind, queues = wanted
        try:
            await ship_waiting(self._journal, self._archive, queues, kind)
        finally:
            if self._going.get(wanted) is task:
                del self._going[wanted]


def _noticed(task: asyncio.Task[None]) -> None:
    """Whoever waited has the error; where nobody does any more, it is no news for the log."""
    if not task.cancelled():
        task.exception()
