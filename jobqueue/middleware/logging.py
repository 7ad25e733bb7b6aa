"""Log every attempt, and bind the job to every line that its handler logs."""

import time

import structlog
from structlog.contextvars import bound_contextvars

from jobqueue.context import JobContext
from jobqueue.middleware.base import CallNext

_log = structlog.get_logger("jobqueue.attempt")


async def log_attempts(ctx: JobContext, call_next: CallNext) -> object:
    """Bind `job_id`, `type`, `queue` and `attempt`; log start and end at debug."""
    started = time.perf_counter()
    with bound_contextvars(job_id=ctx.job_id, type=ctx.type, queue=ctx.queue, attempt=ctx.attempt):
        _log.debug("attempt.started")
        try:
            value = await call_next(ctx)
        except BaseException as error:
            _log.debug("attempt.failed", duration_ms=_ms_since(started), error=type(error).__name__)
            raise
        _log.debug("attempt.finished", duration_ms=_ms_since(started))
        return value


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
