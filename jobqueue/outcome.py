"""What an attempt came to, and the one place that decides it. Pure."""

import random
import re
import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from jobqueue.clock import to_ms
from jobqueue.errors import Discard, JobTimeout, RetryLater, Snooze
from jobqueue.job import MAX_DURATION
from jobqueue.retry import RetryFunction, RetryPolicy

MAX_MESSAGE_CHARS: Final = 2_000
MAX_TRACEBACK_CHARS: Final = 8_000
MAX_DEFERRALS: Final = 12
_DEFERRAL_BASE: Final = timedelta(seconds=5)
_LONGEST_DEFERRAL: Final = timedelta(minutes=5)

# What drivers and HTTP clients put into their messages: passwords in URLs, keys in headers, our own keys. Each
# pattern is bounded, so that no text takes long.
_SECRETS: Final = (
    (re.compile(r"(?<=://)([^\s:/?#@]{0,200}):[^\s/?#]{1,200}@"), r"\1:***@"),
    (re.compile(r"(?i)([?&](?:password|sslpassword|token|access_token|secret|api_key)=)[^\s&'\"]{1,500}"), r"\1***"),
    (
        re.compile(
            r"(?i)\b(authorization|x-api-key)(['\"]?\s?[:=]\s?(?:b?['\"])?)((?:bearer|basic|token)\s)?[^\s'\",;]{1,500}"
        ),
        r"\1\2***",
    ),
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]{8,500}"), r"\1 ***"),
    (re.compile(r"\b(jq_[a-z0-9]{1,16}_[A-Za-z0-9]{8})_[A-Za-z0-9]{16,100}"), r"\1_***"),
)


class DeadReason(StrEnum):
    """Why a job will not be tried again by itself."""

    EXHAUSTED = "exhausted"
    GIVEN_UP = "given_up"
    DISCARDED = "discarded"
    CRASHED = "crashed"
    UNKNOWN_TASK = "unknown_task"
    UNREADABLE = "unreadable"


@dataclass(slots=True, frozen=True)
class Failure:
    """An error as it is kept: class name, message, traceback, each cut to a bound."""

    error_class: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Describe *error*, without what looks like a password or a key; never fails, whatever its `__str__` does."""
        # Cut before and after: a message may be huge, masking makes it shorter, and escaping longer.
        message, trace = _message(error)[: 4 * MAX_MESSAGE_CHARS], _traceback(error)[-4 * MAX_TRACEBACK_CHARS :]
        return cls(
            error_class=storable(type(error).__qualname__[:200])[:200],
            message=storable(scrubbed(message)[:MAX_MESSAGE_CHARS])[:MAX_MESSAGE_CHARS],
            traceback=storable(scrubbed(trace)[-MAX_TRACEBACK_CHARS:])[-MAX_TRACEBACK_CHARS:],
        )


@dataclass(slots=True, frozen=True)
class Completed:
    """The handler returned; *result_json* only where the job asks that it be kept."""

    result_json: bytes | None = None


@dataclass(slots=True, frozen=True)
class Retrying:
    """The attempt failed and another follows after *delay_ms*."""

    delay_ms: int
    failure: Failure


@dataclass(slots=True, frozen=True)
class Snoozed:
    """Not now; the same attempt again after *delay_ms*. *deferral* counts against the budget of unknown tasks."""

    delay_ms: int
    reason: str = ""
    deferral: bool = False


@dataclass(slots=True, frozen=True)
class Dead:
    """No more attempts by itself."""

    reason: DeadReason
    failure: Failure


@dataclass(slots=True, frozen=True)
class Cancelled:
    """Stopped because somebody asked."""


@dataclass(slots=True, frozen=True)
class Expired:
    """Its time ran out before it was started."""


@dataclass(slots=True, frozen=True)
class Released:
    """Given back unfinished: the same attempt again, at once, anywhere."""


@dataclass(slots=True, frozen=True)
class Crashed:
    """Its worker died; *final* when the job has done so too often and is a dead letter."""

    failure: Failure
    final: bool = False


Outcome = Completed | Retrying | Snoozed | Dead | Cancelled | Expired | Released | Crashed

COMPLETED: Final = Completed()
RELEASED: Final = Released()


def decide(
    error: BaseException,
    *,
    failures: int,
    policy: RetryPolicy | RetryFunction,
    max_retries: int | None,
    rng: random.Random,
) -> Outcome:
    """What comes of an attempt that raised *error*, after *failures* earlier failed ones.

    A job's own *max_retries* overrides the policy's number, not its rules by exception.
    """
    match error:
        case Snooze(after=after):
            return Snoozed(delay_ms=_delay_ms(after), reason=_reason(error))
        case Discard():
            return Dead(DeadReason.DISCARDED, Failure.of(error))
    failure = Failure.of(error)
    if isinstance(policy, RetryPolicy):
        allowed = policy.max_retries if max_retries is None else max_retries
        if not isinstance(error, RetryLater) and not policy.retries(error):
            return Dead(DeadReason.GIVEN_UP, failure)
        if failures >= allowed:
            return Dead(DeadReason.EXHAUSTED, failure)
        delay = error.after if isinstance(error, RetryLater) else policy.delay(failures + 1, rng)
        return Retrying(_delay_ms(delay), failure)
    return _by_function(policy, error, failure, failures, max_retries)


def _by_function(
    policy: RetryFunction, error: BaseException, failure: Failure, failures: int, max_retries: int | None
) -> Outcome:
    if max_retries is not None and failures >= max_retries:
        return Dead(DeadReason.EXHAUSTED, failure)
    if isinstance(error, RetryLater):
        return Retrying(_delay_ms(error.after), failure)
    try:
        delay: object = policy(failures + 1, error)
        if delay is None:
            return Dead(DeadReason.GIVEN_UP, failure)
        if not isinstance(delay, timedelta):
            raise TypeError(f"a retry function must return a timedelta or None, got {delay!r}")
    except Exception as broken:
        return Dead(DeadReason.GIVEN_UP, Failure.of(_during(broken, error)))
    return Retrying(_delay_ms(delay), failure)


def decide_unknown(error: BaseException, *, deferrals: int) -> Outcome:
    """What comes of a job whose task this worker does not know: another may, during a deploy."""
    if deferrals >= MAX_DEFERRALS:
        return Dead(DeadReason.UNKNOWN_TASK, Failure.of(error))
    delay = min(_DEFERRAL_BASE * 2**deferrals, _LONGEST_DEFERRAL)
    return Snoozed(delay_ms=to_ms(delay), reason=_reason(error), deferral=True)


def decide_crash(worker: str, *, crashes: int, max_crashes: int) -> Crashed:
    """What comes of a job whose worker died while it held the job, after *crashes* earlier deaths."""
    final = crashes + 1 >= max_crashes
    message = f"worker {worker} died while it held this job (death {crashes + 1} of {max_crashes})"
    return Crashed(Failure("WorkerDied", message), final=final)


def timed_out(seconds: float) -> JobTimeout:
    """The error of an attempt that ran out of time."""
    return JobTimeout(f"the handler did not end within its timeout of {seconds:g} s")


def _delay_ms(delay: timedelta) -> int:
    return to_ms(min(max(delay, timedelta(0)), MAX_DURATION))


def _reason(error: BaseException) -> str:
    return storable(scrubbed(_message(error)[:1_000])[:200])[:200]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:
        return f"(its message cannot be shown: {type(broken).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=-30))
    except BaseException as broken:
        return f"(its traceback cannot be shown: {type(broken).__name__})"


def _during(broken: Exception, error: BaseException) -> Exception:
    # The traceback of the function's own error then tells the handler's, too.
    if broken is not error and broken.__context__ is None:
        broken.__context__ = error
    return broken


def scrubbed(text: str) -> str:
    """*text* with passwords in URLs, keys in headers and API keys as `***`."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def storable(text: str) -> str:
    """*text* as UTF-8 and Postgres can hold it: no NUL, no lone surrogates."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
