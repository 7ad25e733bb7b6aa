"""The definitions of all schedules as they are kept now, each given to the agenda of its queue."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from jobqueue.broker.timetable import Timetable
from jobqueue.clock import Clock
from jobqueue.errors import BrokerError, BrokerUnavailable, RepositoryError, RepositoryUnavailable
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import Definition, ScheduleState
from jobqueue.scheduler.agenda import Agenda

_log = structlog.get_logger("jobqueue.scheduler")

_FEW = 10
"""So many definitions are read one by one; of more, all are."""
_JUST_READ_S = 1.0
_REMEMBER = timedelta(days=1)
"""A schedule that was removed is remembered so long: nobody knows an older version of it by then."""
_AT_ONCE = 100


@dataclass(slots=True, eq=False)
class Cron:
    """Keeps the agendas of all queues true to the store. *care_for* is given each new agenda, to run its steps.

    While the store is away, what was read last counts.
    """

    store: ScheduleStore
    timetable: Timetable
    clock: Clock
    care_for: Callable[[Agenda], None]
    _definitions: dict[str, Definition] = field(default_factory=dict)
    _agendas: dict[str, Agenda] = field(default_factory=dict)
    _revision: int | None = None
    _read_at: float = float("-inf")
    _away: bool = False
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def refresh(self) -> None:
        """Read what has changed since the last look."""
        try:
            async with self._reading:
                revision = await self.store.revision()
                if revision != self._revision:
                    await self._read_all(revision)
        except (RepositoryUnavailable, BrokerUnavailable) as error:
            self._note_away(error)
        else:
            self._note_back()

    async def renew(self, names: Sequence[str]) -> None:
        """Read the definitions of *names* again; nothing is changed while the store is away."""
        try:
            async with self._reading:
                if len(names) <= _FEW:
                    await self._read(names)
                elif self.clock.monotonic() - self._read_at > _JUST_READ_S:
                    await self._read_all(await self.store.revision())
        except (RepositoryUnavailable, BrokerUnavailable) as error:
            self._note_away(error)

    async def _read_all(self, revision: int) -> None:
        """All definitions; *revision* was asked before, so that a change meanwhile is read once more."""
        definitions = {definition.name: definition for definition in await self.store.list()}
        self._forget(self._definitions.keys() - definitions.keys())
        for definition in definitions.values():
            self._place(definition)
        self._revision = revision
        self._read_at = self.clock.monotonic()
        for definition in _long_removed(definitions.values()):
            await self.store.forget(definition.name, version=definition.version)

    async def _read(self, names: Sequence[str]) -> None:
        for name in names:
            definition = await self._get(name)
            if definition is None:
                self._forget([name])
            else:
                self._place(definition)

    async def _get(self, name: str) -> Definition | None:
        """None, too, for one that a newer version of jobqueue has written: it is for schedulers of that version."""
        try:
            return await self.store.get(name)
        except (RepositoryUnavailable, BrokerUnavailable):
            raise
        except (RepositoryError, BrokerError) as error:
            _log.error("schedule.unreadable", name=name, error=str(error))
            return None

    def _place(self, definition: Definition) -> None:
        known = self._definitions.get(definition.name)
        if known == definition:
            return
        queue = definition.schedule.queue
        if known is not None and known.schedule.queue != queue:
            self._agendas[known.schedule.queue].forget(definition.name)
        self._definitions[definition.name] = definition
        self._agenda(queue).take(definition)

    def _forget(self, names: Iterable[str]) -> None:
        for name in list(names):
            known = self._definitions.pop(name, None)
            if known is not None:
                self._agendas[known.schedule.queue].forget(name)

    def _agenda(self, queue: str) -> Agenda:
        if queue not in self._agendas:
            self._agendas[queue] = Agenda(queue, self.timetable, self.clock, self.renew)
            self.care_for(self._agendas[queue])
        return self._agendas[queue]

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            _log.warning("schedules.store_away", schedules=len(self._definitions), error=str(error))
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            _log.info("schedules.store_back")
        self._away = False


def _long_removed(definitions: Collection[Definition]) -> list[Definition]:
    """Some of those that were removed long before the newest change: all were noted by the broker's clock."""
    removed = [definition for definition in definitions if definition.state is ScheduleState.REMOVED]
    newest = max(definition.changed_at for definition in definitions) if removed else None
    return [each for each in removed if newest is not None and newest - each.changed_at > _REMEMBER][:_AT_ONCE]
