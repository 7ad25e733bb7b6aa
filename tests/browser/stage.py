"""A worker, a scheduler and the API on a loop in a thread, so that a browser can be driven from a test."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web

from jobqueue import Job, JobQueue, Worker
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind
from jobqueue.api.app import create_app
from jobqueue.api.server import serving
from jobqueue.config import Settings
from jobqueue.job import JobState, new_id
from jobqueue.repository.base import LetterFilter
from tests.browser.shop import Shop, registry_of
from testutil.eventually import eventually

_Value = TypeVar("_Value")
_LONGEST_S = 60.0
_START_S = 30.0


@dataclass
class Stage:
    """The real thing; *url* is the dashboard's address."""

    url: str
    queue: JobQueue
    shop: Shop
    loop: asyncio.AbstractEventLoop

    def do(self, action: Callable[[], Awaitable[_Value]]) -> _Value:
        """Run *action* on the stage's loop."""

        async def run() -> _Value:
            return await action()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(_LONGEST_S)

    def enqueue(self, task: str, many: int = 1, queue: str = "default", **payload: Any) -> list[str]:
        """Queue *many* of them; their ids."""

        async def run() -> list[str]:
            job = Job(task, payload).replace(queue=queue, max_retries=0)
            results = await self.queue.enqueue_many(job.replace(id=new_id()) for _ in range(many))
            return [result.job_id for result in results]

        return self.do(run)

    def until(self, state: JobState, *ids: str) -> None:
        """Wait until all of them are there."""

        async def there() -> bool:
            found = [await self.queue.get(each) for each in ids]
            states = {job and job.state for job in found}
            assert states == {state}, f"they are {states}"
            return True

        self.do(lambda: eventually(there, within_s=_START_S, poll_s=0.05))

    def until_dead(self, many: int) -> None:
        """Wait until so many dead letters can be listed: they reach Postgres a second or so after the deaths."""

        async def there() -> bool:
            return await self.queue.dead_letters.count(LetterFilter()) == many

        self.do(lambda: eventually(there, within_s=_START_S, poll_s=0.1))

    def key(self, kind: Kind = Kind.ADMIN, name: str = "ops") -> str:
        """A new key's secret."""
        access = self.queue.parts.access
        assert access is not None
        secret, key = mint(name, kind=kind, created_by="tests", now=datetime.now(UTC))

        async def add() -> None:
            await access.keys.add(key)

        self.do(add)
        return secret


@contextmanager
def staged(
    redis_url: str,
    database_url: str | None,
    namespace: str,
    *,
    require_keys: bool = False,
    worker: bool = True,
    mount: str = "",
) -> Iterator[Stage]:
    """Start everything; stop it at the end."""
    given = {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace}
    if database_url is not None:
        given["DATABASE_URL"] = database_url
    settings = Settings.load({}, overrides=given)
    ready: list[Stage] = []
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        shop = Shop()
        registry = registry_of(shop)
        async with AsyncExitStack() as stack:
            queue = await stack.enter_async_context(JobQueue.from_settings(settings, registry=registry))
            parts = [queue.scheduler().run()]
            if worker:
                parts.append(Worker(queue, registry, queues=["default"], concurrency=20).run())
            running = [asyncio.create_task(part) for part in parts]
            stack.push_async_callback(end, running, shop)
            app = create_app(queue, registry=registry, require_keys=require_keys)
            if mount:
                site = web.Application()
                site.add_subapp(mount, app)
                app = site
            url = await stack.enter_async_context(serving(app, host="127.0.0.1", port=0))
            ready.append(Stage(f"{url.rstrip('/')}{mount}/", queue, shop, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    async def end(running: list[asyncio.Task[None]], shop: Shop) -> None:
        shop.go.set()
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=30)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        assert started.wait(_START_S), "the stage did not start: see the log"
        yield ready[0]
    finally:
        if ready:
            ready[0].loop.call_soon_threadsafe(stop.set)
        thread.join(_START_S)
        assert not thread.is_alive()
