"""Serving an aiohttp application to whoever connects, bounded in time and in number.

aiohttp reads the head of a request for as long as the peer likes. So a `_Connection` stands between the socket
and aiohttp's protocol: it knows when a request is under way, and ends what is too slow.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from jobqueue.errors import ConfigError

_log = structlog.get_logger("jobqueue.api")

_SWEEP_S = 0.5
_MOST_HEADERS = 64
_LONGEST_LINE = 8190
_LINGER_S = 1.0
# aiohttp needs some turns of the loop until a request is under way; each may bring a quarter of a MiB of its body.
_MOST_UNASKED = 4 * 1024 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a peer may take."""

    connections: int = 1000
    head_s: float = 10.0
    """From the first byte of a request, or from the connection's begin, to the end of its head."""
    idle_s: float = 75.0
    """Between two requests."""
    stalled_s: float = 30.0
    """While it does not read what we write."""
    grace_s: float = 10.0
    """For requests under way when the server ends."""


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int, bounds: Bounds | None = None) -> AsyncIterator[str]:
    """Serve *app* inside the block; gives its URL. *port* 0 takes a free one.

    At the end: nothing more is accepted, idle connections are closed, `app.on_shutdown` runs, requests under
    way have their grace. When all connections are taken, the one that has been idle, or sending a request, longest
    makes room; with none such a new one is answered with 503. Bodies are not decompressed; how long and how large
    they may be is the application's to say.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    bounds = bounds or Bounds()
    door = _Door(bounds)
    app.middlewares.insert(0, door.middleware())
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_http_log(),
        keepalive_timeout=bounds.idle_s,
        lingering_time=_LINGER_S,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        max_headers=_MOST_HEADERS,
        auto_decompress=False,
        # aiohttp waits so long for handlers, cuts their bodies off, and waits so long again.
        shutdown_timeout=bounds.grace_s / 2,
    )
    await runner.setup()
    try:
        server = await _listen(runner, door, host, port)
        sweeping = asyncio.create_task(door.sweep())
        try:
            yield _url(host, server)
        finally:
            server.close()
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
    finally:
        await runner.cleanup()
        door.abort_all()


async def serve(
    app: web.Application,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    bounds: Bounds | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve *app* until *stop* is set; *started* is told the URL. As `serving`."""
    async with serving(app, host=host, port=port, bounds=bounds) as url:
        if started is not None:
            started(url)
        await stop.wait()


async def _listen(runner: web.AppRunner, door: "_Door", host: str, port: int) -> asyncio.Server:
    make = cast(Callable[[], asyncio.Protocol], runner.server)
    try:
        return await asyncio.get_running_loop().create_server(
            lambda: _Connection(door, make), host, port, reuse_address=True, backlog=1024
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}; choose another host or port") from error


def _url(host: str, server: asyncio.Server) -> str:
    port = server.sockets[0].getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _http_log() -> logging.Logger:
    """aiohttp's own log, without an error and a traceback for each peer that does not speak HTTP or breaks off."""
    log = logging.getLogger("jobqueue.api.http")
    if _about_us not in log.filters:
        log.addFilter(_about_us)
    return log


def _about_us(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))


class _Door:
    """All connections of a server."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.now = asyncio.get_running_loop().time
        self._open: set[_Connection] = set()
        self._idle: dict[_Connection, None] = {}
        """Those without a whole request, the one that became so first in front."""
        self._by_protocol: dict[Any, _Connection] = {}
        self._full_since: float | None = None

    def admit(self, connection: "_Connection") -> bool:
        """Whether there is room for it."""
        if len(self._open) >= self.bounds.connections:
            self._tell_full()
            if not self._idle:
                return False
            next(iter(self._idle)).abort()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def known(self, connection: "_Connection", protocol: asyncio.Protocol) -> None:
        """This is the aiohttp protocol behind it."""
        self._by_protocol[protocol] = connection

    def leave(self, connection: "_Connection", protocol: asyncio.Protocol | None) -> None:
        """It is gone."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._by_protocol.pop(protocol, None)

    def middleware(self) -> Any:
        """Tells each connection when a request of it begins and ends."""

        @web.middleware
        async def under_way(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            connection = self._by_protocol.get(request.protocol)
            if connection is None:
                return await handler(request)  # gone already
            connection.begin()
            if request.content.is_eof():
                self._take(connection)
            else:
                request.content.on_eof(lambda: self._take(connection))
            try:
                return await handler(request)
            finally:
                if connection in self._open:
                    connection.end()
                    self._take(connection)
                    self._idle[connection] = None

        return under_way

    def _take(self, connection: "_Connection") -> None:
        """It has a whole request: it makes no room for others until that is answered."""
        self._idle.pop(connection, None)

    async def sweep(self) -> None:
        """End what is too slow, until cancelled.

        After we were stopped, or the loop was blocked, what came meanwhile is read first.
        """
        pause_s, was_late = min(_SWEEP_S, self.bounds.head_s / 2), False
        while True:
            began = self.now()
            await asyncio.sleep(pause_s)
            now = self.now()
            was_late = not was_late and now - began > 2 * pause_s  # once: a loop that is always late sweeps, too
            if was_late:
                continue
            for connection in [each for each in self._open if each.is_late(now)]:
                _log.debug("connection.too_slow", peer=connection.peer)
                connection.abort()

    def abort_all(self) -> None:
        """Cut whatever is left."""
        for connection in list(self._open):
            connection.abort()

    def _tell_full(self) -> None:
        now = self.now()
        if self._full_since is None or now - self._full_since > 10:
            self._full_since = now
            _log.warning("connections.full", connections=self.bounds.connections, idle=len(self._idle))


class _Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and keeps the time."""

    def __init__(self, door: _Door, make: Callable[[], asyncio.Protocol]) -> None:
        self._door = door
        self._make = make
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._reading_head = False
        self._unasked = 0
        self._due = math.inf
        self._write_due = math.inf

    @property
    def peer(self) -> str:
        """Its address."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if name else ""

    def is_late(self, now: float) -> bool:
        """Whether it has taken too long for what it does."""
        return now > min(self._due, self._write_due)

    def begin(self) -> None:
        """A request is under way: its time is the application's."""
        self._busy, self._reading_head, self._unasked, self._due = True, False, 0, math.inf

    def end(self) -> None:
        """It has been answered."""
        self._busy, self._due = False, self._door.now() + self._door.bounds.idle_s

    def abort(self) -> None:
        """Cut it."""
        self._door.leave(self, self._inner)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._door.admit(self):
            self._transport.write(_FULL)
            self._transport.close()
            return
        # A connection that says nothing has as long as one that is slow.
        self._reading_head, self._due = True, self._door.now() + self._door.bounds.head_s
        self._inner = self._make()
        self._door.known(self, self._inner)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        if not self._busy:
            self._unasked += len(data)
            if self._unasked > _MOST_UNASKED:  # the rest of a body that was refused
                self.abort()
                return
            if not self._reading_head:
                self._reading_head, self._due = True, self._door.now() + self._door.bounds.head_s
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        self._write_due = self._door.now() + self._door.bounds.stalled_s
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._write_due = math.inf
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self, self._inner)
        if self._inner is not None:
            self._inner.connection_lost(exc)
