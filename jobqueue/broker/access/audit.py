"""The audit log in Redis, where there is no Postgres: a stream of bounded length."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from jobqueue.access.base import AuditEntry
from jobqueue.access.trail import fit, text
from jobqueue.broker import scripts
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import AccessKeys
from jobqueue.errors import BrokerError, ConfigError

MOST_ENTRIES: Final = 100_000
"""So many of the newest are kept, or a few more."""

_PAGE: Final = 500
_PAGES_AT_ONCE: Final = 20
_CURSOR: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class RedisAuditLog:
    """See `jobqueue.access.base.AuditLog`. A filter that fits little may give pages short of entries: a call reads
    10 000 at most, and its cursor goes on from there."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._stream = AccessKeys.of(namespace).audit

    async def append(self, entry: AuditEntry) -> None:
        kept = msgspec.json.encode(fit(entry))
        await self._line.call(scripts.RECORD.command(audit=self._stream, most=MOST_ENTRIES, entry=kept))

    async def list(
        self, *, actor: str | None, action: str | None, target: str | None, limit: int, after: str | None
    ) -> tuple[Sequence[AuditEntry], str | None]:
        """See the port.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        found: list[AuditEntry] = []
        last = after if after is None else _cursor(after)
        wanted = {"actor": actor, "action": action, "target": target}
        wanted = {name: text(value) for name, value in wanted.items() if value is not None}
        size = _PAGE if wanted else min(limit + 1, _PAGE)
        for _ in range(_PAGES_AT_ONCE):
            page = await self._page(last, size)
            for entry_id, entry in page:
                if len(found) == limit:
                    return found, last
                last = entry_id
                if all(getattr(entry, name) == value for name, value in wanted.items()):
                    found.append(entry)
            if len(page) < size:
                return found, None
        return found, last

    async def _page(self, before: str | None, count: int) -> Sequence[tuple[str, AuditEntry]]:
        start = "+" if before is None else f"({before}"
        entries = await self._line.call(["XREVRANGE", self._stream, start, "-", "COUNT", count])
        return [(entry_id.decode(), _read(entry_id, fields)) for entry_id, fields in entries]


def _cursor(text: str) -> str:
    if not _CURSOR.fullmatch(text):
        raise ConfigError(
            f"cursor must be one that the page before returned, got {text[:64]!r}; leave it out to begin at the newest"
        )
    return text


def _read(entry_id: bytes, fields: Sequence[bytes]) -> AuditEntry:
    try:
        return msgspec.json.decode(fields[1], type=AuditEntry)
    except (msgspec.MsgspecError, IndexError) as error:
        raise BrokerError(f"the audit entry {entry_id.decode()} in Redis cannot be read: {error}") from error
