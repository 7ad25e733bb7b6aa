"""One server of a topology, with its proxy, and what a test does to it."""

from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from testutil.proxy import FaultProxy
from testutil.topology.server import DataServer

_CALL_LIMIT_S = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A data node or a Sentinel. *proxy* stands between it and the clients, where there is one."""

    name: str
    kind: Literal["data", "sentinel"]
    server: DataServer
    proxy: FaultProxy | None = None
    paused: bool = False

    @property
    def port(self) -> int:
        """Where clients connect, and what the server announces: the proxy's port, or else the server's own."""
        return self.server.port if self.proxy is None else self.proxy.port

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`, past the proxy."""
        return self.server.url

    def kill(self) -> None:
        """SIGKILL; the data stays for `restart`."""
        self.server.kill()
        self.paused = False

    def restart(self) -> None:
        """Start again on the same port and data; returns when it answers and has loaded its data."""
        self.server.restart()
        self.paused = False

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self.server.pause()
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self.server.resume()
        self.paused = False

    def call(self, *command: str | bytes | int | float) -> Any:
        """Send one command past the proxy, on a connection of its own; waits 5 s at most.

        Replies are shaped by redis-py (`INFO` is a dict), and text is str.

        Raises:
            redis.RedisError: the server refused, did not answer, or is not there; at once when it is paused.
        """
        if self.paused:
            raise RedisTimeoutError(f"{self} is paused")
        with Redis(
            port=self.server.port,
            socket_timeout=_CALL_LIMIT_S,
            socket_connect_timeout=_CALL_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
        ) as connection:
            return connection.execute_command(*command)

    def is_alive(self) -> bool:
        """Whether it runs, is not paused, and answers PING."""
        try:
            return bool(self.call("PING"))
        except RedisError:
            return False

    def is_primary(self) -> bool:
        """Whether it is a data node that answers and calls itself primary, rightly or not."""
        try:
            return self.kind == "data" and self.call("ROLE")[0] == "master"
        except RedisError:
            return False

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.address}>"
