"""`queue.schedules`: the front door to schedules."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from jobqueue.bootstrap import Parts
from jobqueue.broker.base import Submission
from jobqueue.clock import from_ms
from jobqueue.errors import BrokerError, ConfigError, ScheduleConflict
from jobqueue.job import Job
from jobqueue.planning.backfill import backfill, by_hand
from jobqueue.planning.check import check_schedule, check_schedules, check_whole, checked_filter
from jobqueue.planning.declare import declare
from jobqueue.planning.edit import Change, Editor, Moment, created, created_anew, defined_in_code, taken_by_code
from jobqueue.planning.look import come_from_ms, statuses
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import (
    DEFAULT_CATCHUP,
    DEFAULT_GRACE,
    Definition,
    Misfire,
    Overlap,
    Schedule,
    ScheduleState,
    Source,
)
from jobqueue.status import Backfill, Declared, JobHandle, ScheduleStatus
from jobqueue.tick import Decision, TickRecord

if TYPE_CHECKING:
    from jobqueue.cron import TickPreview

_log = structlog.get_logger("jobqueue.planning")

_MOST_LISTED: Final = 1_000
_NOTHING = timedelta(0)


class Schedules:
    """The schedules of a namespace: kept in Postgres, or in Redis when there is none.

        await queue.schedules.upsert("digest", "0 9 * * mon-fri", send_digest.job(), timezone="Europe/Madrid")

    A change holds from the next tick after it: a tick fires by one version of its schedule, never by two. Schedules
    defined in code are shown here too; they can be paused, resumed and run, but not changed or removed.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._timetable = parts.broker.timetable
        self._editor = Editor(parts.schedules, parts.broker.timetable)

    async def upsert(
        self,
        name: str,
        expression: str,
        job: Job,
        *,
        timezone: str = "UTC",
        seconds: bool = False,
        misfire: Misfire | str = Misfire.ONCE,
        max_catchup: int = DEFAULT_CATCHUP,
        grace: timedelta = DEFAULT_GRACE,
        overlap: Overlap | str = Overlap.ALLOW,
        jitter: timedelta = _NOTHING,
    ) -> ScheduleStatus:
        """Make a schedule, or change the one of this name. At each tick a job like *job* is queued.

        A paused one stays paused; one that was removed begins anew. The same again changes nothing.

        Args:
            expression: five fields, or `@hourly` and the like; six with *seconds*, seconds first.
            timezone: a name of the IANA database; the expression is about the wall clock there.
            misfire: `skip`, `once` or `all`: what becomes of ticks that nobody decided within *grace* after their time.
            max_catchup: of more missed or waiting ticks than this, only so many are made up for.
            overlap: `allow`, `skip` or `queue`: what becomes of a tick while the job of the one before has not ended.
            jitter: each job is due up to so much after its tick, always the same for one tick.

        Raises:
            InvalidSchedule, InvalidJob: something was refused.
            ScheduleConflict: it is defined in code.
            BrokerUnavailable, RepositoryUnavailable: call again; it is not done twice.
        """
        schedule = Schedule.of(
            name,
            expression,
            job,
            timezone=timezone,
            seconds=seconds,
            misfire=misfire,
            max_catchup=max_catchup,
            grace=grace,
            overlap=overlap,
            jitter=jitter,
        )
        return await self.save(schedule)

    async def save(self, schedule: Schedule, *, create: bool = False) -> ScheduleStatus:
        """As `upsert`; with *create*, a `ScheduleConflict` where a schedule of this name is kept and not removed."""
        check_schedule(schedule)

        def change(current: Definition | None, moment: Moment) -> Definition | None:
            if current is None:
                return created(schedule, moment)
            if current.state is ScheduleState.REMOVED:
                return created_anew(current, schedule, moment)
            if current.source is Source.CODE:
                raise taken_by_code(current) if create else defined_in_code(current, "changed")
            if create:
                raise ScheduleConflict(
                    f"a schedule named {schedule.name!r} exists; change that one, or remove it first"
                )
            if current.schedule.same_as(schedule):
                return None
            return current.changed(since_ms=moment.now_ms, at=moment.at, schedule=schedule)

        return await self._edit(schedule.name, change, queue=schedule.queue)

    async def get(self, name: str) -> ScheduleStatus:
        """A schedule and where it stands.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
        """
        return await self._status(await self._editor.kept(name))

    async def list(self, *, queues: Sequence[str] | None = None, removed: bool = False) -> Sequence[ScheduleStatus]:
        """The schedules by name: of these queues, or all. Removed ones only with *removed*."""
        wanted = [
            definition
            for definition in await self._parts.schedules.list()
            if (queues is None or definition.schedule.queue in queues)
            and (removed or definition.state is not ScheduleState.REMOVED)
        ]
        return await statuses(self._timetable, self._parts.ticks, wanted)

    async def pause(self, name: str) -> ScheduleStatus:
        """Let it have no ticks until `resume`. Ticks that wait stay; jobs that were made go on.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
            ScheduleConflict: it is retired.
        """
        return await self._turn(name, ScheduleState.PAUSED, "paused")

    async def resume(self, name: str) -> ScheduleStatus:
        """Undo `pause`; the ticks of the time between are not made up for.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
            ScheduleConflict: it is retired.
        """
        return await self._turn(name, ScheduleState.ACTIVE, "resumed")

    async def _turn(self, name: str, state: ScheduleState, verb: str) -> ScheduleStatus:
        def change(current: Definition | None, moment: Moment) -> Definition | None:
            if current is None or current.state is ScheduleState.REMOVED:
                raise ScheduleConflict(f"schedule {name!r} was removed meanwhile")
            if current.state is ScheduleState.RETIRED:
                raise defined_in_code(current, verb)
            if current.state is state:
                return None
            return current.changed(since_ms=moment.now_ms, at=moment.at, state=state)

        await self._editor.kept(name)
        return await self._edit(name, change)

    async def remove(self, name: str) -> ScheduleStatus:
        """Let it have no more ticks. Jobs that were made go on; its record stays.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed before.
            ScheduleConflict: it is defined in code, and not retired.
        """

        def change(current: Definition | None, moment: Moment) -> Definition | None:
            if current is None or current.state is ScheduleState.REMOVED:
                return None
            if current.source is Source.CODE and current.state is not ScheduleState.RETIRED:
                raise defined_in_code(current, "removed")
            return current.changed(since_ms=moment.now_ms, at=moment.at, state=ScheduleState.REMOVED)

        await self._editor.kept(name)
        return await self._edit(name, change)

    async def run(self, name: str) -> JobHandle:
        """Queue a job of this schedule now, whatever its ticks, its state and its overlap rule.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
            As `JobQueue.enqueue`.
        """
        definition = await self._editor.kept(name)
        job = definition.schedule.job()
        look = await self._timetable.look(job.queue, [])
        (result,) = await self._parts.broker.enqueue(
            [Submission(job=job, durability=self._parts.settings.redis.durability)]
        )
        try:
            await self._timetable.note([by_hand(definition, Decision.RUN, look.now_ms, result.job_id)])
        except BrokerError as error:  # it is queued: who hears of an error would ask for another
            _log.warning("schedule.not_noted", schedule=name, job_id=result.job_id, error=str(error))
        return JobHandle(id=result.job_id, queue=job.queue)

    async def backfill(
        self, name: str, *, since: datetime, until: datetime, limit: int = 1_000, dry_run: bool = False
    ) -> Backfill:
        """Queue the jobs of past ticks from *since* up to but without *until*: of at most *limit*, oldest first.

        Each once: a tick whose job was made before, by firing or by a backfill, is left out; so is one that waits.
        What was fired is known as long as it is recorded, what was backfilled for 30 days at least. With *dry_run*,
        only says which they are. Where there are `more`, call again from behind the last one on.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
            InvalidSchedule: *until* is in the future, or not after *since*; *limit* is not 1 to 10 000.
        """
        definition = await self._editor.kept(name)
        return await backfill(self._parts, definition, since=since, until=until, limit=limit, dry_run=dry_run)

    async def ticks(
        self, where: TickFilter | None = None, *, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        """A page of what was decided about ticks, newest first, and the cursor of the next page.

        Raises:
            ConfigError: *limit* is not 1 to 1 000; there is no such cursor or decision.
            TypeError: *since* or *until* is not aware.
        """
        wanted = TickFilter() if where is None else checked_filter(where)
        check_whole("limit", limit)
        if not 1 <= limit <= _MOST_LISTED:
            raise ConfigError(f"limit must be 1 to {_MOST_LISTED}, got {limit}")
        return await self._parts.ticks.search(wanted, limit=limit, after=after)

    async def next(self, name: str, count: int = 10) -> "Sequence[TickPreview]":
        """The coming ticks, 1 to 1 000; none of a schedule that is not active.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
            ConfigError: *count* is not 1 to 1 000.
        """
        check_whole("count", count)
        if not 1 <= count <= _MOST_LISTED:
            raise ConfigError(f"count must be 1 to {_MOST_LISTED}, got {count}")
        definition = await self._editor.kept(name)
        if definition.state is not ScheduleState.ACTIVE:
            return []
        look = await self._timetable.look(definition.schedule.queue, [name])
        come_ms = come_from_ms(definition, look.standings.get(name), look.now_ms)
        # In a thread: rare ticks take some 100 ms to find.
        return await asyncio.to_thread(definition.schedule.cron.preview, from_ms(come_ms), count)

    async def declare(self, schedules: Sequence[Schedule], *, app: str) -> Sequence[Declared]:
        """Make the schedules that *app* defines in code be these. Those that it defined before and does no more are
        retired. Who declares last speaks for the app.

        One whose name is taken, by a schedule made at run time or by another app, is refused and the others go on.
        A paused one stays paused; a retired one is active again.
        """
        check_schedules(schedules)
        return await declare(self._editor, await self._parts.schedules.list(), schedules, app)

    async def _edit(self, name: str, change: Change, *, queue: str = "default") -> ScheduleStatus:
        definition, _ = await self._editor.edit(name, queue, change)
        if definition is None:
            raise await self._editor.not_found(name)
        return await self._status(definition)

    async def _status(self, definition: Definition) -> ScheduleStatus:
        (status,) = await statuses(self._timetable, self._parts.ticks, [definition])
        return status
