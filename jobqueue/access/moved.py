"""Keys whose store was changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from jobqueue.access.base import ApiKey, ApiKeys


class MovedApiKeys:
    """The keys of *store*, where *former* kept them before. The old ones are void, but not forgotten: without this,
    an API on loopback would be open to everybody from the day on which its keys moved to Postgres."""

    def __init__(self, store: ApiKeys, *, former: ApiKeys) -> None:
        self._store = store
        self._former = former

    async def add(self, key: ApiKey) -> None:
        await self._store.add(key)

    async def get(self, key_id: str) -> ApiKey | None:
        return await self._store.get(key_id)

    async def list(self) -> Sequence[ApiKey]:
        return await self._store.list()

    async def any(self) -> bool:
        return await self._store.any() or await self._former.any()

    async def revoke(self, key_id: str, *, at: datetime) -> bool:
        return await self._store.revoke(key_id, at=at)

    async def used(self, last_used: Mapping[str, datetime]) -> None:
        await self._store.used(last_used)
