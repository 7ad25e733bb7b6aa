"""What callers get. Instants are RFC 3339 in UTC; `*_ms` are milliseconds; null means not known or none."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jobqueue.access.scope import Kind, Scope
from jobqueue.job import JobState

Priorities = Literal["critical", "high", "medium", "low"]


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Attempt(View):
    """One run of a job's handler, from the history; `attempt` 0: it ended without having run."""

    attempt: int
    generation: int
    outcome: str
    worker: str
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: float
    error_class: str | None
    error_message: str | None
    traceback: str | None


class Job(View):
    """A job, wherever it is. `payload` is null where it is not kept (`payload_kept`)."""

    id: str
    type: str
    queue: str
    priority: Priorities
    state: JobState
    attempt: int
    payload: Any
    payload_kept: bool
    created_at: datetime | None
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: float | None
    worker: str | None
    last_error: str | None
    error_message: str | None
    cancel_requested: bool


class MadeBy(View):
    """The schedule that a job is of, and the tick; null: somebody asked for it."""

    schedule: str
    tick: datetime | None


class JobDetail(Job):
    """A job with every attempt that the history knows, oldest first."""

    progress: Any
    result: Any
    max_retries: int | None
    timeout_ms: int | None
    attempts: list[Attempt]
    made_by: MadeBy | None
    can: list[Literal["cancel", "retry", "edit"]]
    """What may be done with it now, by this caller."""


class JobPage(View):
    """A page; `next_cursor` is null on the last one. A search may give a page short of items: go on with the cursor."""

    items: list[Job]
    next_cursor: str | None


class Queued(View):
    """What came of one job of a batch. `exists`: it is queued already, under this `id`."""

    status: Literal["new", "exists", "refused"]
    id: str | None
    error: str | None


class QueuedJobs(View):
    """One result for each job, in order."""

    results: list[Queued]
    queued: int


class Cancelled(View):
    """`cancelled`: it waited, and is gone; `running`: its worker was asked to stop it."""

    id: str
    state: JobState


class Retried(View):
    """The job waits to be run now."""

    id: str
    state: JobState


class Done(View):
    """How far an action on many has come."""

    matched: int
    """How many there were when the call began; bounded: see `more_than`."""
    more_than: bool
    """There are more than `matched`."""
    done: int
    failed: dict[str, str]
    """Job id → why not."""
    remaining: int


class Rates(View):
    """Jobs a second, over the last minute."""

    enqueued: float
    completed: float
    failed: float


class Queue(View):
    """One queue at one instant; counters count since it began."""

    name: str
    paused: bool
    depth: dict[Priorities, int]
    ready: int
    running: int
    delayed: int
    dead: int
    oldest_ready_ms: int | None
    next_due_ms: int | None
    workers: int
    slots: int | None
    """Jobs that its workers may run at once; null where one does not tell."""
    rates: Rates
    enqueued: int
    completed: int
    died: int
    cancelled: int
    expired: int
    drift: int


class Queues(View):
    """All queues, by name."""

    items: list[Queue]


class Depth(View):
    """How many jobs are ready in a queue, by priority."""

    name: str
    depth: dict[Priorities, int]
    ready: int
    delayed: int


class Purged(View):
    """How many waiting jobs were cancelled."""

    cancelled: int


class Running(View):
    """A job that a worker runs."""

    id: str
    type: str
    queue: str
    attempt: int
    started_at: datetime | None


class Worker(View):
    """A worker process. What runs is listed up to 100."""

    name: str
    host: str | None
    pid: int | None
    started_at: datetime | None
    queues: list[str]
    slots: int | None
    running: int
    jobs: list[Running]
    alive: bool
    lease_ms: int


class Workers(View):
    """All workers, by name."""

    items: list[Worker]


class Letter(View):
    """A dead letter."""

    id: str
    type: str
    queue: str
    priority: Priorities
    state: Literal["dead", "requeueing", "requeued"]
    reason: str
    error_class: str
    error_message: str
    traceback: str
    attempts: int
    crashes: int
    payload: Any
    payload_kept: bool
    worker: str
    died_at: datetime
    requeued_at: datetime | None


class LetterPage(View):
    """A page, newest death first."""

    items: list[Letter]
    next_cursor: str | None


class ErrorGroup(View):
    """Failures of one task with one error class."""

    type: str
    queue: str
    error_class: str
    count: int
    first_at: datetime
    last_at: datetime
    last_message: str
    last_id: str


class ErrorGroups(View):
    """Most frequent first."""

    items: list[ErrorGroup]


class Execution(Attempt):
    """One row of the history."""

    id: str
    type: str
    queue: str
    priority: Priorities


class ExecutionPage(View):
    """A page, newest first."""

    items: list[Execution]
    next_cursor: str | None


class Bucket(View):
    """The executions that ended in one span of time."""

    at: datetime
    completed: int
    failed: int
    """Dead, or to be retried."""
    other: int
    p50_ms: float | None
    p95_ms: float | None


class Statistics(View):
    """Executions by time."""

    bucket_ms: int
    buckets: list[Bucket]
    outcomes: dict[str, int]


class Task(View):
    """A task that this API process knows, with the JSON schema of its payload."""

    name: str
    queue: str
    priority: Priorities
    parameters: dict[str, Any]


class Tasks(View):
    """Empty when the API was started without an app."""

    items: list[Task]


class Key(View):
    """An API key; its secret is not kept."""

    id: str
    name: str
    kind: Kind
    scopes: list[Scope]
    queues: list[str]
    rate: float | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class MadeKey(Key):
    """A key just made, with its secret: shown this once."""

    secret: str


class Keys(View):
    """Newest first."""

    items: list[Key]


class Audited(View):
    """Who changed what."""

    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    address: str
    request_id: str


class AuditPage(View):
    """A page, newest first."""

    items: list[Audited]
    next_cursor: str | None


class Session(View):
    """Who the caller is, and what is there to be shown."""

    key: str | None
    """The key's name; null without keys."""
    open: bool
    """No key is needed: nobody has made one, and only this machine is listened to."""
    signed_in: bool
    scopes: list[Scope]
    queues: list[str]
    history: bool
    """Postgres is configured."""
    version: str


class Overview(View):
    """What the dashboard's first page shows; also the data of the event `overview`."""

    at: datetime
    queues: list[Queue]
    left_out: int
    """Queues of the caller beyond those shown and counted here: there are too many to look at."""
    ready: int
    running: int
    delayed: int
    dead: int
    oldest_ready_ms: int | None
    workers: int
    slots: int | None
    rates: Rates
    postgres: Literal["up", "down", "none"]


class Health(View):
    """`ok`, or `unready` with what is not."""

    status: Literal["ok", "ready", "unready"]
    checks: dict[str, Literal["ok", "failed"]]


class Problem(View):
    """RFC 9457. `type` is the address of a page that explains it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, Any]] | None = None
    """Of a body or query: where (`loc`) and what (`msg`)."""
    job_id: str | None = None
