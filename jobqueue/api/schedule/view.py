"""What callers get about schedules."""

from datetime import datetime
from typing import Any, Literal

from jobqueue.api.view import Priorities, View
from jobqueue.schedule import Misfire, Overlap, ScheduleState, Source
from jobqueue.tick import Decision, Reason

Can = Literal["pause", "resume", "run", "backfill", "change", "remove"]


class Definition(View):
    """When which job is made, as `PUT /schedules/{name}` takes it; durations are text such as `1m`."""

    expression: str
    timezone: str
    seconds: bool
    misfire: Misfire
    max_catchup: int
    grace: str
    overlap: Overlap
    jitter: str
    type: str
    payload: Any
    queue: str
    priority: Priorities
    max_retries: int | None
    timeout: str | None
    expires: str | None
    result_ttl: str | None
    headers: dict[str, str]
    """Short texts that travel along with each job."""


class Tick(View):
    """What was decided about a tick, and why. Of ticks that were skipped together there is one, for all of them."""

    name: str
    queue: str
    version: int
    """Of the schedule."""
    decision: Decision
    reason: Reason
    at: datetime
    """The tick; of several, the last. Of a job that was asked for, when that was."""
    first_at: datetime
    """The first of several."""
    count: int | None
    """How many ticks; null: more than 1 000."""
    job_id: str | None
    """The tick's job; where `reason` is `overlap`, the job that is in its way."""
    decided_at: datetime


class TickPage(View):
    """A page, newest decision first."""

    items: list[Tick]
    next_cursor: str | None


class Schedule(View):
    """A schedule, and where it stands."""

    name: str
    state: ScheduleState
    source: Source
    app: str | None
    """Who defined it, where `source` is `code`."""
    version: int
    description: str
    """Its expression in words."""
    definition: Definition
    next_at: datetime | None
    """Its next tick; null where there is none, or it is not active."""
    never: bool
    """It is active, and no tick comes within 50 years."""
    last: Tick | None
    """What was decided last."""
    busy_job_id: str | None
    """The job of a tick that has not ended yet; of several, the newest."""
    waiting: int
    """Ticks that wait for that job."""
    created_at: datetime
    changed_at: datetime


class ScheduleDetail(Schedule):
    """A schedule with what was decided about its newest ticks."""

    ticks: list[Tick]
    """Newest first, up to 20."""
    can: list[Can]
    """What may be done with it now, by this caller."""


class SchedulePage(View):
    """A page, by name."""

    items: list[Schedule]
    next_cursor: str | None


class ComingTick(View):
    """A tick, the same instant in the schedule's zone, and what is particular about it: that the clock is set."""

    at: datetime
    local: datetime
    note: str | None


class ComingTicks(View):
    """The coming ticks; none of a schedule that is not active."""

    items: list[ComingTick]
    never: bool
    """It is active, and no tick comes within 50 years."""


class CronPreview(View):
    """What an expression means."""

    expression: str
    timezone: str
    description: str
    ticks: list[ComingTick]
    never: bool
    """No tick comes within 50 years: what it names is always left out when the clock is set, or is in the past."""


class BackfillTick(View):
    """A past tick, its job, and whether that is new: queued by this call, or with a dry run, to be queued."""

    at: datetime
    job_id: str
    new: bool


class Backfill(View):
    """What came of a backfill."""

    ticks: list[BackfillTick]
    """Oldest first."""
    new: int
    """How many of them are."""
    next_from: datetime | None
    """Where the next call goes on; null: all were looked at."""
