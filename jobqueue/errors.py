"""Every error that jobqueue raises, and the signals that handlers raise to steer their job.

JobQueueError
├── ConfigError (ValueError)
├── MissingExtra (ImportError)
├── RegistryError
│   ├── UnknownTask (LookupError)
│   └── DuplicateTask (ValueError)
├── InvalidJob (ValueError)
├── InvalidSchedule (ValueError)
├── ScheduleConflict
├── ScheduleNotFound (LookupError)
├── IdempotencyConflict
├── EnqueueUncertain
├── JobTimeout (TimeoutError)
├── Denied
├── TooMany
├── BrokerError
│   ├── BrokerUnavailable (ConnectionError)
│   ├── Backpressure
│   └── LeaseLost
└── RepositoryError
    ├── RepositoryUnavailable (ConnectionError)
    └── DeadLetterNotFound (LookupError)

JobSignal                  its own root, so that `except JobQueueError` cannot swallow one
├── RetryLater
├── Snooze
└── Discard
"""

import importlib
from datetime import timedelta
from math import ceil
from types import ModuleType
from typing import Any


class JobQueueError(Exception):
    """The root of every error that jobqueue raises."""


class ConfigError(JobQueueError, ValueError):
    """A setting or an option is wrong; the message names it, its value and what is allowed."""


class MissingExtra(JobQueueError, ImportError):
    """An optional dependency is not installed; the message is the command that installs it."""


class RegistryError(JobQueueError):
    """The registry cannot do what was asked of it."""


class UnknownTask(RegistryError, LookupError):
    """No task has this name; the message names the closest one."""


class DuplicateTask(RegistryError, ValueError):
    """Two handlers claim the same task name."""


class InvalidJob(JobQueueError, ValueError):
    """A payload, name, size or option was refused; nothing was queued."""


class InvalidSchedule(JobQueueError, ValueError):
    """A cron expression, time zone or option of a schedule was refused; nothing was changed."""


class ScheduleConflict(JobQueueError):
    """The schedule cannot be changed like this: it is defined in code, or its name is taken; nothing was changed."""


class ScheduleNotFound(JobQueueError, LookupError):
    """No schedule has this name."""


class IdempotencyConflict(JobQueueError):
    """The idempotency key was used before for another job; `job_id` is the one already queued."""

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"idempotency key {key!r} already stands for job {job_id} with another body; "
            f"use a new key for a new job, or send the same job again to get the same answer"
        )
        self.key = key
        self.job_id = job_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.job_id)


class EnqueueUncertain(JobQueueError):
    """The broker did not answer in time, so the job may or may not be queued; or it did not confirm in time
    that the job is as durable as was asked.

    Enqueueing the same `Job` again is safe while it lives, and always with an idempotency key;
    `await queue.get(error.job_id)` tells where it is.
    """

    def __init__(self, job_id: str, reason: str | None = None) -> None:
        told = (
            f"{reason} (job {job_id})"
            if reason
            else f"no answer from the broker: job {job_id} may or may not be queued"
        )
        super().__init__(
            f"{told}; enqueue the same Job again (safe while it lives, always with an idempotency key) "
            f"or look it up by its id"
        )
        self.job_id = job_id
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_id, self.reason)


class JobTimeout(JobQueueError, TimeoutError):
    """A handler did not end within its timeout."""


class Denied(JobQueueError):
    """No key, or one that is not valid. Callers are never told which: the log says why."""


class TooMany(JobQueueError):
    """More requests, or more refused keys, than are allowed; `after` is how long to wait."""

    def __init__(self, after: timedelta) -> None:
        super().__init__(f"too many requests; try again after {max(1, ceil(after.total_seconds()))} s")
        self.after = after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.after,)


class BrokerError(JobQueueError):
    """The broker refused or failed."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """The broker cannot be reached or cannot serve now; nothing is known to have changed."""


class Backpressure(BrokerError):
    """The broker is full and takes no new jobs; nothing was queued. Draining goes on."""


class LeaseLost(BrokerError):
    """This consumer was reaped: its jobs were given to others and it may settle nothing."""


class RepositoryError(JobQueueError):
    """Postgres refused or failed."""


class RepositoryUnavailable(RepositoryError, ConnectionError):
    """Postgres cannot be reached, or did not answer in time."""


class DeadLetterNotFound(RepositoryError, LookupError):
    """No dead letter has this job id."""


class JobSignal(Exception):
    """The root of what a handler raises to steer its own job.

    Signals survive pickling, so a handler may let them out of a process pool.
    """


class RetryLater(JobSignal):
    """Try again after this long; the attempt counts as a failure."""

    def __init__(self, after: timedelta, reason: str = "") -> None:
        super().__init__(reason or f"retry after {after}")
        self.after = _delay("RetryLater", after)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.after, str(self))


class Snooze(JobSignal):
    """Not now: run again after this long; no attempt is counted."""

    def __init__(self, after: timedelta, reason: str = "") -> None:
        super().__init__(reason or f"snooze for {after}")
        self.after = _delay("Snooze", after)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.after, str(self))


class Discard(JobSignal):
    """No more tries: the job becomes a dead letter with this reason."""

    def __init__(self, reason: str = "discarded by its handler") -> None:
        super().__init__(reason)
        self.reason = reason


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say in one line how to install it.

    Raises:
        MissingExtra: *module* is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{module} is not installed; install it with: python -m pip install 'jobqueue-asyncio[{extra}]'"
        ) from error


def _delay(signal: str, after: object) -> timedelta:
    if not isinstance(after, timedelta):
        raise TypeError(f"{signal}(after) must be a timedelta, got {after!r}; e.g. timedelta(seconds=30)")
    if after < timedelta(0):
        raise ValueError(f"{signal}(after) must not be negative, got {after}")
    return after
