"""`/workers`, `/tasks`, `/overview`: who works, at what, and how it goes."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.api import show, view
from jobqueue.api.call import Call
from jobqueue.broker.base import Found, Place, WorkerInfo
from jobqueue.errors import JobQueueError
from jobqueue.registry import Task

_MOST_JOBS = 100
_PAGE = 100


async def workers(call: Call) -> view.Workers:
    """All workers of the caller's queues, with what they run."""
    names = sorted(name for name in await call.queue.queues() if call.caller.sees(name))
    found = await asyncio.gather(*(call.queue.workers(name) for name in names))
    by_name: dict[str, list[WorkerInfo]] = {}
    for info in (each for infos in found for each in infos):
        by_name.setdefault(info.name, []).append(info)
    running = await _running(call, [name for name, infos in zip(names, found, strict=True) if infos])
    return view.Workers(
        items=[show.worker(name, infos, running.get(name, ())) for name, infos in sorted(by_name.items())]
    )


async def _running(call: Call, queues: Sequence[str]) -> Mapping[str, Sequence[view.Running]]:
    """Worker → what it runs, up to 100 a worker and 1 000 a queue."""
    running: dict[str, list[view.Running]] = {}
    for found in [each for jobs in await asyncio.gather(*(_jobs(call, name) for name in queues)) for each in jobs]:
        mine = running.setdefault(found.worker or "", [])
        if len(mine) < _MOST_JOBS:
            mine.append(_shown(found))
    return running


async def _jobs(call: Call, queue: str) -> list[Found]:
    jobs: list[Found] = []
    after: str | None = None
    for _ in range(10):
        page, after = await call.queue.parts.broker.jobs(queue, Place.RUNNING, limit=_PAGE, after=after)
        jobs += page
        if after is None:
            break
    return jobs


def _shown(found: Found) -> view.Running:
    age = None if found.running_ms is None else timedelta(milliseconds=found.running_ms)
    return view.Running(
        id=found.job_id,
        type=found.type,
        queue=found.queue,
        attempt=found.attempt,
        started_at=None if age is None else datetime.now(UTC) - age,
    )


async def tasks(call: Call) -> view.Tasks:
    """The tasks that this process knows, with the JSON schema of their payloads: those of the caller's queues."""
    known = sorted(call.site.registry or (), key=lambda task: task.name)
    return view.Tasks(items=[_task(each) for each in known if call.caller.sees(each.options.queue)])


def _task(task: Task[..., Any]) -> view.Task:
    try:
        parameters = task.schema()
    except (JobQueueError, ValueError, TypeError):  # a type that validates and has no JSON schema
        parameters = {}
    return view.Task(
        name=task.name, queue=task.options.queue, priority=task.options.priority.value, parameters=parameters
    )


async def overview(call: Call) -> view.Overview:
    """Everything at a glance."""
    return await call.site.live.overview(call.caller.queues)
