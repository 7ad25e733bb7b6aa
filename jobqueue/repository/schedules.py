"""The ports of what is kept about schedules: their definitions, and the record of their ticks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from jobqueue.schedule import Definition
from jobqueue.tick import Decision, TickRecord


class ScheduleStore(Protocol):
    """The definitions: in Postgres, or in Redis when there is no Postgres.

    Raises:
        RepositoryUnavailable, BrokerUnavailable: it cannot be asked.
    """

    async def get(self, name: str) -> Definition | None:
        """Also one that was removed: its name keeps its version."""
        ...

    async def list(self) -> Sequence[Definition]:
        """All of them by name, removed ones too."""
        ...

    async def revision(self) -> int:
        """Another number after every change of any definition; cheap to ask."""
        ...

    async def put(self, definition: Definition, *, expected: int) -> bool:
        """Keep this version in place of version *expected* (0: there was none). False: another one is kept now.

        Raises:
            ScheduleConflict: it would be a new name beyond `MAX_SCHEDULES`.
        """
        ...

    async def forget(self, name: str, *, version: int) -> bool:
        """Keep nothing under this name any more. False: another version is kept, or none.

        For one that was removed long ago: who still knows a version of it could fire by that.
        """
        ...


class TickFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which records; None means any. *since* and *until* are about the tick, up to but without *until*."""

    name: str | None = None
    queues: tuple[str, ...] | None = None
    decision: Decision | str | None = None
    since: datetime | None = None
    until: datetime | None = None


class TickRecords(Protocol):
    """What was decided about which tick, and why: in Postgres, or in Redis when there is no Postgres."""

    async def search(
        self, where: TickFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        """A page, newest decision first, and the cursor of the next page (None: this was the last).

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        ...

    async def newest(self, names: Sequence[str]) -> Mapping[str, TickRecord]:
        """The newest record of each schedule that has one."""
        ...

    async def fired(self, name: str, *, since: datetime, until: datetime) -> frozenset[int]:
        """The ticks, ms, of that time whose job was made: fired or backfilled."""
        ...

    async def asked_for(self, job_id: str, *, queue: str, since: datetime, until: datetime) -> str | None:
        """The schedule of which somebody asked for this job at that time, by the broker's clock; None: not known.

        Bounded work, also where there are very many records.
        """
        ...
