"""Background jobs for asyncio on Redis Streams, with history and dead letters in Postgres.

A name's module is imported when the name is first asked for: a file of tasks loads no Redis client.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.api.app import create_app
    from jobqueue.app import JobQueue
    from jobqueue.broker.base import Enqueued, EnqueueResult, QueueStats
    from jobqueue.broker.redis_streams import RedisStreamsBroker
    from jobqueue.config import Settings
    from jobqueue.context import JobContext, current_job
    from jobqueue.cron import CronSchedule
    from jobqueue.errors import (
        Backpressure,
        BrokerError,
        BrokerUnavailable,
        ConfigError,
        DeadLetterNotFound,
        Discard,
        DuplicateTask,
        EnqueueUncertain,
        IdempotencyConflict,
        InvalidJob,
        InvalidSchedule,
        JobQueueError,
        JobSignal,
        JobTimeout,
        LeaseLost,
        MissingExtra,
        RegistryError,
        RepositoryError,
        RepositoryUnavailable,
        RetryLater,
        ScheduleConflict,
        ScheduleNotFound,
        Snooze,
        UnknownTask,
    )
    from jobqueue.job import Job, JobState, Priority
    from jobqueue.middleware import CallNext, Metrics, Middleware, log_attempts
    from jobqueue.record import DeadLetter, Execution, Many
    from jobqueue.registry import Registry, Task
    from jobqueue.repository.base import ExecutionFilter, LetterFilter, LetterState, StoredLetter
    from jobqueue.repository.schedules import TickFilter
    from jobqueue.retry import RetryPolicy
    from jobqueue.runner import Worker
    from jobqueue.schedule import Misfire, Overlap, Schedule, ScheduleState
    from jobqueue.scheduler.scheduler import Scheduler
    from jobqueue.search import JobFilter
    from jobqueue.status import JobHandle, JobStatus, ScheduleStatus
    from jobqueue.tick import Decision, Reason, TickRecord
    from jobqueue.worker.pool import Pool

    __version__: str

__all__ = [
    "Backpressure",
    "BrokerError",
    "BrokerUnavailable",
    "CallNext",
    "ConfigError",
    "CronSchedule",
    "DeadLetter",
    "DeadLetterNotFound",
    "Decision",
    "Discard",
    "DuplicateTask",
    "EnqueueResult",
    "EnqueueUncertain",
    "Enqueued",
    "Execution",
    "ExecutionFilter",
    "IdempotencyConflict",
    "InvalidJob",
    "InvalidSchedule",
    "Job",
    "JobContext",
    "JobFilter",
    "JobHandle",
    "JobQueue",
    "JobQueueError",
    "JobSignal",
    "JobState",
    "JobStatus",
    "JobTimeout",
    "LeaseLost",
    "LetterFilter",
    "LetterState",
    "Many",
    "Metrics",
    "Middleware",
    "Misfire",
    "MissingExtra",
    "Overlap",
    "Pool",
    "Priority",
    "QueueStats",
    "Reason",
    "RedisStreamsBroker",
    "Registry",
    "RegistryError",
    "RepositoryError",
    "RepositoryUnavailable",
    "RetryLater",
    "RetryPolicy",
    "Schedule",
    "ScheduleConflict",
    "ScheduleNotFound",
    "ScheduleState",
    "ScheduleStatus",
    "Scheduler",
    "Settings",
    "Snooze",
    "StoredLetter",
    "Task",
    "TickFilter",
    "TickRecord",
    "UnknownTask",
    "Worker",
    "__version__",
    "create_app",
    "current_job",
    "log_attempts",
]

_HOMES = {
    "Backpressure": "jobqueue.errors",
    "BrokerError": "jobqueue.errors",
    "BrokerUnavailable": "jobqueue.errors",
    "CallNext": "jobqueue.middleware",
    "ConfigError": "jobqueue.errors",
    "CronSchedule": "jobqueue.cron",
    "DeadLetter": "jobqueue.record",
    "DeadLetterNotFound": "jobqueue.errors",
    "Decision": "jobqueue.tick",
    "Discard": "jobqueue.errors",
    "DuplicateTask": "jobqueue.errors",
    "EnqueueResult": "jobqueue.broker.base",
    "EnqueueUncertain": "jobqueue.errors",
    "Enqueued": "jobqueue.broker.base",
    "Execution": "jobqueue.record",
    "ExecutionFilter": "jobqueue.repository.base",
    "IdempotencyConflict": "jobqueue.errors",
    "InvalidJob": "jobqueue.errors",
    "InvalidSchedule": "jobqueue.errors",
    "Job": "jobqueue.job",
    "JobContext": "jobqueue.context",
    "JobFilter": "jobqueue.search",
    "JobHandle": "jobqueue.status",
    "JobQueue": "jobqueue.app",
    "JobQueueError": "jobqueue.errors",
    "JobSignal": "jobqueue.errors",
    "JobState": "jobqueue.job",
    "JobStatus": "jobqueue.status",
    "JobTimeout": "jobqueue.errors",
    "LeaseLost": "jobqueue.errors",
    "LetterFilter": "jobqueue.repository.base",
    "LetterState": "jobqueue.repository.base",
    "Many": "jobqueue.record",
    "Metrics": "jobqueue.middleware",
    "Middleware": "jobqueue.middleware",
    "Misfire": "jobqueue.schedule",
    "MissingExtra": "jobqueue.errors",
    "Overlap": "jobqueue.schedule",
    "Pool": "jobqueue.worker.pool",
    "Priority": "jobqueue.job",
    "QueueStats": "jobqueue.broker.base",
    "Reason": "jobqueue.tick",
    "RedisStreamsBroker": "jobqueue.broker.redis_streams",
    "Registry": "jobqueue.registry",
    "RegistryError": "jobqueue.errors",
    "RepositoryError": "jobqueue.errors",
    "RepositoryUnavailable": "jobqueue.errors",
    "RetryLater": "jobqueue.errors",
    "RetryPolicy": "jobqueue.retry",
    "Schedule": "jobqueue.schedule",
    "ScheduleConflict": "jobqueue.errors",
    "ScheduleNotFound": "jobqueue.errors",
    "ScheduleState": "jobqueue.schedule",
    "ScheduleStatus": "jobqueue.status",
    "Scheduler": "jobqueue.scheduler.scheduler",
    "Settings": "jobqueue.config",
    "Snooze": "jobqueue.errors",
    "StoredLetter": "jobqueue.repository.base",
    "Task": "jobqueue.registry",
    "TickFilter": "jobqueue.repository.schedules",
    "TickRecord": "jobqueue.tick",
    "UnknownTask": "jobqueue.errors",
    "Worker": "jobqueue.runner",
    "create_app": "jobqueue.api.app",
    "current_job": "jobqueue.context",
    "log_attempts": "jobqueue.middleware",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _import_module("importlib.metadata").version("jobqueue-asyncio")
    elif name in _HOMES:
        value = getattr(_import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
