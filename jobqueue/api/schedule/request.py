"""What callers send about schedules."""

import re
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from jobqueue.api.query import Page, Query, whole
from jobqueue.api.request import Body, Duration, Instant, JobFields, Name, integer
from jobqueue.cron import MAX_EXPRESSION_CHARS
from jobqueue.schedule import DEFAULT_CATCHUP, DEFAULT_GRACE, MAX_CATCHUP, Misfire, Overlap, ScheduleState
from jobqueue.tick import Decision

MOST_TICKS: Final = 1_000
MOST_PREVIEWED: Final = 100
MAX_ZONE_CHARS: Final = 64


def _in_a_line(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("must have no tabs, line breaks or other control characters; a blank parts fields")
    return value


# What expressions and zones are is said by `jobqueue.cron`, in words; here, how long they may be.
Expression = Annotated[
    str,
    StringConstraints(max_length=MAX_EXPRESSION_CHARS),
    AfterValidator(_in_a_line),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_EXPRESSION_CHARS,
            "pattern": r"^[ -~]+$",
            "examples": ["@daily", "0 9 * * mon-fri"],
        }
    ),
]
Timezone = Annotated[
    str,
    StringConstraints(max_length=MAX_ZONE_CHARS),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^[A-Za-z0-9_+/\-]{{1,{MAX_ZONE_CHARS}}}$",
            "examples": ["UTC", "Europe/Madrid"],
        }
    ),
]
Count = Annotated[int, Field(ge=1, le=MOST_PREVIEWED), BeforeValidator(whole)]


class ScheduleDefinition(JobFields):
    """When which job is made. Of the job's part, what is left out is as the task says, where the API knows it."""

    expression: Expression
    timezone: Timezone = "UTC"
    seconds: bool = False
    misfire: Annotated[Misfire, Field(strict=False)] = Misfire.ONCE
    max_catchup: Annotated[int, Field(ge=1, le=MAX_CATCHUP), BeforeValidator(integer)] = DEFAULT_CATCHUP
    grace: Duration = DEFAULT_GRACE
    overlap: Annotated[Overlap, Field(strict=False)] = Overlap.ALLOW
    jitter: Duration = timedelta(0)
    headers: dict[str, str] = Field(default_factory=dict)


class NewSchedule(ScheduleDefinition):
    """A schedule to be made."""

    name: Name


class NewBackfill(Body):
    """Whose jobs are to be made: ticks from *from* up to but without *to*, at most *limit* a call, oldest first.

    Call again from `next_from` until it is null. With *dry_run*, nothing is queued and the answer tells which there
    are.
    """

    since: Instant = Field(alias="from")
    until: Instant = Field(alias="to")
    limit: Annotated[int, Field(ge=1, le=MOST_TICKS), BeforeValidator(integer)] = 200
    dry_run: bool = False


class SchedulesQuery(Page):
    """Which schedules; what is left out means any. Removed ones are listed only with `state=removed`."""

    queue: Name | None = None
    state: ScheduleState | None = None


class TicksQuery(Page):
    """Which decisions; what is left out means any. *since* and *until* are about the tick."""

    decision: Decision | None = None
    since: Instant | None = None
    until: Instant | None = None


class NextQuery(Query):
    """How many of the coming ticks."""

    count: Count = 10


class CronQuery(Query):
    """An expression to be looked at. Its ticks are those after *after*; without it, after now."""

    expression: Expression
    timezone: Timezone = "UTC"
    seconds: Literal["true", "false"] = "false"
    count: Count = 5
    after: Instant | None = None
