"""A private Valkey and a private Postgres per test session; names that no two tests share, and databases."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobqueue.embedded import PostgresServer, RedisServer, start_postgres, start_redis
from jobqueue.repository.postgres.migrate import migrate_up
from testutil import acl, pgbouncer, strict

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """The switches that turn the whole session: `task test:strict`, `test:acl`, `test:pgbouncer`."""
    switches = ExitStack()
    if os.environ.get(strict.SWITCH):
        switches.enter_context(strict.strict_keys())
    if os.environ.get(acl.SWITCH):
        folder = switches.enter_context(tempfile.TemporaryDirectory())
        switches.enter_context(acl.restricted_session(Path(folder)))
    if os.environ.get(pgbouncer.SWITCH):
        switches.enter_context(pgbouncer.pooled_session())
    config.add_cleanup(switches.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items if os.environ.get(acl.SWITCH) else ():
        if command := acl.OPERATORS_OWN.get(getattr(item, "originalname", "")):
            item.add_marker(pytest.mark.skip(reason=f"sends {command} through a broker, which no queue needs"))


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: most of these tests wait for servers and processes, and for what must come true."""
    return 2 * (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    with start_redis(appendonly=False) as server:
        yield server


@pytest.fixture
def redis_url(valkey: RedisServer) -> str:
    """The session's Valkey; what other tests left there is told apart by `namespace`."""
    return acl.restricted(valkey.url) if os.environ.get(acl.SWITCH) else valkey.url


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"t{next(_numbers)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's Postgres, with a database `migrated` to copy."""
    # Without autovacuum: a second of work each minute for every hundred databases, most of which no test uses any more.
    with start_postgres(extra_args=("-c", "max_connections=300", "-c", "autovacuum=off")) as server:
        url = server.create_database("migrated")
        with ThreadPoolExecutor() as aside:  # this thread may have a loop already
            aside.submit(lambda: asyncio.run(migrate_up(url))).result()
        yield server


@pytest.fixture(scope="session")
def shared_database_url(postgres: PostgresServer) -> str:
    return postgres.create_database("shared", template="migrated")


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """A migrated database, in which the test has its `namespace`: one of its own costs a tenth of a second."""
    return shared_database_url


@pytest.fixture
def own_database_url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template="migrated")
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of this test's own, without our schema."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
