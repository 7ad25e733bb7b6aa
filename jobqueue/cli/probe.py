"""The probe of `worker` and `scheduler`, where one is asked for; without, nothing of it is loaded."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from jobqueue.app import JobQueue
from jobqueue.errors import require
from jobqueue.runner import Worker
from jobqueue.scheduler.scheduler import Scheduler

_log = structlog.get_logger("jobqueue.probe")


@asynccontextmanager
async def worker_probe(worker: Worker, queue: JobQueue) -> AsyncIterator[None]:
    """Ready: Redis answers, and knows this worker. Postgres is nothing to it."""
    if queue.settings.probe.port is None:
        yield
        return
    _require()
    from jobqueue.api.exposition import loop_families, worker_families
    from jobqueue.api.health import Readiness
    from jobqueue.api.probe import probing

    async def look() -> dict[str, bool]:
        return {**await queue.parts.reachable(postgres=False), "joined": worker.joined}

    def families() -> Iterator[Any]:
        yield from worker_families(worker.metrics, busy=worker.running, slots=worker.slots)
        yield from loop_families(worker.loops)

    worker.metrics.timed = True
    async with probing(
        queue.settings.probe, loops=lambda: worker.loops, readiness=Readiness(look), families=families
    ) as url:
        _log.info("probe.started", url=url)
        yield


@asynccontextmanager
async def scheduler_probe(scheduler: Scheduler, queue: JobQueue) -> AsyncIterator[None]:
    """Ready: Redis answers; so does Postgres where it is configured, with all migrations."""
    if queue.settings.probe.port is None:
        yield
        return
    _require()
    from jobqueue.api.exposition import loop_families
    from jobqueue.api.health import Readiness
    from jobqueue.api.probe import probing

    async with probing(
        queue.settings.probe,
        loops=lambda: scheduler.heartbeats.values(),
        readiness=Readiness(queue.parts.reachable),
        families=lambda: loop_families(scheduler.heartbeats.values()),
    ) as url:
        _log.info("probe.started", url=url)
        yield


def _require() -> None:
    require("aiohttp", "api")
    require("prometheus_client", "api")
