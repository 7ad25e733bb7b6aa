"""The OpenAPI document against the whole stack: what it promises is kept, and what it forbids is refused."""

import asyncio
import itertools
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from jobqueue.access import gate
from jobqueue.api.app import create_app
from jobqueue.api.openapi import document
from jobqueue.api.routes import ROUTES
from jobqueue.app import JobQueue
from jobqueue.embedded import PostgresServer, RedisServer
from tests.integration.api.conftest import make_key

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("schemathesis")]

# A stream has no end to be looked at; the dashboard takes whatever stands behind the `?`.
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES)).exclude(path_regex=r"^(/|/api/v1/events)$")


# Each operation costs 8 s of a core with 15.
EXAMPLES = 50 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 5

_names = (f"schemathesis{number}" for number in itertools.count())

# What no schema can say. Any other refusal of a request that fits the schema is a failure.
BEYOND_SCHEMA = (
    re.compile(r"query\.cursor: must be the `next_cursor` of the page before, with the same filter"),
    re.compile(r"this Idempotency-Key was used before, with another body"),
    re.compile(r"query\.bucket: (is too short|must be at least|must be whole minutes)"),
    re.compile(r"give delay or scheduled_at, not both"),
    re.compile(r"(delay|timeout|expires|result_ttl|unique_key|grace|jitter|a key expires) .*must be|\w+ must be from "),
    re.compile(r"a key expires after"),
    re.compile(r"is no date that exists"),
    re.compile(r"unique_key must be 1 to 200 printable characters"),
    re.compile(r"cron expression|time zone"),
    re.compile(r"`to` must (be after `from`|not be in the future)"),
    re.compile(r"let expires be longer than jitter"),
)


def valid_requests_are_taken(ctx: Any, response: Any, case: Any) -> None:
    """As schemathesis' own `positive_data_acceptance`, but for what `BEYOND_SCHEMA` says."""
    meta = case.meta
    if response.status_code != 422 or meta is None or not meta.generation.mode.is_positive:
        return
    detail = response.json()["detail"]
    assert any(each.search(detail) for each in BEYOND_SCHEMA), f"a valid request was refused: {detail}"


@dataclass
class Served:
    url: str
    secret: str


@pytest.fixture(scope="module")
def many_wrong_keys() -> Iterator[None]:
    """Every operation is tried with wrong keys, from one address: to be slowed down is another test's subject."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "FAILURES", 1_000_000)
        yield


@pytest.fixture(scope="module")
def served(many_wrong_keys: None, valkey: RedisServer, postgres: PostgresServer) -> Iterator[Served]:
    """The API in a thread of its own: schemathesis blocks."""
    # More than once in a session: tests of this module are handed to and fro between workers.
    name = next(_names)
    database_url = postgres.create_database(name, template="migrated")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ended = asyncio.Event()

    async def start() -> tuple[Served, "asyncio.Task[None]"]:
        started: asyncio.Future[Served] = loop.create_future()
        task = loop.create_task(serve(valkey.url, name, database_url, started, ended))
        return await started, task

    made, task = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield made
    loop.call_soon_threadsafe(ended.set)
    asyncio.run_coroutine_threadsafe(asyncio.wait_for(task, 30), loop).result(40)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


async def serve(
    url: str, name: str, database_url: str, started: "asyncio.Future[Served]", ended: asyncio.Event
) -> None:
    async with JobQueue.connect(url, namespace=name, database_url=database_url) as queue:
        secret = await make_key(queue)
        runner = web.AppRunner(create_app(queue), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        started.set_result(Served(f"http://{host}:{port}", secret))
        await ended.wait()
        await runner.cleanup()


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_what_the_document_says_is_so(case: Any, served: Served) -> None:
    case.call_and_validate(
        base_url=served.url,
        headers={"Authorization": f"Bearer {served.secret}"},
        excluded_checks=[positive_data_acceptance],
        additional_checks=[valid_requests_are_taken],
    )
