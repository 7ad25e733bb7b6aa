"""What callers send behind the `?`. Text becomes numbers and instants here; unknown names are refused."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from jobqueue.api.request import UUID, Duration, Instant, Name, Text
from jobqueue.job import JobState

MOST_ITEMS = 200
CURSOR = r"^[A-Za-z0-9_-]{1,4000}$"
_WHOLE = re.compile(r"-?[0-9]{1,9}")


def whole(value: object) -> object:
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, str) else value


Limit = Annotated[int, Field(ge=1, le=MOST_ITEMS), BeforeValidator(whole)]
Cursor = Annotated[str, StringConstraints(pattern=CURSOR)]
Id = Annotated[str, StringConstraints(pattern=UUID)]


class Query(BaseModel):
    """Parameters of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Query):
    """Which page of a list: up to *limit* items, after the `next_cursor` of the page before."""

    limit: Limit = 50
    cursor: Cursor | None = None


class JobsQuery(Page):
    """Which jobs; what is left out means any. *q* is looked for in id, payload and error."""

    state: JobState | None = None
    type: Name | None = None
    queue: Name | None = None
    q: Text | None = None


class LettersWhere(Query):
    """Which dead letters; what is left out means any."""

    queue: Name | None = None
    type: Name | None = None
    reason: Name | None = None
    error: Text | None = None
    before: Instant | None = None


class LettersQuery(LettersWhere, Page):
    """A page of dead letters."""


class GroupsQuery(LettersWhere):
    """Which dead letters are to be grouped."""

    limit: Limit = 50


Outcome = Literal["completed", "retrying", "snoozed", "dead", "cancelled", "expired", "released"]


class ExecutionsQuery(Page):
    """Which executions; what is left out means any. *q* is looked for in payload and error."""

    queue: Name | None = None
    type: Name | None = None
    outcome: Outcome | None = None
    q: Text | None = None
    since: Instant | None = None
    until: Instant | None = None


class StatisticsQuery(Query):
    """Since when, and in spans of which length; by default the last hour, by the minute. At most 1 000 spans, of whole
    minutes when it is more than 20 minutes."""

    queue: Name | None = None
    since: Instant | None = None
    bucket: Duration = timedelta(minutes=1)


class ErrorsQuery(Query):
    """Since when; by default the last 24 hours."""

    queue: Name | None = None
    since: Instant | None = None
    limit: Limit = 50


class AuditQuery(Page):
    """Whose changes, of what."""

    actor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:@\-]{1,100}$")] | None = None
    action: Annotated[str, StringConstraints(pattern=r"^[a-z_.]{1,64}$")] | None = None
    target: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\-]{1,100}$")] | None = None


class EventsQuery(Query):
    """With *job*, changes of that job; else the overview."""

    job: Id | None = None


def parameters_of(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The JSON schema of each parameter, without the null that only Python needs."""
    schema = model.model_json_schema(mode="validation")
    defs = schema.get("$defs", {})
    return {name: _plain(each, defs) for name, each in schema.get("properties", {}).items()}


def _plain(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title") and value is not None}
    options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(options) == 1:
        rest = {**options[0], **rest}
    if "$ref" in rest:
        rest = {**defs[rest.pop("$ref").rpartition("/")[2]], **rest}
    rest.pop("title", None)
    return rest
