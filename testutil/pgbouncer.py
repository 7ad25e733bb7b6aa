"""pgbouncer in transaction mode, in front of any Postgres of the tests.

with start_pgbouncer(port) as pooler: ...     # pooler.through(url)

With JOBQUEUE_TEST_PGBOUNCER=1, every `Database` that the tests make in this process goes through one, as a user's
would: prepared statements off. What needs a session, migrations and the tests' own looking, connects directly.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from jobqueue.embedded.server import free_port
from jobqueue.repository.postgres import database

SWITCH: Final = "JOBQUEUE_TEST_PGBOUNCER"
"""Environment variable: set, the whole test session runs so."""

_START_LIMIT_S = 5.0
_STOP_LIMIT_S = 10.0
_HOST = "127.0.0.1"
_OWNER = "jobqueue"

# The pooler goes when its keeper's standard input ends, which is when our process does, however it ends.
_KEEPER = """
trap '' HUP INT QUIT TERM
"$@" &
read -r _
kill -9 $!
rm -rf "$0"
"""


@dataclass(frozen=True, slots=True)
class Pooler:
    """A running pgbouncer."""

    port: int

    def through(self, url: str) -> str:
        """The same database, by way of the pooler."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{_OWNER}@{_HOST}:{self.port}").geturl()


def pgbouncer_obstacle() -> str | None:
    """Why `start_pgbouncer` cannot be used here; None when it can."""
    return None if _program() else "pgbouncer is not installed (apt-get install pgbouncer)"


@contextmanager
def start_pgbouncer(postgres_port: int, *, pool_size: int = 10) -> Iterator[Pooler]:
    """Pool the connections to every database of the Postgres on *postgres_port*."""
    program = _program()
    assert program is not None, pgbouncer_obstacle()
    with tempfile.TemporaryDirectory(prefix="jobqueue-pgbouncer-", ignore_cleanup_errors=True) as folder:
        port = free_port()
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={_HOST} port={postgres_port} user={_OWNER}\n"
            f"[pgbouncer]\nlisten_addr = {_HOST}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {pool_size}\nmax_client_conn = 1000\n"
            f"server_idle_timeout = 2\nserver_login_retry = 0.1\nserver_connect_timeout = 1\n"
        )
        config.parent.chmod(0o755)
        as_whom = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
        command = ["/bin/sh", "-c", _KEEPER, folder, program, "-q", *as_whom, str(config)]
        keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert keeper.stdin is not None
        try:
            _wait_for(port)
            yield Pooler(port)
        finally:
            keeper.stdin.close()
            keeper.wait(_STOP_LIMIT_S)


@contextmanager
def pooled_session() -> Iterator[None]:
    """Put a pooler in front of each Postgres when a `Database` first connects to it.

    Not where the account is another than the owner's: the pooler has one account for all.
    """
    poolers: dict[int, Pooler] = {}
    create_pool = database.asyncpg.create_pool

    def through_a_pooler(url: str, **options: Any) -> Any:
        parts = urlsplit(url)
        port = parts.port or 0
        if parts.username == _OWNER and port not in poolers and _listens(port):
            poolers[port] = running.enter_context(start_pgbouncer(port))
        if parts.username == _OWNER and port in poolers:
            url, options["statement_cache_size"] = poolers[port].through(url), 0
        return create_pool(url, **options)

    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.asyncpg, "create_pool", through_a_pooler)
        yield


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not _listens(port):
        if time.monotonic() > deadline:
            raise TimeoutError("pgbouncer does not listen")
        time.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((_HOST, port)) == 0
