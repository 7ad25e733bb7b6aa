"""One Postgres; each example has a database of its own."""

from collections.abc import Iterator

import pytest

from jobqueue.embedded import PostgresServer
from tests.docs.served import migrated


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with migrated() as server:
        yield server
