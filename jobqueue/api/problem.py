"""What can go wrong, as RFC 9457 problems: one table of kinds, and which of our errors is which."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from jobqueue.errors import (
    Backpressure,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    DeadLetterNotFound,
    EnqueueUncertain,
    IdempotencyConflict,
    InvalidJob,
    InvalidSchedule,
    JobQueueError,
    RepositoryError,
    RepositoryUnavailable,
    ScheduleConflict,
    ScheduleNotFound,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the end of its `type`, its status, and the text of its page."""

    slug: str
    status: int
    title: str
    meaning: str
    way_out: str


KINDS: Final[Mapping[str, Kind]] = {
    kind.slug: kind
    for kind in (
        Kind(
            "invalid-request",
            422,
            "The request is not valid",
            "The path, the query or the body breaks a rule. `errors` names each place (`loc`) and the rule (`msg`).",
            "Mend the places that `errors` names. `/openapi.json` has the rules.",
        ),
        Kind(
            "invalid-job",
            422,
            "The job was refused",
            "A payload, a name, a size or an option of the job is not allowed. Nothing was queued.",
            "Mend what `detail` names and send it again.",
        ),
        Kind(
            "invalid-schedule",
            422,
            "The schedule was refused",
            "The cron expression, the time zone or an option of the schedule is not allowed, or a backfill's span of "
            "time is none. Nothing was changed.",
            "Mend what `detail` names and send it again. `GET /cron` tells what an expression means.",
        ),
        Kind(
            "unauthenticated",
            401,
            "A valid key is needed",
            "The request has no API key, or one that is unknown, expired or revoked. It is not said which.",
            "Send `Authorization: Bearer jq_...` or `X-API-Key: jq_...`. `jobqueue keys create` makes a key.",
        ),
        Kind(
            "forbidden",
            403,
            "This key may not do that",
            "The key is valid and lacks the scope, or the queue; or the request came from another site's page.",
            "Use a key that has the scope which `detail` names.",
        ),
        Kind(
            "not-found",
            404,
            "There is no such thing",
            "Nothing is known under this address; or it belongs to a queue that the key does not cover.",
            "Check the id. A job that has ended is known only where Postgres keeps the history.",
        ),
        Kind(
            "method-not-allowed",
            405,
            "This address does not take that method",
            "The address exists, and is asked for with another method: the header `Allow` lists them.",
            "Use one of the methods in `Allow`.",
        ),
        Kind(
            "conflict",
            409,
            "It cannot be done in this state",
            "The thing exists, and its state or a confirmation that does not match stands in the way.",
            "`detail` says what is in the way. Look at it again and decide anew.",
        ),
        Kind(
            "schedule-conflict",
            409,
            "The schedule cannot be changed like this",
            "Its name is taken, or it is defined in code, where alone it can be changed or removed; or there are as "
            "many schedules as there may be. Nothing was changed.",
            "Use another name; change it in the code and deploy; or pause it, which is always allowed.",
        ),
        Kind(
            "idempotency-conflict",
            422,
            "The idempotency key stands for another request",
            "The `Idempotency-Key` was used before, by this caller, with another body. Nothing was done.",
            "Use a new key for a new request, or send the first body again to get the first answer.",
        ),
        Kind(
            "idempotency-busy",
            409,
            "The first request with this idempotency key is being answered",
            "A request with the same `Idempotency-Key` came before and has no answer yet.",
            "Send the request again after `Retry-After`: it gets the first answer.",
        ),
        Kind(
            "body-too-large",
            413,
            "The body is too large",
            "The body is larger than `API_MAX_BODY`. Reading stopped there; nothing was done.",
            "Send less at once, or raise `API_MAX_BODY`. Large data belongs elsewhere, its address into the payload.",
        ),
        Kind(
            "unsupported-media-type",
            415,
            "Only JSON is taken",
            "The body is not `application/json`, or is compressed.",
            "Send JSON in UTF-8, uncompressed, with `Content-Type: application/json`.",
        ),
        Kind(
            "too-many-requests",
            429,
            "Too many requests",
            "The key's rate is used up, or too many wrong keys came from this address or for this key.",
            "Wait for as many seconds as `Retry-After` says.",
        ),
        Kind(
            "wrong-host",
            421,
            "This server does not go by that name",
            "The header `Host` is none of the names that this server answers to. This stops pages of other "
            "sites that point a name of theirs at this machine.",
            "Ask for it by a loopback name, or add the name to `API_ALLOWED_HOSTS`.",
        ),
        Kind(
            "timeout",
            504,
            "It took too long",
            "The request was not answered within `API_TIMEOUT`. What it was to change may have changed.",
            "Look before repeating; repeat an enqueue with its `Idempotency-Key`.",
        ),
        Kind(
            "backpressure",
            503,
            "The broker is full",
            "Redis has no memory left for new jobs. Nothing was queued; running and draining go on.",
            "Try again after `Retry-After`. Drain the queues, or give Redis more memory.",
        ),
        Kind(
            "broker-unavailable",
            503,
            "Redis cannot be reached",
            "Redis did not answer. Nothing is known to have changed.",
            "Try again after `Retry-After`; `/ready` tells when it is back.",
        ),
        Kind(
            "repository-unavailable",
            503,
            "Postgres cannot be reached",
            "The history and the dead letters are in Postgres, which did not answer. Queues work without it.",
            "Try again after `Retry-After`; `/ready` tells when it is back.",
        ),
        Kind(
            "uncertain",
            504,
            "The job may or may not be queued",
            "Redis did not answer in time, or did not confirm that the job is as durable as was asked.",
            "Send the same request with the same `Idempotency-Key` again, or look the job up by `job_id`.",
        ),
        Kind(
            "not-configured",
            404,
            "This server has no such part",
            "The request needs the history, which needs Postgres; or API keys, which need Redis.",
            "Set `DATABASE_URL` where the API is started.",
        ),
        Kind(
            "internal",
            500,
            "Something went wrong here",
            "An error that this server did not expect. It is in its log, under `request_id`.",
            "Report it to who runs the server, with the `request_id`.",
        ),
    )
}

RETRY_AFTER: Final = timedelta(seconds=1)


class Refusal(Exception):
    """A request that gets a problem for an answer. *detail* is read by people: it must not tell secrets."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] | None = None,
        job_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(f"{slug}: {detail}")
        self.kind = KINDS[slug]
        self.detail = detail
        self.errors = errors
        self.job_id = job_id
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after.total_seconds())))


@dataclass(frozen=True, slots=True)
class _Translation:
    """How errors of one class are told; without *detail*, in the error's own words."""

    error: type[JobQueueError]
    slug: str
    detail: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_AGAIN: Final = {"retry_after": RETRY_AFTER}
# The first that fits. Words of an adapter's errors may hold addresses, and stay inside.
_TRANSLATIONS: Final = (
    _Translation(InvalidJob, "invalid-job"),
    _Translation(InvalidSchedule, "invalid-schedule"),
    _Translation(ScheduleConflict, "schedule-conflict"),
    _Translation(ScheduleNotFound, "not-found", "there is no such schedule"),
    _Translation(ConfigError, "invalid-request"),
    _Translation(IdempotencyConflict, "idempotency-conflict"),
    _Translation(EnqueueUncertain, "uncertain"),
    _Translation(DeadLetterNotFound, "not-found", "there is no such dead letter"),
    _Translation(Backpressure, "backpressure", "Redis is full and takes no new jobs", _AGAIN),
    _Translation(BrokerUnavailable, "broker-unavailable", "Redis cannot be reached", _AGAIN),
    _Translation(BrokerError, "broker-unavailable", "Redis refused the request", _AGAIN),
    _Translation(RepositoryUnavailable, "repository-unavailable", "Postgres cannot be reached", _AGAIN),
    _Translation(RepositoryError, "repository-unavailable", "Postgres refused the request", _AGAIN),
)


def refusal_of(error: Exception) -> Refusal:
    """What a caller is told of *error*; of one that nobody expected, nothing."""
    if isinstance(error, Refusal):
        return error
    for each in _TRANSLATIONS:
        if isinstance(error, each.error):
            job_id: str | None = getattr(error, "job_id", None)
            return Refusal(each.slug, each.detail or str(error), job_id=job_id, **each.options)
    if isinstance(error, TimeoutError):
        return Refusal("timeout", "the request was not answered in time")
    return Refusal("internal", "an unexpected error; it is in the server's log under this request_id")


def page_of_kinds() -> str:
    """`docs/reference/problems.md`."""
    lines = [
        "# Problems",
        "",
        "Errors of the HTTP API are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problems: "
        "`application/problem+json` with `type`, `title`, `status`, `detail`, `instance` and `request_id`. "
        "`type` is the address of a page about the kind, `<where the API is>/problems/<kind>`; programs tell kinds "
        "apart by its end. `request_id` finds the request in the server's log.",
        "",
        "| kind | status | what it means | what to do |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{kind.slug}` | {kind.status} | {kind.meaning} | {kind.way_out} |" for kind in KINDS.values()]
    return "\n".join(lines) + "\n"
