"""A private Valkey per test session, and names of its keys that no two tests share."""

import itertools
from collections.abc import Iterator

import pytest

from jobqueue.embedded import RedisServer, start_redis

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    with start_redis(appendonly=False) as server:
        yield server


@pytest.fixture
def redis_url(valkey: RedisServer) -> str:
    """The session's Valkey; what other tests left there is told apart by `namespace`."""
    return valkey.url


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"t{next(_numbers)}"
