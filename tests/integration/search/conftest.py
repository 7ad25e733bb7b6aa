"""Every kind of queue that jobs are found in: in memory, on Valkey alone, and with history in Postgres."""

import itertools
from collections.abc import AsyncIterator

import pytest

from jobqueue.app import JobQueue
from jobqueue.broker import consumer
from jobqueue.testing import memory_queue

_names = (f"search_{number}" for number in itertools.count())


@pytest.fixture(params=["memory", "redis", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest, namespace: str) -> JobQueue:
    """Not connected yet; servers are started here, outside of any event loop."""
    if kind == "memory":
        return memory_queue()
    url = request.getfixturevalue("redis_url")
    if kind == "redis":
        return JobQueue.connect(url, namespace=namespace)
    return JobQueue.connect(url, namespace=namespace, database_url=request.getfixturevalue("database_url"))


@pytest.fixture
async def queue(opened: JobQueue, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobQueue]:
    monkeypatch.setattr(consumer, "BLOCK_MS", 40)
    async with opened:
        yield opened
        for name in await opened.queues():
            assert (await opened.stats(name)).drift == 0
