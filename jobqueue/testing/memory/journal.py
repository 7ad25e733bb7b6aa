"""What a shipper would read: the history and the dead letters of each queue, page by page."""

from collections.abc import Sequence
from typing import Any

from jobqueue.broker.base import JournalPage
from jobqueue.record import JournalKind, entry_order
from jobqueue.testing.memory.store import MemoryQueue, Store


class MemoryJournal:
    """See `jobqueue.broker.base.Journal`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def waiting_in(self, queues: Sequence[str], kind: JournalKind | None = None) -> list[str]:
        return [queue for queue in queues if self._waits(self._store.queue(queue), kind)]

    def _waits(self, of: MemoryQueue, kind: JournalKind | None) -> bool:
        kinds: Sequence[JournalKind] = ("journal", "dead", "ticks") if kind is None else (kind,)
        return any(_entries(of, each) for each in kinds)

    async def epoch(self, queue: str) -> str | None:
        return self._store.queue(queue).epoch if queue in self._store.queues else None

    async def primary(self, queue: str) -> str:
        return ""

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        of = self._store.queue(queue)
        entries = _entries(of, kind)
        ids = [entry_id for entry_id in entries if entry_order(entry_id) > entry_order(after)][:count]
        if not ids:
            return None
        page = JournalPage(last=ids[-1], full=len(ids) == count)
        match kind:
            case "dead":
                page.dead_letters = [of.dead[entry_id] for entry_id in ids]
            case "ticks":
                page.ticks = [of.ticks[entry_id] for entry_id in ids]
            case "journal":
                page.executions = [each for entry_id in ids for each in of.journal[entry_id]]
        return page

    async def trim(self, queue: str, kind: JournalKind, *, upto: str, primary: str) -> None:
        of = self._store.queue(queue)
        entries = _entries(of, kind)
        for entry_id in [each for each in entries if entry_order(each) <= entry_order(upto)]:
            del entries[entry_id]


def _entries(of: MemoryQueue, kind: JournalKind) -> dict[str, Any]:
    kinds: dict[JournalKind, dict[str, Any]] = {"journal": of.journal, "dead": of.dead, "ticks": of.ticks}
    return kinds[kind]
