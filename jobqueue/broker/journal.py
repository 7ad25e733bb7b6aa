"""What waits in Redis for Postgres: the journal of executions, and the dead letters."""

from collections.abc import Callable
from typing import Any

from jobqueue.broker import entry, scripts
from jobqueue.broker.base import JournalPage
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import QueueKeys
from jobqueue.record import JournalKind

_TRIM_PAGE = 200


class RedisJournal:
    """See `jobqueue.broker.base.Journal`."""

    def __init__(self, line: Line, keys: Callable[[str], QueueKeys]) -> None:
        self._line = line
        self._keys = keys

    async def epoch(self, queue: str) -> str | None:
        value: bytes | None = await self._line.call(["HGET", self._keys(queue).meta, "epoch"])
        return value.decode() if value is not None else None

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        stream = self._stream(queue, kind)
        entries: list[Any] = await self._line.call(["XRANGE", stream, f"({after}", "+", "COUNT", count])
        if not entries:
            return None
        page = JournalPage(last=entries[-1][0].decode())
        for entry_id, fields in entries:
            if kind == "journal":
                page.executions += entry.read_journal_entry(queue, fields)
            else:
                page.dead_letters.append(entry.read_dead_letter(queue, entry_id, fields))
        return page

    async def trim(self, queue: str, kind: JournalKind, *, upto: str) -> None:
        command = scripts.TRIM.command(
            self._keys(queue),
            shipped=self._stream(queue, kind),
            upto=upto,
            limit=_TRIM_PAGE,
            journal=int(kind == "journal"),
        )
        while await self._line.call(command):
            pass

    def _stream(self, queue: str, kind: JournalKind) -> str:
        keys = self._keys(queue)
        return keys.journal if kind == "journal" else keys.dead
