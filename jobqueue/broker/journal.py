"""What waits in Redis for Postgres: the journal of executions, the dead letters, and the record of ticks."""

import re
from collections.abc import Callable, Sequence

from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts
from jobqueue.broker.base import JournalPage
from jobqueue.broker.connection import Line, refused
from jobqueue.broker.keys import QueueKeys
from jobqueue.broker.standing import read_entry
from jobqueue.record import MAY_RETURN, JournalKind

_ASKED_AT_ONCE = 500
_TRIM_PAGE = 200
_FIRST_PAGE = 20
_PAGE_BYTES = 8 * 1024 * 1024
"""About what a page of the journal may hold: an entry is a batch of up to 1 MiB where payloads are kept."""


class RedisJournal:
    """See `jobqueue.broker.base.Journal`."""

    def __init__(self, line: Line, keys: Callable[[str], QueueKeys], *, queues_move: bool) -> None:
        self._line = line
        self._mark = MAY_RETURN if queues_move else ""
        self._keys = keys
        self._fitting: dict[str, int] = {}
        """Stream -> how many entries like those of its last page make a page."""

    async def waiting_in(self, queues: Sequence[str], kind: JournalKind | None = None) -> list[str]:
        kinds: tuple[JournalKind, ...] = ("dead", "journal", "ticks") if kind is None else (kind,)
        found: list[str] = []
        for start in range(0, len(queues), _ASKED_AT_ONCE):
            some = queues[start : start + _ASKED_AT_ONCE]
            lengths = await self._line.exchange(
                [["XLEN", self._stream(queue, kind)] for kind in kinds for queue in some]
            )
            # A refusal is for the read to tell.
            full = {n % len(some) for n, length in enumerate(lengths) if length != 0}
            found += [queue for n, queue in enumerate(some) if n in full]
        return found

    async def epoch(self, queue: str) -> str | None:
        value: bytes | None = await self._line.call(["HGET", self._keys(queue).meta, "epoch"])
        return value.decode() if value is not None else None

    async def primary(self, queue: str) -> str:
        (info,) = await self._line.exchange([["INFO", "replication"]], at=self._keys(queue).meta)
        return self._primary(info)

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        stream = self._stream(queue, kind)
        if kind == "journal":
            count = min(count, self._fitting.get(stream, _FIRST_PAGE))
        # On one connection, one after the other: whose entries they are is known, whatever fails over.
        entries, info = await self._line.exchange(
            [["XRANGE", stream, f"({after}", "+", "COUNT", count], ["INFO", "replication"]]
        )
        if isinstance(entries, ResponseError):
            raise refused(entries) from entries
        if not entries:
            return None
        page = JournalPage(last=entries[-1][0].decode(), primary=self._primary(info), full=len(entries) >= count)
        for entry_id, fields in entries:
            match kind:
                case "journal":
                    page.executions += entry.read_journal_entry(queue, fields)
                case "dead":
                    page.dead_letters.append(entry.read_dead_letter(queue, entry_id, fields))
                case "ticks":
                    page.ticks.append(read_entry(queue, entry_id, fields))
        if kind == "journal":
            size = sum(len(fields[5]) for _, fields in entries)
            self._fitting[stream] = max(1, _PAGE_BYTES * len(entries) // max(size, 1))
        return page

    async def trim(self, queue: str, kind: JournalKind, *, upto: str, primary: str) -> None:
        stream = self._stream(queue, kind)
        command = scripts.TRIM.command(
            self._keys(queue),
            shipped=stream,
            upto=upto,
            limit=min(_TRIM_PAGE, self._fitting.get(stream, _FIRST_PAGE)) if kind == "journal" else _TRIM_PAGE,
            journal=int(kind == "journal"),
            primary=primary.removeprefix(MAY_RETURN),
        )
        while await self._line.call(command) > 0:
            pass

    def _primary(self, info: bytes | ResponseError) -> str:
        """A primary's name for its own line of history, new with each promotion."""
        found = None if isinstance(info, ResponseError) else re.search(rb"master_replid:(\w+)", info)
        return self._mark + found[1].decode() if found else ""

    def _stream(self, queue: str, kind: JournalKind) -> str:
        keys = self._keys(queue)
        return {"journal": keys.journal, "dead": keys.dead, "ticks": keys.ticks}[kind]
