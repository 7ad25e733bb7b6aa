"""Schedules: what they say, the job of each of their ticks, and their versions. Pure.

A tick is one due instant of a schedule; see `jobqueue.tick` for what is decided about it.
"""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from jobqueue.clock import format_duration, from_ms, to_ms
from jobqueue.errors import InvalidSchedule
from jobqueue.job import SCHEDULE_HEADER as SCHEDULE_HEADER
from jobqueue.job import TICK_HEADER as TICK_HEADER
from jobqueue.job import Job, Priority, check_name

if TYPE_CHECKING:
    from jobqueue.cron import CronSchedule

MAX_SCHEDULES: Final = 10_000
REMOVED_COUNT: Final = "removed ones count until they are forgotten, a day later; change one of those"
"""The way out, where there are too many."""
MAX_CATCHUP: Final = 1_000
MAX_GRACE: Final = timedelta(days=1)
MAX_JITTER: Final = timedelta(days=1)
DEFAULT_GRACE: Final = timedelta(minutes=1)
DEFAULT_CATCHUP: Final = 100

_NOTHING: Final = timedelta(0)


class Misfire(StrEnum):
    """What becomes of missed ticks: those that nobody decided within the grace after their time."""

    SKIP = "skip"
    """They are skipped."""
    ONCE = "once"
    """The newest of them fires for all."""
    ALL = "all"
    """Each fires, but of more than `max_catchup` only the newest ones."""


class Overlap(StrEnum):
    """What becomes of a tick whose schedule has a job yet that has not ended: waiting, running or to be retried."""

    ALLOW = "allow"
    """It fires all the same."""
    SKIP = "skip"
    """It is skipped."""
    QUEUE = "queue"
    """It waits for that job to end; at most `max_catchup` wait."""


class ScheduleState(StrEnum):
    """Whether a schedule has ticks: only an active one has."""

    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"
    """The app that defined it in code defines it no more."""
    REMOVED = "removed"


class Source(StrEnum):
    """Where a schedule was defined."""

    CODE = "code"
    RUNTIME = "runtime"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When which job is made. Built and checked by `Schedule.of`."""

    name: str
    expression: str
    timezone: str = "UTC"
    seconds: bool = False
    """The expression has six fields, seconds first."""
    misfire: Misfire = Misfire.ONCE
    max_catchup: int = DEFAULT_CATCHUP
    grace: timedelta = DEFAULT_GRACE
    overlap: Overlap = Overlap.ALLOW
    jitter: timedelta = _NOTHING
    """The job of a tick is due up to so much later; always the same for one tick."""
    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    queue: str = "default"
    priority: Priority = Priority.MEDIUM
    max_retries: int | None = None
    timeout: timedelta | None = None
    expires: timedelta | None = None
    result_ttl: timedelta | None = None
    headers: Mapping[str, str] = {}

    @classmethod
    def of(
        cls,
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
    ) -> Self:
        """The schedule that makes a job like *job* at each tick of *expression*.

        Raises:
            InvalidSchedule: something was refused; the message says what, and what is allowed.
            InvalidJob: the name was refused.
        """
        if not isinstance(job, Job):
            raise TypeError(f"a schedule takes a Job, such as task.job(...) makes, got {job!r}")
        cron = _parse(expression, timezone, seconds)
        if job.unique_key is not None:
            raise InvalidSchedule(f"schedule {name!r}: its job has a unique_key; say overlap='skip' instead")
        jitter = _check_span("jitter", jitter, _NOTHING, MAX_JITTER)
        if job.expires is not None and job.expires <= jitter:
            raise InvalidSchedule(
                f"schedule {name!r}: its job expires {format_duration(job.expires)} after the tick, and may be due as "
                f"late as {format_duration(jitter)} after it; let expires be longer than jitter"
            )
        schedule = cls(
            name=check_name("schedule", name),
            expression=cron.expression,
            timezone=cron.timezone,
            seconds=seconds,
            misfire=_one_of(Misfire, "misfire", misfire),
            max_catchup=_check_catchup(max_catchup),
            grace=_check_span("grace", grace, timedelta(seconds=1), MAX_GRACE),
            overlap=_one_of(Overlap, "overlap", overlap),
            jitter=jitter,
            type=job.type,
            payload=msgspec.Raw(job.payload_json),
            queue=job.queue,
            priority=job.priority,
            max_retries=job.max_retries,
            timeout=job.timeout,
            expires=job.expires,
            result_ttl=job.result_ttl,
            headers=dict(job.headers),
        )
        schedule.tick_job(0)  # with two headers more, it must still be a job
        return schedule

    @property
    def cron(self) -> "CronSchedule":
        """The expression, parsed."""
        return _parsed(self.expression, self.timezone, self.seconds)

    def job(self, job_id: str | None = None, *, tick_ms: int | None = None) -> Job:
        """The job that this schedule makes, for a tick or, without one, for now."""
        headers = {**self.headers, SCHEDULE_HEADER: self.name}
        if tick_ms is not None:
            headers[TICK_HEADER] = from_ms(tick_ms).isoformat().replace("+00:00", "Z")
        job = Job(
            self.type,
            id=job_id,
            queue=self.queue,
            priority=self.priority,
            max_retries=self.max_retries,
            timeout=self.timeout,
            expires=self.expires,
            result_ttl=self.result_ttl,
            headers=headers,
        )
        return job.with_payload(bytes(self.payload))

    def tick_job(self, tick_ms: int) -> Job:
        """The one job of this tick, with the id that only it has."""
        return self.job(tick_id(self.name, tick_ms), tick_ms=tick_ms)

    def same_as(self, other: "Schedule") -> bool:
        """Whether they say the same, however their payloads are written."""
        if self == other:
            return True
        mine, theirs = (msgspec.json.decode(each.payload) for each in (self, other))
        return bool(mine == theirs) and self == msgspec.structs.replace(other, payload=self.payload)

    def due_ms(self, tick_ms: int) -> int:
        """When the job of this tick is due: at the tick, or with `jitter` somewhat later."""
        jitter_ms = to_ms(self.jitter)
        return tick_ms + (_digest(self.name, tick_ms, "jitter") % (jitter_ms + 1) if jitter_ms else 0)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is kept, one version of it.

    The ticks of a version are those after *since_ms*. Up to then the *former* one counts: what it had not decided is
    decided by its rules before this version begins.
    """

    schedule: Schedule
    version: int
    """1 for the first; grows by one with each change, of whatever kind."""
    state: ScheduleState = ScheduleState.ACTIVE
    source: Source = Source.RUNTIME
    app: str | None = None
    """Who declared it, where its source is code."""
    since_ms: int
    """By the broker's clock."""
    former: Schedule | None = None
    former_active: bool = False
    changed_at: datetime
    created_at: datetime

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self.schedule.name

    def changed(
        self,
        *,
        since_ms: int,
        at: datetime,
        schedule: Schedule | None = None,
        state: ScheduleState | None = None,
        source: Source | None = None,
        app: str | None = None,
    ) -> "Definition":
        """The next version."""
        return Definition(
            schedule=schedule or self.schedule,
            version=self.version + 1,
            state=state or self.state,
            source=source or self.source,
            app=app if source is not None else self.app,
            since_ms=since_ms,
            former=self.schedule,
            former_active=self.state is ScheduleState.ACTIVE,
            changed_at=at,
            created_at=self.created_at,
        )


def tick_id(name: str, tick_ms: int) -> str:
    """The id of the job of a tick: a UUIDv7 of the tick's time, whose other bits come from name and tick."""
    bits = _digest(name, tick_ms, "id")
    value = (tick_ms & (2**48 - 1)) << 80 | 0x7 << 76 | (bits >> 64 & 0xFFF) << 64 | 0b10 << 62 | bits & (2**62 - 1)
    return str(uuid.UUID(int=value))


@lru_cache(maxsize=MAX_SCHEDULES)
def _parsed(expression: str, timezone: str, seconds: bool) -> "CronSchedule":
    return _parse(expression, timezone, seconds)


def _parse(expression: str, timezone: str, seconds: bool) -> "CronSchedule":
    # With croniter and the time zones 5 MB and 40 ms: a worker without schedules never loads it.
    from jobqueue.cron import CronSchedule  # noqa: PLC0415

    return CronSchedule.parse(expression, timezone=timezone, seconds=seconds)


def _digest(name: str, tick_ms: int, use: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{use}\n{name}\n{tick_ms}".encode()).digest()[:16])


def _one_of(kind: Any, option: str, value: object) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        *others, last = kind
        raise InvalidSchedule(f"{option} must be {', '.join(others)} or {last}, got {value!r}") from error


def _check_catchup(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"max_catchup must be a whole number, got {value!r}")
    if not 1 <= value <= MAX_CATCHUP:
        raise InvalidSchedule(f"max_catchup must be from 1 to {MAX_CATCHUP}, got {value}")
    return value


def _check_span(option: str, value: object, least: timedelta, most: timedelta) -> timedelta:
    if not isinstance(value, timedelta):
        raise TypeError(f"{option} must be a timedelta such as timedelta(seconds=30), got {value!r}")
    if not least <= value <= most:
        span = f"{format_duration(least)} to {format_duration(most)}"
        raise InvalidSchedule(f"{option} must be from {span}, got {format_duration(value)}")
    return value
