"""What a running handler may know about its own job."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from jobqueue.clock import from_ms
from jobqueue.errors import InvalidJob
from jobqueue.job import SCHEDULE_HEADER, TICK_HEADER, Job, check_name

MAX_PROGRESS_BYTES = 4096


class JobContext(msgspec.Struct, eq=False):
    """One attempt of one job, as its handler and middleware see it.

    Get it from `current_job()`, or by annotating the handler's first parameter with `JobContext`.
    """

    make_job: Callable[[], Job]
    """Decodes the job; `job` keeps what it returns."""
    job_id: str
    """The job's id; stable over retries, fit as an idempotency key for what the handler calls."""
    type: str
    """The task's name."""
    queue: str
    """The queue that the job came from."""
    attempt: int
    """1 for the first attempt. A crash of the worker counts; a snooze does not."""
    deadline_ms: int
    """Wall time in ms since the epoch at which the attempt times out."""
    payload_json: bytes = b"{}"
    """The arguments as they travel; they are decoded for the handler."""
    _job: Job | None = None
    _cancel_requested: threading.Event | None = None
    _progress: bytes | None = None

    def __repr__(self) -> str:
        # Without the payload: it may hold what must not get into a log.
        return f"JobContext({self.type!r}, job_id={self.job_id!r}, queue={self.queue!r}, attempt={self.attempt})"

    @property
    def job(self) -> Job:
        """The job itself, decoded when first asked for."""
        if self._job is None:
            self._job = self.make_job()
        return self._job

    @property
    def deadline(self) -> datetime:
        """When the attempt times out."""
        return from_ms(self.deadline_ms)

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that made the job; None: none did."""
        name = self.job.headers.get(SCHEDULE_HEADER)
        try:
            return None if name is None else check_name("schedule", name)
        except InvalidJob:  # anybody may set a header
            return None

    @property
    def tick(self) -> datetime | None:
        """The tick that the job was made for, in UTC: the same in every attempt, and when it is caught up later.

        None: it was made for none.
        """
        text = self.job.headers.get(TICK_HEADER)
        try:
            tick = None if text is None else datetime.fromisoformat(text)
            return None if tick is None or tick.tzinfo is None else tick.astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    @property
    def logger(self) -> Any:
        """A structlog logger bound to `job_id`, `type`, `queue` and `attempt`."""
        return structlog.get_logger("jobqueue.job").bind(
            job_id=self.job_id, type=self.type, queue=self.queue, attempt=self.attempt
        )

    @property
    def cancelled(self) -> bool:
        """Whether the attempt has been asked to stop. Handlers in threads poll this: they cannot be interrupted."""
        return self._cancel_requested is not None and self._cancel_requested.is_set()

    def progress(self, value: Any) -> None:
        """Publish how far the job is: any small JSON value; the last one wins, sent with the next heartbeat."""
        try:
            encoded = msgspec.json.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidJob(f"progress of job {self.job_id} is not JSON: {error}") from error
        if len(encoded) > MAX_PROGRESS_BYTES:
            raise InvalidJob(f"progress holds {len(encoded)} bytes; the limit is {MAX_PROGRESS_BYTES}")
        self._progress = encoded

    def take_progress(self) -> bytes | None:
        """What was published since the last call, as JSON; for the worker."""
        progress, self._progress = self._progress, None
        return progress

    def arm(self) -> None:
        """Make `cancelled` work across threads; for the worker, before a handler starts in a thread."""
        if self._cancel_requested is None:
            self._cancel_requested = threading.Event()

    def request_cancel(self) -> None:
        """Tell the handler to stop; for the worker."""
        self.arm()
        assert self._cancel_requested is not None
        self._cancel_requested.set()


_current: ContextVar[JobContext] = ContextVar("jobqueue_current_job")


def current_job() -> JobContext:
    """The context of the job that is running here.

    Raises:
        LookupError: called outside of a handler.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("current_job() works only inside a running handler or its middleware") from None


def enter(context: JobContext) -> None:
    """Make *context* the current one, for the rest of this asyncio task; for the worker."""
    _current.set(context)
