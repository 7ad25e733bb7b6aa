"""Queues and workers on a real server, in this process; every queue is audited when its test is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats, Settlement
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.config import RedisSettings, Settings, WorkerSettings
from jobqueue.errors import BrokerError
from jobqueue.registry import Registry
from jobqueue.runner import Worker
from testutil.eventually import eventually

LEASE = timedelta(seconds=1)
REAP = timedelta(milliseconds=100)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@dataclass
class Started:
    """A worker at work; *settled* are its confirmed settlements."""

    worker: Worker
    work: "asyncio.Task[None]"
    settled: list[Settlement]

    @property
    def name(self) -> str:
        name = self.worker._pool.name
        assert name is not None
        return name

    async def joined(self) -> str:
        await eventually(lambda: self.worker._pool.name)
        return self.name

    async def stop(self) -> None:
        self.worker.stop()
        await asyncio.wait_for(self.work, 30)

    async def stop_with(self, event: asyncio.Event) -> None:
        """Stop, and only then let the handlers go on."""
        self.worker.stop()
        await asyncio.sleep(0)
        event.set()
        await asyncio.wait_for(self.work, 30)

    def outcomes(self) -> list[str]:
        return [type(each.outcome).__name__ for each in self.settled]


@dataclass
class Scene:
    """A namespace of one test. Makes queues and workers; knows how to wait for what must come true."""

    url: str
    namespace: str
    lease: timedelta = LEASE
    registry: Registry = field(default_factory=Registry)
    database_url: str | None = None
    _queues: list[JobQueue] = field(default_factory=list)

    def settings(self, *, url: str | None = None, lease: timedelta | None = None, **worker: Any) -> Settings:
        given = {"queues": ("default",), "concurrency": 2, "reap_interval": REAP, "cancel_grace": seconds(0.1)}
        settings = Settings(
            redis=RedisSettings(
                url=url or self.url, namespace=self.namespace, lease=lease or self.lease, timeout=seconds(2)
            ),
            worker=replace(WorkerSettings(), **{**given, **worker}),
        )
        if self.database_url is not None:
            settings = replace(settings, postgres=replace(settings.postgres, url=self.database_url))
        return settings

    def queue(self, **options: Any) -> JobQueue:
        made = JobQueue.from_settings(self.settings(**options))
        self._queues.append(made)
        return made

    def worker(self, **options: Any) -> Worker:
        return self._worker([], options)

    def _worker(self, settled: list[Settlement], options: dict[str, Any]) -> Worker:
        registry = options.pop("registry", self.registry)
        extra = {name: options.pop(name) for name in ("middleware", "shutdown_timeout") if name in options}
        return Worker(self.queue(**options), registry, observe=settled.append, **extra)

    def start(self, *, burst: bool = False, **options: Any) -> Started:
        settled: list[Settlement] = []
        worker = self._worker(settled, options)
        return Started(worker, asyncio.create_task(worker.run(burst=burst)), settled)

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Started]:
        started = self.start(**options)
        try:
            yield started
        finally:
            started.worker.hurry()
            await asyncio.wait_for(started.work, 30)

    async def ended(self, queue: JobQueue, count: int, *, name: str = "default", within_s: float = 30) -> QueueStats:
        """Wait until *count* jobs have ended and nothing is left."""

        async def look() -> QueueStats:
            stats = await queue.stats(name)
            ended = stats.completed + stats.died + stats.cancelled + stats.expired
            assert (ended, stats.live) == (count, 0), stats
            return stats

        return await eventually(look, within_s=within_s)

    async def close(self) -> None:
        try:
            await self._audit()
        finally:
            for queue in self._queues:
                await queue.close()

    async def _audit(self) -> None:
        if not self._queues:
            return
        broker = self._queues[0].parts.redis
        assert isinstance(broker, RedisStreamsBroker)
        try:
            names = await broker.queues()
        except BrokerError:
            return  # the test has taken its server away
        for name in names:
            assert (await broker.stats(name)).drift == 0
            letters = None
            stored = self._queues[0].parts.shipping
            if stored is not None:
                letters = await stored.dead_letters.accounted(name)  # type: ignore[attr-defined]
            assert await check_queue(broker, name, letters=letters) == []
