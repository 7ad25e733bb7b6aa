"""Scopes: what a key may do, and on which queues."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """A right. A key holds some of them, on the queues that its patterns name."""

    JOBS_ENQUEUE = "jobs:enqueue"
    JOBS_READ = "jobs:read"
    JOBS_CANCEL = "jobs:cancel"
    JOBS_RETRY = "jobs:retry"
    DLQ_READ = "dlq:read"
    DLQ_WRITE = "dlq:write"
    QUEUES_READ = "queues:read"
    QUEUES_WRITE = "queues:write"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"
    """Enough to make jobs by a schedule, on the key's queues: `jobs:enqueue` is not asked for."""
    WORKERS_READ = "workers:read"
    WORKERS_LEASE = "workers:lease"
    METRICS_READ = "metrics:read"
    AUDIT_READ = "audit:read"
    KEYS_ADMIN = "keys:admin"


class Kind(StrEnum):
    """What a key is for; decides its scopes where none are named."""

    CLIENT = "client"
    WORKER = "worker"
    ADMIN = "admin"


SCOPES_OF: Final[Mapping[Kind, frozenset[Scope]]] = {
    Kind.CLIENT: frozenset({Scope.JOBS_ENQUEUE, Scope.JOBS_READ, Scope.JOBS_CANCEL}),
    Kind.WORKER: frozenset({Scope.WORKERS_LEASE}),
    Kind.ADMIN: frozenset(Scope),
}


def covers(patterns: Sequence[str], queue: str) -> bool:
    """Whether *queue* is one of *patterns*: a name, or the beginning of names and a `*`."""
    return any(queue.startswith(each[:-1]) if each.endswith("*") else queue == each for each in patterns)
