"""Background jobs for asyncio on Redis Streams, with history and dead letters in Postgres."""

from importlib.metadata import version as _version

from jobqueue.app import JobQueue, Worker
from jobqueue.broker.base import Enqueued, EnqueueResult, QueueStats
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.config import Settings
from jobqueue.context import JobContext, current_job
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
    JobQueueError,
    JobSignal,
    JobTimeout,
    LeaseLost,
    MissingExtra,
    RegistryError,
    RepositoryError,
    RepositoryUnavailable,
    RetryLater,
    Snooze,
    UnknownTask,
)
from jobqueue.job import Job, JobState, Priority
from jobqueue.middleware import CallNext, Metrics, Middleware, log_attempts
from jobqueue.record import DeadLetter, Execution
from jobqueue.registry import Registry, Task
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter
from jobqueue.retry import RetryPolicy
from jobqueue.scheduler.scheduler import Scheduler
from jobqueue.status import JobHandle, JobStatus
from jobqueue.worker.pool import Pool

__version__ = _version("jobqueue-asyncio")

__all__ = [
    "Backpressure",
    "BrokerError",
    "BrokerUnavailable",
    "CallNext",
    "ConfigError",
    "DeadLetter",
    "DeadLetterNotFound",
    "Discard",
    "DuplicateTask",
    "EnqueueResult",
    "EnqueueUncertain",
    "Enqueued",
    "Execution",
    "IdempotencyConflict",
    "InvalidJob",
    "Job",
    "JobContext",
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
    "Metrics",
    "Middleware",
    "MissingExtra",
    "Pool",
    "Priority",
    "QueueStats",
    "RedisStreamsBroker",
    "Registry",
    "RegistryError",
    "RepositoryError",
    "RepositoryUnavailable",
    "RetryLater",
    "RetryPolicy",
    "Scheduler",
    "Settings",
    "Snooze",
    "StoredLetter",
    "Task",
    "UnknownTask",
    "Worker",
    "__version__",
    "current_job",
    "log_attempts",
]
