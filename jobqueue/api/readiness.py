"""Whether what a process needs is there: Redis, Postgres where it is configured, its migrations."""

import asyncio
import importlib
from typing import Literal

import structlog

from jobqueue.api.view import Health
from jobqueue.app import JobQueue
from jobqueue.errors import JobQueueError

_log = structlog.get_logger("jobqueue.api")

Check = Literal["ok", "failed"]
_PATIENCE_S = 5.0
_GOOD_FOR_S = 1.0


class Readiness:
    """Looks at most once a second, however often it is asked: anybody may ask."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._looking = asyncio.Lock()
        self._looked = float("-inf")
        self._last = Health(status="unready", checks={})

    async def health(self) -> Health:
        """`ready`, or `unready` with what is not."""
        async with self._looking:
            now = self._queue.parts.clock.monotonic()
            if now - self._looked > _GOOD_FOR_S:
                self._last = await self._look()
                self._looked = self._queue.parts.clock.monotonic()
            return self._last

    async def _look(self) -> Health:
        names = ["redis"] + ([] if self._queue.settings.postgres.url is None else ["postgres"])
        found = await asyncio.gather(*(self._check(name) for name in names))
        ready = all(each == "ok" for each in found)
        return Health(status="ready" if ready else "unready", checks=dict(zip(names, found, strict=True)))

    async def _check(self, name: str) -> Check:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await (self._redis() if name == "redis" else self._postgres())
        except (JobQueueError, TimeoutError) as error:
            _log.warning("api.unready", check=name, error=type(error).__name__)
            return "failed"

    async def _redis(self) -> Check:
        await self._queue.queues()
        return "ok"

    async def _postgres(self) -> Check:
        # Imported when it is asked for: a process without Postgres never loads asyncpg.
        migrate = importlib.import_module("jobqueue.repository.postgres.migrate")
        statuses = await migrate.migration_status(self._queue.settings.postgres.url)
        return "failed" if migrate.pending(statuses) else "ok"
