"""What callers send. Strict: unknown fields are refused, and no value is bent into another type."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from jobqueue.access.key import LEAST_RATE, MOST_RATE
from jobqueue.access.scope import Kind, Scope
from jobqueue.clock import parse_duration

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:\-]{0,63}$"
UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

INSTANT = (
    r"^(19[7-9][0-9]|[2-8][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)

# Not longer, so that no sum of 32 characters is beyond what a duration can be.
DURATION = r"^([0-9]{1,8}(\.[0-9]{1,8})?(ms|s|m|h|d))+$"

Name = Annotated[str, StringConstraints(pattern=NAME)]
Pattern = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:\-]{0,63})?\*?$", min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


# Words of our own, without the value: what breaks a rule may be a secret in the wrong place.
def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text such as 500ms, 30s, 5m, 1h, 1h30m or 2d")
    if len(value) > 32 or not re.fullmatch(DURATION, value):
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h, 1h30m or 2d, of up to 8 digits each")
    return parse_duration(value)


def integer(value: object) -> object:
    """`2.0` is an integer in JSON Schema, whatever wrote it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _priority(value: object) -> object:
    value = integer(value)
    named = isinstance(value, str) and value in ("critical", "high", "medium", "low")
    if not named and not (type(value) is int and 0 <= value <= 9):
        raise ValueError("must be critical, high, medium, low, or 0 to 9")
    return value


def _instant(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(INSTANT, value):
        if isinstance(value, str) and re.fullmatch(INSTANT, value.replace(" ", "+")):
            raise ValueError("has a blank before its offset: in an address, + must be written %2B")
        raise ValueError("must be an instant such as 2026-12-25T09:00:00Z, from 1970 to 8999, with its offset")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("is no date that exists") from error


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION,
            "maxLength": 32,
            "examples": ["30s", "1h30m"],
        }
    ),
]
Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT, "examples": ["2026-12-25T09:00:00Z"]}),
]


Priority = Annotated[
    Literal["critical", "high", "medium", "low"] | Annotated[int, Field(ge=0, le=9)], BeforeValidator(_priority)
]


class Body(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class JobFields(Body):
    """What a job is, however it comes to be queued."""

    type: Name
    payload: dict[str, Any] = Field(default_factory=dict)
    queue: Name | None = None
    priority: Priority | None = None
    max_retries: Annotated[int, Field(ge=0, le=1000), BeforeValidator(integer)] | None = None
    timeout: Duration | None = None
    expires: Duration | None = None
    result_ttl: Duration | None = None


class NewJob(JobFields):
    """A job to be queued. The API need not know its type; where it does, the payload is checked."""

    id: Annotated[str, StringConstraints(pattern=UUID)] | None = None
    delay: Duration | None = None
    scheduled_at: Instant | None = None
    unique_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class NewJobs(Body):
    """Up to 500 jobs, queued together; one result each, in order."""

    jobs: Annotated[list[NewJob], Field(min_length=1, max_length=500)]


class LiveJobs(Body):
    """Which jobs that have not ended; what is left out means any."""

    state: Literal["scheduled", "retrying", "queued", "running"] | None = None
    type: Name | None = None
    queue: Name | None = None
    q: Text | None = None


class RetriableJobs(Body):
    """Which jobs that wait for their time, or are dead; what is left out means any."""

    state: Literal["scheduled", "retrying", "dead"]
    type: Name | None = None
    queue: Name | None = None
    q: Text | None = None


class CancelJobs(Body):
    """Which jobs are to be cancelled, up to *limit* a call.

    With *dry_run*, nothing is done and the answer tells how many there are.
    """

    filter: LiveJobs
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(integer)] = 200
    dry_run: bool = False


class RetryJobs(Body):
    """Which jobs are to be let run now, up to *limit* a call.

    With *dry_run*, nothing is done and the answer tells how many there are.
    """

    filter: RetriableJobs
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(integer)] = 200
    dry_run: bool = False


class LettersFilter(Body):
    """Which dead letters; what is left out means any."""

    queue: Name | None = None
    type: Name | None = None
    reason: Name | None = None
    error: Text | None = None
    before: Instant | None = None


class LettersAction(Body):
    """What is to be done with every dead letter of a filter, up to *limit* a call.

    Call again with the same filter until `remaining` is 0; set `before` to leave out who dies meanwhile.
    With *dry_run*, nothing is done and the answer tells how many there are.
    """

    filter: LettersFilter
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(integer)] = 200
    dry_run: bool = False


class Edit(Body):
    """How a dead letter is to be retried: with another payload, or with its own."""

    payload: dict[str, Any] | None = None


class Purge(Body):
    """*confirm* must be the queue's name."""

    confirm: str
    delayed: bool = True


class NewKey(Body):
    """A key to be made. Without *scopes* it has those of its kind."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    kind: Kind = Field(Kind.CLIENT, strict=False)
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1)] | None = None
    queues: Annotated[list[Pattern], Field(min_length=1, max_length=50)] = ["*"]
    expires: Duration | None = None
    rate: Annotated[float, Field(ge=LEAST_RATE, le=MOST_RATE)] | None = None


class Rotation(Body):
    """The old secret stays good for *overlap*."""

    overlap: Duration = timedelta(0)


class Login(Body):
    """A key, in exchange for a session cookie."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]
