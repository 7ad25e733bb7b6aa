"""The audit log in Postgres: rows are added, and by nobody changed."""

import re
from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec

from jobqueue.access.base import AuditEntry
from jobqueue.access.trail import fit, text
from jobqueue.errors import ConfigError
from jobqueue.outcome import storable
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import AUDIT as SQL

_CURSOR: Final = re.compile(r"[0-9]{1,18}")


class PostgresAuditLog:
    """See `jobqueue.access.base.AuditLog`."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def append(self, entry: AuditEntry) -> None:
        kept = fit(entry)
        detail = msgspec.json.encode(kept.detail).decode()
        row = (kept.at, kept.actor, kept.action, kept.target, detail, kept.address, kept.request_id)
        async with self._database.transaction() as session:
            await session.rows(SQL.append, self._namespace, *row)

    async def list(
        self, *, actor: str | None, action: str | None, target: str | None, limit: int, after: str | None
    ) -> tuple[Sequence[AuditEntry], str | None]:
        """See the port.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        filters = [None if each is None else text(each) for each in (actor, action, target)]
        last = None if after is None else _entry_id(after)
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.page, self._namespace, *filters, last, limit + 1)
        more = str(rows[limit - 1]["entry_id"]) if len(rows) > limit else None
        return [_entry(row) for row in rows[:limit]], more


def _entry_id(cursor: str) -> int:
    if not _CURSOR.fullmatch(cursor):
        raise ConfigError(
            f"cursor must be one that the page before returned, got {storable(cursor)[:64]!r}; "
            f"leave it out to begin at the newest"
        )
    return int(cursor)


def _entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        detail=msgspec.json.decode(row["detail"]),
        address=row["address"],
        request_id=row["request_id"],
    )
