"""Connections to Redis, and the one place where its errors become ours.

redis-py makes, secures and authenticates the connection and parses the replies. Its own retries are
off: they repeat writes. A `Line` carries one exchange at a time and reconnects for the next.
"""

import asyncio
import math
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool as BlockingPool
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry as BlockingRetry

from jobqueue.broker.scripts import ALL, Value
from jobqueue.config import mask_url
from jobqueue.errors import Backpressure, BrokerError, BrokerUnavailable, ConfigError

Command = Sequence[Value]

_TRANSIENT = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
    "UNBLOCKED",
)
_ELSEWHERE = (ReadOnlyError, MasterDownError)  # the primary is another by now: its name must be resolved again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_Reply = TypeVar("_Reply")


class NoReply(BrokerUnavailable):
    """The command was sent and may have been carried out; its reply never came."""


class Dialer:
    """Makes connections to one Redis."""

    def __init__(self, url: str, *, timeout_s: float, client_name: str) -> None:
        self.url = mask_url(url)
        self.timeout_s = timeout_s
        options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive(),
            "health_check_interval": 0,
            "client_name": client_name,
            "decode_responses": False,
        }
        if url.startswith("unix://"):
            del options["socket_keepalive"], options["socket_keepalive_options"]
        self._url, self._options = url, options
        try:
            self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **options)
            self.line()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"REDIS_URL {self.url!r}: {error}") from error

    def line(self) -> "Line":
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        # A `Line` bounds whole exchanges itself. redis-py would send with `asyncio.wait_for`, which costs a task
        # a command, and before Python 3.12 may swallow a cancellation: its loop would then go on for ever.
        connection.socket_timeout = None
        return Line(connection, self)

    def blocking_line(self, timeout_s: float) -> "BlockingLine":
        timeout_s = min(timeout_s, self.timeout_s)
        options = {**self._options, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        pool = BlockingPool.from_url(self._url, retry=BlockingRetry(NoBackoff(), 0), **options)
        return BlockingLine(pool.make_connection(), self)

    def translate(self, error: Exception, *, sent: bool) -> BrokerError:
        """redis-py's error as ours."""
        if isinstance(error, AuthenticationError | NoPermissionError):
            return BrokerError(f"Redis at {self.url} refuses us: {error}")
        if isinstance(error, BusyLoadingError):  # which redis-py takes for a lost connection
            return BrokerUnavailable(f"Redis at {self.url} is loading its data")
        if isinstance(error, OutOfMemoryError):
            return Backpressure(
                f"Redis at {self.url} is out of memory and takes no new jobs; drain, or raise its maxmemory"
            )
        if isinstance(error, ResponseError):
            return refused(error)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        kind = NoReply if sent else BrokerUnavailable
        return kind(f"Redis at {self.url} cannot be reached ({what})")


class Line:
    """One connection, one exchange at a time."""

    def __init__(self, connection: AbstractConnection, dialer: Dialer) -> None:
        self._connection = connection
        self._dialer = dialer
        self._turn = asyncio.Lock()

    async def call(self, command: Command, *, timeout_s: float | None = None) -> Any:
        """Send one command and return its reply.

        Raises:
            NoReply: sent, unanswered. BrokerUnavailable: not carried out. Backpressure: out of memory.
        """
        (reply,) = await self.exchange((command,), timeout_s=timeout_s)
        if isinstance(reply, ResponseError):
            raise self._dialer.translate(reply, sent=True) from reply
        return reply

    async def exchange(self, commands: Sequence[Command], *, timeout_s: float | None = None) -> list[Any]:
        """Send commands in one write and return their replies; refusals come as `ResponseError` values.

        A script that the server does not know did not run: it is loaded and called again.
        """
        await self._take_turn()
        try:
            replies = await self._exchange(commands, timeout_s)
            missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                again = await self._exchange([_with_source(commands[n]) for n in missing], timeout_s)
                for n, reply in zip(missing, again, strict=True):
                    replies[n] = reply
            return replies
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        """Wait for those who came before, but not for all their timeouts."""
        try:
            async with asyncio.timeout(self._dialer.timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise BrokerUnavailable(f"Redis at {self._dialer.url} does not answer; others wait for it too") from error

    async def _exchange(self, commands: Sequence[Command], timeout_s: float | None) -> list[Any]:
        connection = self._connection
        sent = False
        try:
            async with asyncio.timeout(self._dialer.timeout_s if timeout_s is None else timeout_s):
                if _hung_up(connection):
                    await connection.disconnect(nowait=True)
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call]
                packed = (
                    connection.pack_command(*commands[0]) if len(commands) == 1 else connection.pack_commands(commands)
                )
                sent = True
                await connection.send_packed_command(packed, check_health=False)
                replies = [await self._read() for _ in commands]
            if any(isinstance(reply, _ELSEWHERE) for reply in replies):
                await connection.disconnect(nowait=True)
            return replies
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            raise self._dialer.translate(error, sent=sent) from error
        except BaseException:
            # Somebody else's reply must never be read as ours: a broken-off exchange ends the connection.
            await connection.disconnect(nowait=True)
            raise

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as refusal:
            return refusal

    async def close(self) -> None:
        await self._connection.disconnect()


def _hung_up(connection: AbstractConnection) -> bool:
    """Whether the server has closed it while nobody read: what is sent now would be lost, and be called uncertain."""
    reader = connection._reader
    return reader is not None and (reader.at_eof() or reader.exception() is not None)


class BlockingLine:
    """A `Line` for a thread of its own."""

    def __init__(self, connection: Any, dialer: Dialer) -> None:
        self._connection = connection
        self._dialer = dialer

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one write and return their replies; raises on the first refusal."""
        replies = self._exchange(commands)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            again = self._exchange([_with_source(commands[n]) for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise self._dialer.translate(reply, sent=True) from reply
        return replies

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            connection.connect()
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [self._read() for _ in commands]
            if any(isinstance(reply, _ELSEWHERE) for reply in replies):
                connection.disconnect()
            return replies
        except (RedisError, OSError, ValueError) as error:
            # ValueError: the socket was closed by another thread, which is how a beat is cut short.
            connection.disconnect()
            raise self._dialer.translate(error, sent=True) from error

    def _read(self) -> Any:
        try:
            return self._connection.read_response(disconnect_on_error=False)
        except ResponseError as refusal:
            return refusal

    def close(self) -> None:
        self._connection.disconnect()


def refused(error: ResponseError) -> BrokerError:
    """A refusal as ours: one that passes by itself, or one that does not."""
    text = str(error)
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if code in _TRANSIENT or any(word in text for word in ("LOADING", "READONLY", "MISCONF")):
        return BrokerUnavailable(f"Redis cannot serve now: {code} {text}")
    if "OOM" in text or "out of memory" in text.lower():
        return Backpressure("Redis is out of memory and takes no new jobs; drain, or raise its maxmemory")
    return BrokerError(f"Redis refused: {text}")


async def persist(attempt: Callable[[], Awaitable[_Reply]], *, deadline_s: float) -> _Reply:
    """Repeat an idempotent exchange until it is answered or the deadline (monotonic, s) has passed.

    Raises:
        NoReply: it may have been carried out; also when a later try was refused.
        BrokerUnavailable, or what refused it: it was not carried out.
    """
    pause, unanswered = _FIRST_PAUSE_S, None
    while True:
        try:
            return await attempt()
        except BrokerUnavailable as error:
            unanswered = error if isinstance(error, NoReply) else unanswered
            if time.monotonic() + pause >= deadline_s:
                raise (unanswered or error) from error
        except BrokerError as error:
            raise (unanswered or error) from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _with_source(command: Command) -> list[Value]:
    script = ALL[str(command[1])]
    return ["EVAL", script.source, *command[2:]]


def _keepalive() -> dict[int, int]:
    names = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in names.items() if hasattr(socket, name)}
