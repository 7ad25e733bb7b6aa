"""Dialers make lines: to one server, to the primary that Sentinels name, or to a cluster (`cluster`).

redis-py opens the connections. A connection found through Sentinels asks them again each time it is
opened, so a line follows a failover when it reconnects.
"""

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool as BlockingPool
from redis.connection import SSLConnection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry as BlockingRetry

from jobqueue.broker.address import Address, Node
from jobqueue.broker.connection import BlockingLine, BlockingNodeLine, Line, NodeLine
from jobqueue.errors import ConfigError

# Sentinels are asked one after the other: one that is silent must leave time for the next.
_SENTINEL_TIMEOUT_S = 1.0
_ASK_EVERY_S = 1.0


class Dialer(ABC):
    """Makes lines to one Redis, whatever it consists of."""

    one_slot_reads = False
    """Whether a read may only name streams of one queue."""

    def __init__(self, address: Address, *, timeout_s: float, client_name: str) -> None:
        self.address = address
        self.where = address.masked
        self.timeout_s = timeout_s
        self._options = _options(address, timeout_s, client_name)

    @abstractmethod
    def line(self) -> Line: ...

    @abstractmethod
    def blocking_line(self, timeout_s: float) -> BlockingLine: ...

    async def every_node(self) -> list[Line]:
        """A line to each primary."""
        return [self.line()]

    async def close(self) -> None:  # noqa: B027 - most have nothing of their own to close
        """End what was opened beside the lines."""


class NodeDialer(Dialer):
    """To one server."""

    def __init__(self, address: Address, *, timeout_s: float, client_name: str, node: Node | None = None) -> None:
        super().__init__(address, timeout_s=timeout_s, client_name=client_name)
        self._url = address.url(node)
        try:
            self._pool = ConnectionPool.from_url(self._url, retry=Retry(NoBackoff(), 0), **self._options)
            self.line()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"REDIS_URL {self.where!r}: {error}") from None

    def line(self) -> NodeLine:
        return NodeLine(self._pool.make_connection(), self.where, self.timeout_s)  # type: ignore[no-untyped-call]

    def blocking_line(self, timeout_s: float) -> BlockingNodeLine:
        timeout_s = min(timeout_s, self.timeout_s)
        options = {**self._options, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        pool = BlockingPool.from_url(self._url, retry=BlockingRetry(NoBackoff(), 0), **options)
        return BlockingNodeLine(pool.make_connection(), self.where)


class SentinelDialer(Dialer):
    """To the primary of the moment.

    A primary that was replaced may serve on for seconds, or, cut off, for ever. So the Sentinels are asked again
    now and then, beside the traffic, and lines to another than they name are closed.
    """

    def __init__(self, address: Address, *, timeout_s: float, client_name: str) -> None:
        super().__init__(address, timeout_s=timeout_s, client_name=client_name)
        try:
            given = parse_url(address.url(address.nodes[0]))  # type: ignore[no-untyped-call]
            secure = given.pop("connection_class", None) is SSLConnection
            self._options = {**given, **self._options, "ssl": secure}
            del self._options["host"], self._options["port"]
            self._sentinels = redis.asyncio.Sentinel(  # type: ignore[no-untyped-call]
                address.nodes, sentinel_kwargs=self._sentinel_options(timeout_s) | {"retry": Retry(NoBackoff(), 0)}
            )
            # The weak references of its connections need the pool: it stays as long as the dialer.
            self._pool = redis.asyncio.SentinelConnectionPool(  # type: ignore[no-untyped-call]
                address.service, self._sentinels, retry=Retry(NoBackoff(), 0), **self._options
            )
            self.line()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"REDIS_URL {self.where!r}: {error}") from None
        self._primary: Node | None = None
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def line(self) -> NodeLine:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return NodeLine(connection, self.where, self.timeout_s, is_stale=self._is_stale)

    def blocking_line(self, timeout_s: float) -> BlockingNodeLine:
        timeout_s = min(timeout_s, self.timeout_s)
        options = {**self._options, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        sentinels = redis.Sentinel(  # type: ignore[no-untyped-call]
            self.address.nodes,
            sentinel_kwargs=self._sentinel_options(timeout_s) | {"retry": BlockingRetry(NoBackoff(), 0)},
        )
        pool = redis.SentinelConnectionPool(  # type: ignore[no-untyped-call]
            self.address.service, sentinels, retry=BlockingRetry(NoBackoff(), 0), **options
        )
        return _BlockingSentinelLine(pool, sentinels, self.where, is_stale=self._is_other)

    def _is_stale(self, connection: AbstractConnection) -> bool:
        """Called before each exchange, in the event loop; asks the Sentinels when it was not done lately."""
        now = time.monotonic()
        if now - self._asked_at > _ASK_EVERY_S and (self._asking is None or self._asking.done()):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        return self._is_other(connection)

    def _is_other(self, connection: Any) -> bool:
        """Whether it leads to another than the Sentinels named last."""
        return self._primary is not None and (connection.host, connection.port) != self._primary

    async def _ask(self) -> None:
        try:
            self._primary = await self._sentinels.discover_master(self.address.service)
        except (RedisError, OSError):
            self._primary = None  # they do not agree, or are away: what is connected stays

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await self._sentinels.aclose()

    def _sentinel_options(self, timeout_s: float) -> dict[str, Any]:
        timeout_s = min(timeout_s / 2, _SENTINEL_TIMEOUT_S)
        names = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl")
        secure = {name: self._options[name] for name in names if self._options.get(name)}
        bounds = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "max_connections": 100}
        return {**secure, **self.address.sentinel_options, **bounds}


class _BlockingSentinelLine(BlockingNodeLine):
    """Keeps the pool that its connection needs, and closes the connections to the Sentinels with its own."""

    def __init__(self, pool: Any, sentinels: Any, where: str, *, is_stale: Callable[[Any], bool]) -> None:
        super().__init__(pool.make_connection(), where, is_stale=is_stale)
        self._pool = pool
        self._sentinels = sentinels

    def close(self) -> None:
        super().close()
        for sentinel in self._sentinels.sentinels:
            sentinel.close()


def _options(address: Address, timeout_s: float, client_name: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 0,
        "client_name": client_name,
        "decode_responses": False,
    }
    if not address.url(address.nodes[0] if address.nodes else None).startswith("unix://"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    return options


def _keepalive() -> dict[int, int]:
    names = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in names.items() if hasattr(socket, name)}
