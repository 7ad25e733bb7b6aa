"""API keys in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from jobqueue.access.base import ApiKey
from jobqueue.access.key import is_id, known_scopes
from jobqueue.access.scope import Kind
from jobqueue.errors import RepositoryError
from jobqueue.outcome import storable
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import API_KEYS as SQL


class PostgresApiKeys:
    """See `jobqueue.access.base.ApiKeys`."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def add(self, key: ApiKey) -> None:
        row = (
            *(key.id, storable(key.name), key.kind.value, sorted(key.scopes), list(key.queues), key.digest),
            *(key.created_at, storable(key.created_by), key.expires_at, key.revoked_at, key.last_used_at, key.rate),
        )
        async with self._database.transaction() as session:
            added = await session.value(SQL.add, self._namespace, *row)
        if added is None:
            raise RepositoryError(f"there is a key with the id {key.id} already; make another one")

    async def get(self, key_id: str) -> ApiKey | None:
        if not is_id(key_id):
            return None
        async with self._database.transaction() as session:
            row = await session.row(SQL.get, self._namespace, key_id)
        return None if row is None else _key(row)

    async def list(self) -> Sequence[ApiKey]:
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.list, self._namespace)
        return [_key(row) for row in rows]

    async def any(self) -> bool:
        async with self._database.transaction() as session:
            return bool(await session.value(SQL.any, self._namespace))

    async def revoke(self, key_id: str, *, at: datetime) -> bool:
        if not is_id(key_id):
            return False
        async with self._database.transaction() as session:
            return await session.value(SQL.revoke, self._namespace, key_id, at) is not None

    async def used(self, last_used: Mapping[str, datetime]) -> None:
        notes = sorted((key_id, at) for key_id, at in last_used.items() if is_id(key_id))
        if not notes:
            return
        async with self._database.transaction() as session:
            await session.rows(SQL.used, self._namespace, [key_id for key_id, _ in notes], [at for _, at in notes])


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        kind=Kind(row["kind"]),
        scopes=known_scopes(row["scopes"]),
        queues=tuple(row["queues"]),
        digest=row["digest"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        rate=row["rate"],
    )
