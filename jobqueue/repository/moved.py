"""Schedules whose store was changed."""

from collections.abc import Sequence
from typing import Protocol

from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import Definition


class _Home(ScheduleStore, Protocol):
    async def add_missing(self, definitions: Sequence[Definition]) -> None:
        """Keep those of them whose names are not known; the others stay as they are."""
        ...


class MovedSchedules:
    """The schedules of *store*, where *former* kept them before Postgres was configured.

    They are copied with their versions as soon as anybody looks; of a name that *store* knows, its own counts.
    What is written to *former* afterwards, by a process that was not told of Postgres, comes along only under new
    names.
    """

    def __init__(self, store: _Home, *, former: ScheduleStore) -> None:
        self._store = store
        self._former = former
        self._copied = 0
        """The revision of *former* that is in *store*; 0: that of one in which nothing was ever kept."""

    async def get(self, name: str) -> Definition | None:
        await self._copy()
        return await self._store.get(name)

    async def list(self) -> Sequence[Definition]:
        await self._copy()
        return await self._store.list()

    async def revision(self) -> int:
        """Another number also after a change in *former*, which is to be copied then."""
        return await self._store.revision() + await self._former.revision()

    async def put(self, definition: Definition, *, expected: int) -> bool:
        await self._copy()
        return await self._store.put(definition, expected=expected)

    async def forget(self, name: str, *, version: int) -> bool:
        await self._copy()
        kept = await self._former.get(name)
        if kept is not None:
            await self._former.forget(name, version=kept.version)  # first: else it would be copied again
        return await self._store.forget(name, version=version)

    async def _copy(self) -> None:
        revision = await self._former.revision()
        if revision != self._copied:
            await self._store.add_missing(await self._former.list())
            self._copied = revision
