"""Changing what is kept about a schedule: a new version, by compare-and-set, which then is let count."""

import difflib
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from jobqueue import crash
from jobqueue.broker.timetable import Look, Timetable
from jobqueue.clock import from_ms
from jobqueue.errors import ScheduleConflict, ScheduleNotFound
from jobqueue.planning.look import looks_at
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import Definition, Schedule, ScheduleState, Source
from jobqueue.scheduler.firing import adopt

_MOST_TRIES = 20


class Moment(msgspec.Struct, frozen=True):
    """The instant of a change, by the broker's clock."""

    now_ms: int

    @property
    def at(self) -> datetime:
        """As a datetime."""
        return from_ms(self.now_ms)


Change = Callable[[Definition | None, Moment], Definition | None]
"""From what is kept (None: nothing) to what shall be; None: leave it as it is. Called again when somebody else
was first. What cannot be done is a `ScheduleConflict`."""


class Editor:
    """Makes changes that hold from the next tick on."""

    def __init__(self, store: ScheduleStore, timetable: Timetable) -> None:
        self._store = store
        self._timetable = timetable

    async def edit(self, name: str, queue: str, change: Change) -> tuple[Definition | None, bool]:
        """Make *change*. Returns what is kept now, and whether that is new.

        When it returns, only this version fires, or a newer one.

        Args:
            queue: whose broker says what time it is, for a schedule that was not kept before.

        Raises:
            ScheduleConflict: *change* says so, or others change it again and again.
            BrokerUnavailable, RepositoryUnavailable: call again; nothing is done twice.
        """
        for _ in range(_MOST_TRIES):
            current = await self._store.get(name)
            expected = current.version if current is not None else 0
            if current is not None:
                # One `former` is enough: the present version stands before another is kept.
                await adopt(self._timetable, current)
                queue = current.schedule.queue
            look = await self._timetable.look(queue, [name])
            moment, stands = Moment(look.now_ms), _version(look, name)
            changed = change(current, moment)
            if changed is None and current is not None and stands > expected:
                changed = current.changed(since_ms=moment.now_ms, at=moment.at)
            if changed is None:
                return current, False
            if changed.schedule.queue != queue:
                # Another schedule of this name may have stood there, and be forgotten since.
                look = await self._timetable.look(changed.schedule.queue, [name])
                stands = max(stands, _version(look, name))
            if stands > expected:
                # The store was emptied, or set back by a backup or a failover: only a newer version than stands fires.
                changed = msgspec.structs.replace(changed, version=stands + 1)
            if await self._store.put(changed, expected=expected):
                crash.point("after_schedule_put")
                await adopt(self._timetable, changed)
                return changed, True
        raise ScheduleConflict(f"schedule {name!r} was changed by others {_MOST_TRIES} times meanwhile; try again")

    async def overtaken(self, definitions: Sequence[Definition]) -> set[str]:
        """The names of those of which a newer version stands than is kept."""
        looks = await looks_at(self._timetable, definitions)
        return {each.name for each in definitions if _version(looks[each.schedule.queue], each.name) > each.version}

    async def kept(self, name: str) -> Definition:
        """The schedule of this name.

        Raises:
            ScheduleNotFound: there is none, or it was removed.
        """
        definition = await self._store.get(name)
        if definition is None or definition.state is ScheduleState.REMOVED:
            raise await self.not_found(name)
        return definition

    async def not_found(self, name: str) -> ScheduleNotFound:
        """The error for a name that no schedule has; it tells the closest one."""
        names = [each.name for each in await self._store.list() if each.state is not ScheduleState.REMOVED]
        closest = difflib.get_close_matches(name, names, n=1)
        if closest:
            return ScheduleNotFound(f"no schedule named {name!r}; did you mean {closest[0]!r}?")
        known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        return ScheduleNotFound(f"no schedule named {name!r} (there are: {known or 'none'})")


def _version(look: Look, name: str) -> int:
    standing = look.standings.get(name)
    return 0 if standing is None else standing.version


def created(
    schedule: Schedule, moment: Moment, *, source: Source = Source.RUNTIME, app: str | None = None
) -> Definition:
    """The first version of a schedule."""
    return Definition(
        schedule=schedule,
        version=1,
        source=source,
        app=app,
        since_ms=moment.now_ms,
        changed_at=moment.at,
        created_at=moment.at,
    )


def created_anew(
    removed: Definition, schedule: Schedule, moment: Moment, *, source: Source = Source.RUNTIME, app: str | None = None
) -> Definition:
    """The next version of a name whose schedule was removed: a schedule of its own."""
    definition = removed.changed(
        since_ms=moment.now_ms,
        at=moment.at,
        schedule=schedule,
        state=ScheduleState.ACTIVE,
        source=source,
        app=app,
    )
    return msgspec.structs.replace(definition, created_at=moment.at)


def defined_in_code(definition: Definition, verb: str) -> ScheduleConflict:
    """The error for changing by hand what an app defines."""
    name, app = definition.name, definition.app
    if definition.state is ScheduleState.RETIRED:
        return ScheduleConflict(
            f"schedule {name!r} cannot be {verb}: it was defined in code, and {app} defines it no more (retired); "
            f"remove it first"
        )
    return ScheduleConflict(
        f"schedule {name!r} cannot be {verb}: it is defined in code; change it in the code of {app}"
    )


def taken_by_code(definition: Definition) -> ScheduleConflict:
    """The error for making one by hand whose name an app has in its code."""
    name, app = definition.name, definition.app
    if definition.state is ScheduleState.RETIRED:
        return ScheduleConflict(
            f"the name {name!r} is taken by a schedule that {app} defined in code and defines no more (retired); "
            f"remove that one first, or name this one otherwise"
        )
    return ScheduleConflict(
        f"the name {name!r} is taken by a schedule that {app} defines in code; name this one otherwise"
    )
