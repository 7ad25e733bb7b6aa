"""The scheduler's loops: fire schedules, promote, reap, ship, retire; each supervised, for every queue there is."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from jobqueue.broker.base import Broker
from jobqueue.clock import Clock
from jobqueue.loop import Heartbeat, run_every
from jobqueue.repository.base import Archive, StoredDeadLetters
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.scheduler.agenda import Agenda
from jobqueue.scheduler.cron import Cron
from jobqueue.scheduler.promote import LONGEST_PAUSE, promote_due
from jobqueue.scheduler.ship import ship_queue

_log = structlog.get_logger("jobqueue.scheduler")

_LOOK_FOR_QUEUES = timedelta(seconds=2)
_LISTEN = timedelta(seconds=20)
_SHIP = timedelta(seconds=1)
_SHIP_SOON = timedelta(milliseconds=100)
_MANY_SHIPPED = 1_000  # a look costs as much as shipping some 500 executions
_RETIRE = timedelta(hours=1)
_LOOK_FOR_SCHEDULES = timedelta(seconds=2)
_FIRE = timedelta(seconds=5)
"""The agenda says when it is to be asked next, within a second; this is for its heartbeat."""
_REAP_JITTER = 0.2
# With its jitter a look may be 1.4 intervals after the one before: less than half a lease, which looks like an outage.
_FRESH = 0.2
_LONGEST_BACKOFF = timedelta(seconds=30)
_NONE = timedelta(0)
"""After an outage, recovery must not wait for more than its period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    """Where history goes, and how long it is kept."""

    archive: Archive
    dead_letters: StoredDeadLetters
    keep_successes: timedelta
    keep_failures: timedelta


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """Promotes due jobs and reaps dead workers; with *shipping*, moves history to Postgres; with *schedules*, and when
    it cares for all queues, fires those that are due.

    *queues* names the queues to care for; None: all that there are, also those made later. Any number
    of schedulers may run: every step is atomic or idempotent.
    """

    broker: Broker
    clock: Clock
    reap_interval: timedelta
    queues: Sequence[str] | None = None
    shipping: Shipping | None = None
    schedules: ScheduleStore | None = None
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    _due_soon: dict[str, asyncio.Event] = field(default_factory=dict)

    def promote_soon(self, queue: str) -> None:
        """Look at *queue*'s delayed jobs now: one has been added that is due before the next look."""
        if queue in self._due_soon:
            self._due_soon[queue].set()

    async def run(self) -> None:
        """Care until cancelled."""
        self._due_soon.clear()
        async with asyncio.TaskGroup() as loops:
            if self.shipping is not None:
                loops.create_task(self._loop("retire", self._retire, _RETIRE))
                loops.create_task(self._loop("finish_requeues", self._finish_requeues, timedelta(seconds=10)))
            if self.queues is not None:
                for queue in self.queues:
                    self._care_for(queue, loops)
                return
            if self.schedules is not None:
                self._fire_schedules(self.schedules, loops)

            async def look_for_queues() -> None:
                for queue in await self.broker.queues():
                    if queue not in self._due_soon:
                        self._care_for(queue, loops)

            await self._loop("queues", look_for_queues, _LOOK_FOR_QUEUES)

    def _fire_schedules(self, store: ScheduleStore, loops: asyncio.TaskGroup) -> None:
        def care_for(agenda: Agenda) -> None:
            loops.create_task(
                self._loop(f"cron:{agenda.queue}", agenda.step, _FIRE, wake=agenda.wake, longest_backoff=_NONE)
            )

        cron = Cron(store, self.broker.timetable, self.clock, care_for)
        loops.create_task(self._loop("schedules", cron.refresh, _LOOK_FOR_SCHEDULES, longest_backoff=_NONE))

    def _care_for(self, queue: str, loops: asyncio.TaskGroup) -> None:
        async def promote() -> timedelta:
            return await promote_due(self.broker, queue)

        async def reap() -> None:
            await self.broker.reap(queue, unless_within=self.reap_interval * _FRESH)

        async def ship() -> timedelta:
            assert self.shipping is not None
            shipped = await ship_queue(self.broker.journal, self.shipping.archive, queue)
            return _SHIP_SOON if shipped >= _MANY_SHIPPED else _SHIP

        if not self._due_soon:
            loops.create_task(self._loop("listen", self._listen, _LISTEN / 2, longest_backoff=_NONE))
        wake = self._due_soon[queue] = asyncio.Event()
        loops.create_task(self._loop(f"promote:{queue}", promote, LONGEST_PAUSE, wake=wake, longest_backoff=_NONE))
        loops.create_task(
            self._loop(f"reap:{queue}", reap, self.reap_interval, jitter=_REAP_JITTER, longest_backoff=_NONE)
        )
        if self.shipping is not None:
            loops.create_task(self._loop(f"ship:{queue}", ship, _SHIP))
        _log.debug("queue.cared_for", queue=queue)

    def _loop(
        self,
        name: str,
        step: Callable[[], Coroutine[Any, Any, timedelta | None]],
        period: timedelta,
        *,
        jitter: float = 0.0,
        wake: asyncio.Event | None = None,
        longest_backoff: timedelta = _LONGEST_BACKOFF,
    ) -> Coroutine[Any, Any, None]:
        heartbeat = Heartbeat(name=name, period=period, last_tick=self.clock.monotonic())
        self.heartbeats[name] = heartbeat
        return run_every(
            heartbeat,
            step,
            clock=self.clock,
            jitter=jitter,
            wake=wake,
            longest_backoff_s=longest_backoff.total_seconds(),
        )

    async def _listen(self) -> timedelta:
        await self.broker.listen(list(self._due_soon), self.promote_soon, wait=_LISTEN)
        return _NONE

    async def _retire(self) -> None:
        assert self.shipping is not None
        dropped = await self.shipping.archive.retire(
            keep_successes=self.shipping.keep_successes, keep_failures=self.shipping.keep_failures
        )
        if dropped:
            _log.info("history.retired", partitions=dropped)

    async def _finish_requeues(self) -> None:
        assert self.shipping is not None
        await self.shipping.dead_letters.finish_requeues()
