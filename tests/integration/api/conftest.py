"""The API on every kind of queue, over a real server, and the callers of it."""

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from jobqueue.access.key import mint
from jobqueue.access.scope import Kind, Scope
from jobqueue.api.app import create_app
from jobqueue.app import JobQueue
from jobqueue.broker import consumer
from jobqueue.registry import Registry

_names = (f"api_{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def _short_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BLOCK_MS", 40)


@pytest.fixture
async def queue(redis_url: str, namespace: str, database_url: str) -> AsyncIterator[JobQueue]:
    """The whole stack."""
    async with JobQueue.connect(redis_url, namespace=namespace, database_url=database_url) as made:
        yield made


@pytest.fixture
async def bare_queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    """Without Postgres."""
    async with JobQueue.connect(redis_url, namespace=f"{namespace}bare") as made:
        yield made


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @made.task("email.send", queue="mail", priority="high")
    async def send(to: str, subject: str = "") -> None: ...

    return made


@dataclass
class Api:
    """A served API and one who calls it."""

    client: TestClient[web.Request, web.Application]
    queue: JobQueue
    prefix: str = ""
    secret: str | None = None

    def holding(self, secret: str | None) -> "Api":
        """The same, called with another key."""
        return replace(self, secret=secret)

    async def call(self, method: str, path: str, **options: Any) -> ClientResponse:
        headers = dict(options.pop("headers", {}))
        if self.secret is not None:
            headers.setdefault("Authorization", f"Bearer {self.secret}")
        return await self.client.request(method, self.prefix + path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a good answer."""
        return await self.expect(200, "GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self.expect(200, "POST", path, json=body, **options)

    async def expect(self, status: int, method: str, path: str, **options: Any) -> Any:
        response = await self.call(method, f"/api/v1{path}", **options)
        text = await response.text()
        assert response.status == status, f"{method} {path}: {response.status} {text[:500]}"
        return await response.json() if text else None

    async def refused(self, slug: str, method: str, path: str, **options: Any) -> Any:
        """The problem of a call that must fail, which is of this kind."""
        response = await self.call(method, f"/api/v1{path}", **options)
        problem = await response.json(content_type="application/problem+json")
        assert problem["type"] == f"{self.prefix}/problems/{slug}", problem
        assert problem["status"] == response.status
        return problem


Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve a queue's API; ended after the test."""
    clients: list[TestClient[web.Request, web.Application]] = []

    async def start(queue: JobQueue, *, prefix: str = "", **options: Any) -> Api:
        app = create_app(queue, **options)
        if prefix:
            outer = web.Application()
            outer.add_subapp(prefix, app)
            app = outer
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return Api(client=client, queue=queue, prefix=prefix)

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def api(queue: JobQueue, registry: Registry, serve: Serve) -> Api:
    """The whole stack, open to this machine."""
    made: Api = await serve(queue, registry=registry, require_keys=False)
    return made


@pytest.fixture
async def bare_api(bare_queue: JobQueue, registry: Registry, serve: Serve) -> Api:
    """Without Postgres, open to this machine."""
    made: Api = await serve(bare_queue, registry=registry, require_keys=False)
    return made


@pytest.fixture
async def guarded(queue: JobQueue, registry: Registry, serve: Serve) -> Api:
    """The whole stack, behind keys; called without one."""
    made: Api = await serve(queue, registry=registry)
    return made


async def make_key(queue: JobQueue, *scopes: Scope, queues: tuple[str, ...] = ("*",), **options: Any) -> str:
    """The secret of a key with these scopes; with none, of an admin's."""
    secret, key = mint(
        "test",
        kind=Kind.CLIENT if scopes else Kind.ADMIN,
        created_by="test",
        now=datetime.now(UTC),
        scopes=scopes or None,
        queues=queues,
        **options,
    )
    assert queue.parts.access is not None
    await queue.parts.access.keys.add(key)
    return secret


HOUR = timedelta(hours=1)
