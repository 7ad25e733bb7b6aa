"""`queue.schedules`: the front door to schedules."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from jobqueue.bootstrap import Parts
from jobqueue.cron import TickPreview
from jobqueue.job import Job
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import DEFAULT_CATCHUP, DEFAULT_GRACE, Misfire, Overlap, Schedule
from jobqueue.status import Backfill, Declared, JobHandle, ScheduleStatus
from jobqueue.tick import TickRecord

_NOTHING = timedelta(0)


class Schedules:
    """The schedules of a namespace: kept in Postgres, or in Redis when there is none.

        await queue.schedules.upsert("digest", "0 9 * * mon-fri", send_digest.job(), timezone="Europe/Madrid")

    A change holds from the next tick after it: a tick fires by one version of its schedule, never by two. Schedules
    defined in code are shown here too; they can be paused, resumed and run, but not changed or removed.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

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
        raise NotImplementedError

    async def get(self, name: str) -> ScheduleStatus:
        """A schedule and where it stands.

        Raises:
            ScheduleNotFound: there is none of this name, or it was removed.
        """
        raise NotImplementedError

    async def list(self, *, queues: Sequence[str] | None = None, removed: bool = False) -> Sequence[ScheduleStatus]:
        """The schedules by name: of these queues, or all. Removed ones only with *removed*."""
        raise NotImplementedError

    async def pause(self, name: str) -> ScheduleStatus:
        """Let it have no ticks until `resume`. Ticks that wait stay; jobs that were made go on."""
        raise NotImplementedError

    async def resume(self, name: str) -> ScheduleStatus:
        """Undo `pause`; the ticks of the time between are not made up for."""
        raise NotImplementedError

    async def remove(self, name: str) -> ScheduleStatus:
        """Let it have no more ticks. Jobs that were made go on; its record stays.

        Raises:
            ScheduleConflict: it is defined in code, and not retired.
        """
        raise NotImplementedError

    async def run(self, name: str) -> JobHandle:
        """Queue a job of this schedule now, whatever its ticks, its state and its overlap rule."""
        raise NotImplementedError

    async def backfill(
        self, name: str, *, since: datetime, until: datetime, limit: int = 1_000, dry_run: bool = False
    ) -> Backfill:
        """Queue the jobs of past ticks from *since* up to but without *until*: at most *limit*, oldest first.

        Each once: a tick whose job was made before, by firing or by a backfill, is left out. With *dry_run*, only
        says which they are.

        Raises:
            InvalidSchedule: *until* is in the future, or not after *since*.
        """
        raise NotImplementedError

    async def ticks(
        self, where: TickFilter | None = None, *, limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[TickRecord], str | None]:
        """A page of what was decided about ticks, newest first, and the cursor of the next page."""
        raise NotImplementedError

    async def next(self, name: str, count: int = 10) -> Sequence[TickPreview]:
        """The coming ticks, 1 to 1 000; none of a schedule that is not active."""
        raise NotImplementedError

    async def declare(self, schedules: Sequence[Schedule], *, app: str) -> Sequence[Declared]:
        """Make the schedules that *app* defines in code be these. Those that it defined before and does no more are
        retired. Who declares last speaks for the app.

        One whose name is taken, by a schedule made at run time or by another app, is refused and the others go on.
        """
        raise NotImplementedError
