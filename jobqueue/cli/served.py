"""Which queues a worker serves, and which its tasks and schedules want; and what `dev` tells of jobs that it ran."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import structlog

from jobqueue.config import Settings
from jobqueue.context import JobContext
from jobqueue.middleware.base import CallNext
from jobqueue.registry import Registry

_log = structlog.get_logger("jobqueue.worker")


def unserved(registry: Registry, queues: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The tasks of which jobs go to a queue that is not among *queues*, by that queue: their own, or a schedule's."""
    wanted = [(task.options.queue, task.name) for task in registry]
    wanted += [(schedule.queue, schedule.type) for schedule in registry.schedules]
    found: dict[str, list[str]] = {}
    for queue, task in dict.fromkeys(wanted):
        if queue not in queues:
            found.setdefault(queue, []).append(task)
    return {name: found[name] for name in sorted(found)}


def with_all_queues(settings: Settings, registry: Registry) -> Settings:
    """The settings with the queues of every task and schedule behind those that are served anyway."""
    served = settings.worker.queues
    worker = dataclasses.replace(settings.worker, queues=(*served, *unserved(registry, served)))
    return dataclasses.replace(settings, worker=worker)


async def log_completed(ctx: JobContext, call_next: CallNext) -> object:
    """Tell at info of every attempt that returned; what fails is told anyway."""
    started = time.perf_counter()
    value = await call_next(ctx)
    duration_ms = round((time.perf_counter() - started) * 1000, 1)
    _log.info("job.completed", type=ctx.type, duration_ms=duration_ms, job_id=ctx.job_id)
    return value
