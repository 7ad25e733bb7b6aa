"""Secrets planted everywhere, and everything that the API says or logs searched for them (S20, S33, S46)."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from jobqueue import JobQueue, Worker
from jobqueue.config import PostgresSettings, RedisSettings, Settings
from jobqueue.job import Job
from jobqueue.registry import Registry
from tests.integration.api.conftest import Api, Serve, make_key
from tests.integration.api.test_scopes import operations
from tests.integration.scheduler.test_shipping import scheduling, shipped

IN_PAYLOAD = "canary-payload-1b7f"
IN_MASKED_FIELD = "canary-masked-0d3e"
IN_HEADER = "canary-header-55d0"
IN_DATABASE_URL = "canary-database-77b2"
IN_ERROR_URL = "canary-error-url-4c9e"
IN_ERROR_HEADER = "canary-error-header-a2d8"
NEVER = (IN_MASKED_FIELD, IN_DATABASE_URL, IN_ERROR_URL, IN_ERROR_HEADER)
# Only these are asked for payloads.
WITH_PAYLOADS = ("/api/v1/jobs", "/api/v1/dlq", "/api/v1/executions", "/api/v1/events", "/api/v1/schedules")

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    @registry.task("fails", max_retries=0)
    async def fails(card: str, login: dict[str, str]) -> None:
        try:
            raise ConnectionError(f"no route to redis://shop:{IN_ERROR_URL}@db/0")
        except ConnectionError as error:
            raise RuntimeError(f"sent {{'Authorization': 'Bearer {IN_ERROR_HEADER}'}}") from error

    @registry.task("fine")
    async def fine(card: str, login: dict[str, str]) -> None: ...

    return registry


@pytest.fixture
async def queue(redis_url: str, namespace: str, database_url: str) -> Any:
    """The whole stack, with a password in the URL; Postgres here lets in whoever comes."""
    parts = urlsplit(database_url)
    url = f"postgresql://{parts.username}:{IN_DATABASE_URL}@127.0.0.1:{parts.port}{parts.path}"
    settings = Settings(redis=RedisSettings(url=redis_url, namespace=namespace), postgres=PostgresSettings(url=url))
    async with JobQueue.from_settings(settings) as made:
        yield made


@pytest.fixture
async def filled(queue: JobQueue, registry: Registry) -> list[str]:
    """A job that completed, one that died, one that waits, and a schedule; in Postgres what belongs there."""
    payload = {"card": IN_PAYLOAD, "login": {"Password": IN_MASKED_FIELD}}
    jobs = [Job(type, payload, headers={"x-trace": IN_HEADER}) for type in ("fine", "fails", "fine")]
    await queue.enqueue_many(jobs[:2])

    async with scheduling(queue):
        await Worker(queue, registry, queues=["default"]).run(burst=True)
        await shipped(queue)
    await queue.enqueue(jobs[2], delay=timedelta(hours=1))
    await queue.schedules.upsert("mail", "@yearly", jobs[2])
    await queue.schedules.run("mail")
    return [job.id for job in jobs]


async def everything(api: Api, ids: list[str]) -> dict[str, str]:
    """What each address answers to GET, headers too; the beginning of streams."""
    paths = {path for method, path, _ in operations() if method == "GET"}
    paths |= {f"/api/v1/{what}/{job_id}" for what in ("jobs", "dlq") for job_id in ids}
    paths |= {f"/api/v1/events?job={ids[2]}", "/api/v1/jobs?state=dead", "/api/v1/jobs?q=nothing"}
    said = {}
    for path in sorted(paths):
        response = await api.call("GET", path)
        if "event-stream" in response.headers.get("Content-Type", ""):
            async with asyncio.timeout(30):
                text = (await response.content.readuntil(b"\n\n")).decode()
            response.close()
        else:
            text = await response.text()
        said[path] = f"{response.headers}\n{text}"
    return said


async def test_no_answer_holds_a_secret_and_few_hold_a_payload(
    queue: JobQueue, serve: Serve, registry: Registry, filled: list[str]
) -> None:
    secret = await make_key(queue)
    api = (await serve(queue, registry=registry)).holding(secret)

    with capture_logs() as logs:
        said = await everything(api, filled)

    assert {path: secret for path, text in said.items() for each in NEVER if each in text} == {}
    own = (secret, secret.rpartition("_")[2], hashlib.sha256(secret.encode()).hexdigest())
    assert [path for path, text in said.items() if any(each in text for each in own)] == []
    with_payload = {path for path, text in said.items() if IN_PAYLOAD in text}
    assert with_payload
    assert {path for path in with_payload if not path.startswith(WITH_PAYLOADS)} == set()
    assert any("RuntimeError" in text for text in said.values())
    assert [each for each in (*NEVER, IN_PAYLOAD, IN_HEADER, *own) if each in repr(logs)] == []


WRONG_BODIES: list[dict[str, Any]] = [
    {"data": f'{{"type": "fine", "payload": {{"card": "{IN_PAYLOAD}"'},
    {"data": f'{{"type": "fine", "type": "{IN_PAYLOAD}"}}'},
    {"json": {"type": "fine", "payload": {"card": [IN_PAYLOAD], "login": IN_PAYLOAD}}},
    {"json": {"type": "fine", "payload": {"card": "x", "login": {}, "more": IN_PAYLOAD}}},
    {"json": {"type": "fine", "payload": IN_PAYLOAD}},
    {"json": {"type": "fine", "payload": {}, "timeout": IN_PAYLOAD}},
    {"json": {"type": "fine", "payload": {}, "headers": {"a": [IN_PAYLOAD]}}},
    {"json": {"type": "fine", "payload": {"card": IN_PAYLOAD * 20_000, "login": {}}}},
]


@pytest.mark.parametrize("body", WRONG_BODIES, ids=lambda body: str(body)[:40])
async def test_a_refused_body_is_not_repeated_in_answer_or_log(api: Api, body: dict[str, Any]) -> None:
    with capture_logs() as logs:
        response = await api.call("POST", "/api/v1/jobs", headers={"Content-Type": "application/json"}, **body)
        text = await response.text()

    assert 400 <= response.status < 500
    assert IN_PAYLOAD not in text
    assert IN_PAYLOAD not in repr(logs)


async def test_a_key_that_is_refused_is_neither_repeated_nor_logged(guarded: Api) -> None:
    good = await make_key(guarded.queue)
    for secret in (good[:-1] + ("a" if good[-1] != "a" else "b"), "hunter2hunter2", f"x{good}"):
        with capture_logs() as logs:
            for headers in ({"Authorization": f"Bearer {secret}"}, {"X-API-Key": secret}):
                response = await guarded.call("GET", "/api/v1/queues", headers=headers)
                assert response.status == 401
                assert secret not in await response.text()
            signing_in = await guarded.call("POST", "/api/v1/session", json={"key": secret})
            assert secret not in await signing_in.text()

        assert secret not in repr(logs)


async def test_an_unexpected_error_is_logged_without_its_password(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = guarded.holding(await make_key(guarded.queue))

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"redis://shop:{IN_ERROR_URL}@host: Authorization: Bearer {IN_ERROR_HEADER}")

    monkeypatch.setattr(guarded.queue, "get", fail)
    with capture_logs() as logs:
        response = await admin.call("GET", "/api/v1/jobs/01a20373-42c7-7775-96f9-c2e098cf256a")

    assert response.status == 500
    assert "redis://shop:***@host" in repr(logs)
    assert [each for each in NEVER if each in await response.text() + repr(logs)] == []
