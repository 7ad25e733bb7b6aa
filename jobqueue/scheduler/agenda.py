"""The schedules of one queue, and when each is to be looked after next, by the clock of that queue's broker."""

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from jobqueue.broker.timetable import Look, Standing, Timetable
from jobqueue.clock import Clock
from jobqueue.errors import Backpressure, BrokerUnavailable, ScheduleConflict
from jobqueue.schedule import Definition, ScheduleState
from jobqueue.scheduler.broker_clock import BrokerClock
from jobqueue.scheduler.firing import ENDED, adopt, fire_due
from jobqueue.tick import next_tick_ms

_log = structlog.get_logger("jobqueue.scheduler")

_CHUNK = 100
"""So many schedules are looked after in one step."""
_FEW = 3
"""Fewer are fired without a look at who else has done it: a look costs as much as a fire that is refused."""
_AT_ONCE = 16
_LOOK_AFTER_WAITING_MS = 1_000
_LONGEST_PAUSE = timedelta(seconds=1)
_LEAD_MS = 1_500
"""The clock is asked so long before a tick, where nothing was heard for `_TRUSTED_S`."""
_TRUSTED_S = 10.0
_LONGEST_SILENCE_S = 60.0
_LONGEST_BACKOFF_MS = 10_000
_NONE = timedelta(0)


@dataclass(slots=True, eq=False)
class _Entry:
    definition: Definition
    standing: Standing | None = None
    """None: not known, or it stands nowhere."""
    stood: bool = False
    """It stood somewhere, when we looked last: where it does not any more, it was lost."""
    due_ms: int | None = 0
    failures: int = 0


@dataclass(slots=True, eq=False)
class Agenda:
    """Fires the schedules of *queue*: each step, those that are due.

    *renew* is asked for new definitions of schedules that stand elsewhere than was thought; it calls `take` and
    `forget` before it returns.
    """

    queue: str
    timetable: Timetable
    clock: Clock
    renew: Callable[[Sequence[str]], Awaitable[None]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _heap: list[tuple[int, float, str]] = field(default_factory=list)
    _time: BrokerClock = field(init=False)
    _away: bool = False

    def __post_init__(self) -> None:
        self._time = BrokerClock(self.clock)

    def take(self, definition: Definition) -> None:
        """Fire by this definition from now on."""
        self._plan(definition.name, _Entry(definition), 0)
        self.wake.set()

    def forget(self, name: str) -> None:
        """Fire it no more; it is another queue's, or nobody's."""
        self._entries.pop(name, None)

    async def step(self) -> timedelta:
        """Do what is due. Returns how long there is nothing to do; while the broker is away, when to try again."""
        try:
            await self._ask_the_time()
            names = self._due()
            if names:
                await self._attend(names)
        except BrokerUnavailable as error:
            if not self._away:
                _log.warning("schedules.broker_away", queue=self.queue, error=str(error))
            self._away = True
            return _LONGEST_PAUSE
        if self._away:
            _log.info("schedules.broker_back", queue=self.queue)
        self._away = False
        return self._pause()

    async def _ask_the_time(self) -> None:
        silence_s = self._time.silence_s()
        due_ms = self._next_ms()
        if due_ms is None or silence_s <= _TRUSTED_S:
            return
        if silence_s > _LONGEST_SILENCE_S or due_ms - self._time.now_ms() <= _LEAD_MS:
            look = await self.timetable.look(self.queue, [])
            self._time.heard(look.now_ms)

    def _due(self) -> list[str]:
        """Take up to `_CHUNK` that are due from the heap; schedulers take those of one instant in different orders."""
        names: list[str] = []
        now_ms = self._time.now_ms()
        while len(names) < _CHUNK:
            due_ms = self._next_ms()
            if due_ms is None or due_ms > now_ms:
                break
            names.append(heapq.heappop(self._heap)[2])
        return names

    def _next_ms(self) -> int | None:
        """When the next one is due; what was planned anew since is taken from the heap."""
        while self._heap:
            due_ms, _, name = self._heap[0]
            entry = self._entries.get(name)
            if entry is not None and entry.due_ms == due_ms:
                return due_ms
            heapq.heappop(self._heap)
        return None

    def _pause(self) -> timedelta:
        due_ms = self._next_ms()
        if due_ms is None:
            return _LONGEST_PAUSE
        return min(max(timedelta(milliseconds=due_ms - self._time.now_ms()), _NONE), _LONGEST_PAUSE)

    def _plan(self, name: str, entry: _Entry, due_ms: int | None) -> None:
        self._entries[name] = entry
        entry.due_ms = due_ms
        if due_ms is not None:
            heapq.heappush(self._heap, (due_ms, random.random(), name))

    async def _attend(self, names: list[str]) -> None:
        entries = {name: self._entries[name] for name in names}
        try:
            if len(names) > _FEW or any(map(_has_to_be_looked_at, entries.values())):
                await self._look(entries)
            await _at_once(self._look_after, entries.values())
            await self._renew(entries)
        finally:
            for name, entry in entries.items():
                if self._entries.get(name) is entry:
                    self._plan(name, entry, self._next_look_ms(entry))

    async def _look(self, entries: dict[str, _Entry]) -> None:
        look = await self.timetable.look(self.queue, list(entries))
        self._time.heard(look.now_ms)
        for name, entry in entries.items():
            entry.standing = look.standings.get(name)

    def _last_look(self, entry: _Entry) -> Look:
        standings = {} if entry.standing is None else {entry.definition.name: entry.standing}
        return Look(now_ms=self._time.now_ms(), standings=standings)

    async def _look_after(self, entry: _Entry) -> None:
        definition = entry.definition
        try:
            if _to_be_adopted(entry):
                entry.standing = await adopt(self.timetable, definition, self._last_look(entry))
            if definition.state is ScheduleState.ACTIVE and _stands(entry):
                await self._fire(entry)
            if not _is_outdated(entry):
                entry.failures = 0
        except BrokerUnavailable:
            raise
        except Exception as error:  # one schedule never holds up the others
            entry.failures += 1
            _complain(entry, error)
        entry.stood = entry.stood or entry.standing is not None

    async def _fire(self, entry: _Entry) -> None:
        before = entry.standing
        assert before is not None
        now_ms = self._time.now_ms()
        if before.waiting and before.busy and not _has_tick(entry.definition, before, now_ms):
            return
        passed = await fire_due(self.timetable, entry.definition.schedule, before, now_ms)
        entry.standing = passed.standing
        if passed.asked:
            self._time.heard(passed.now_ms)
        if passed.standing == before and _has_tick(entry.definition, before, passed.now_ms):
            raise RuntimeError(f"the broker neither fires nor says why: {before}, at {passed.now_ms}")

    async def _renew(self, entries: dict[str, _Entry]) -> None:
        """Read those again of which a newer version stands, or nothing where something stood."""
        outdated = [name for name, entry in entries.items() if _is_outdated(entry)]
        if not outdated:
            return
        await self.renew(outdated)
        for name in outdated:
            entry = entries[name]
            if self._entries.get(name) is not entry:
                continue
            if entry.standing is None:
                entry.stood = False  # it is still wanted: let it begin anew
            else:
                entry.failures += 1
                _complain(entry, _newer_stands(entry.standing))

    def _next_look_ms(self, entry: _Entry) -> int | None:
        """When to look after it again; None: not until its definition changes. One with more to catch up on stands
        behind those that are due already."""
        now_ms = self._time.now_ms()
        if not entry.failures:
            try:
                due_ms = _due_ms(entry, now_ms)
                return None if due_ms is None else max(due_ms, now_ms)
            except Exception as error:  # as in `_look_after`
                entry.failures += 1
                _complain(entry, error)
        return now_ms + min(500 << min(entry.failures, 10), _LONGEST_BACKOFF_MS)


def _due_ms(entry: _Entry, now_ms: int) -> int | None:
    standing, definition = entry.standing, entry.definition
    if definition.state is not ScheduleState.ACTIVE:
        return now_ms if _to_be_adopted(entry) else None
    if standing is None or standing.version != definition.version:
        return now_ms
    due_ms = next_tick_ms(definition.schedule, standing.last_ms)
    if not standing.waiting:
        return due_ms
    look_ms = now_ms + _LOOK_AFTER_WAITING_MS
    return look_ms if due_ms is None else min(due_ms, look_ms)


def _has_to_be_looked_at(entry: _Entry) -> bool:
    return entry.standing is None or bool(entry.standing.waiting)


def _stands(entry: _Entry) -> bool:
    return entry.standing is not None and entry.standing.version == entry.definition.version


def _to_be_adopted(entry: _Entry) -> bool:
    standing, definition = entry.standing, entry.definition
    if standing is None:
        return definition.state is ScheduleState.ACTIVE and not entry.stood
    if standing.version == definition.version:
        return definition.state in ENDED and bool(standing.waiting)
    return standing.version < definition.version


def _is_outdated(entry: _Entry) -> bool:
    standing, definition = entry.standing, entry.definition
    if standing is None:
        return definition.state is ScheduleState.ACTIVE and entry.stood
    return standing.version > definition.version


def _has_tick(definition: Definition, standing: Standing, now_ms: int) -> bool:
    due_ms = next_tick_ms(definition.schedule, standing.last_ms)
    return due_ms is not None and due_ms <= now_ms


def _newer_stands(standing: Standing) -> Exception:
    return ScheduleConflict(f"version {standing.version} of it stands at the broker, which is not kept; save it again")


def _complain(entry: _Entry, error: Exception) -> None:
    if entry.failures > 1:
        return  # it is tried again and again, and said once
    schedule = entry.definition.schedule
    facts = {"schedule": schedule.name, "queue": schedule.queue, "version": entry.definition.version}
    if isinstance(error, Backpressure):
        _log.warning("schedule.held_up", error=str(error), **facts)
    else:
        _log.error("schedule.refused", error=repr(error), **facts)


async def _at_once(do: Callable[[_Entry], Awaitable[None]], entries: Iterable[_Entry]) -> None:
    """For each of *entries*, a few at once; the first error is raised when all that began have ended."""
    every = list(entries)
    left = iter(every)

    async def work() -> None:
        for entry in left:
            await do(entry)

    results = await asyncio.gather(*(work() for _ in range(min(_AT_ONCE, len(every)))), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
