"""Lines to Redis, and the one place where its errors become ours.

redis-py makes, secures and authenticates the connection and parses the replies. Its own retries are
off: they repeat writes. A line carries one exchange at a time and reconnects for the next; `dialer`
makes them.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from jobqueue.broker.replies import Replies
from jobqueue.broker.scripts import ALL, Value
from jobqueue.errors import Backpressure, BrokerError, BrokerUnavailable

Command = Sequence[Value]
_pack: Callable[[Any], bytes] = hiredis.pack_command

_TRANSIENT = (
    "LOADING",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
    "UNBLOCKED",
)
_PASSES = (AskError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
_ELSEWHERE = (ReadOnlyError, MasterDownError)  # the primary is another by now: its name must be resolved again


class NoReply(BrokerUnavailable):
    """The command was sent and may have been carried out; its reply never came."""

    carried_out = False
    """Whether it is known to have been."""


class Line(ABC):
    """Carries commands to the server that they concern, and brings their replies."""

    def __init__(self, where: str) -> None:
        self._where = where

    async def call(self, command: Command, *, at: str | None = None, timeout_s: float | None = None) -> Any:
        """Send one command and return its reply. A command without a key goes to the node of the key *at*.

        Raises:
            NoReply: sent, unanswered. BrokerUnavailable: not carried out. Backpressure: out of memory.
        """
        (reply,) = await self.exchange((command,), at=at, timeout_s=timeout_s)
        if isinstance(reply, ResponseError):
            raise translate(reply, self._where, sent=True) from reply
        return reply

    @abstractmethod
    async def exchange(
        self, commands: Sequence[Command], *, at: str | None = None, timeout_s: float | None = None
    ) -> list[Any]:
        """Send commands in one write and return their replies; refusals come as `ResponseError` values.

        A script that the server does not know did not run: it is loaded and called again.
        """

    @property
    @abstractmethod
    def reopened(self) -> int:
        """How often it has connected after the first time, there or elsewhere.

        What a server confirmed before, the one of now may not know.
        """

    @abstractmethod
    async def close(self) -> None:
        """End its connections; the next exchange opens them anew."""


class NodeLine(Line):
    """One connection, one exchange at a time."""

    def __init__(
        self,
        connection: AbstractConnection,
        where: str,
        timeout_s: float,
        *,
        is_stale: Callable[[AbstractConnection], bool] | None = None,
    ) -> None:
        super().__init__(where)
        self._is_stale = is_stale
        # Whole exchanges are bounded here. redis-py would send with `asyncio.wait_for`, which costs a task
        # a command, and before Python 3.12 may swallow a cancellation: its loop would then go on for ever.
        connection.socket_timeout = None
        self._connection = connection
        self._timeout_s = timeout_s
        self._replies: Replies | None = None
        self.opened = 0
        """How often it has connected."""
        self._turn = asyncio.Lock()
        self._in_line = 0

    async def exchange(
        self, commands: Sequence[Command], *, at: str | None = None, timeout_s: float | None = None
    ) -> list[Any]:
        if not commands:
            return []
        await (self._take_turn() if self._turn.locked() or self._in_line else self._turn.acquire())
        try:
            replies = await self._exchange(commands, timeout_s)
            missing = _not_run(replies)
            if missing:
                again = await self._exchange([with_source(commands[n]) for n in missing], timeout_s)
                for n, reply in zip(missing, again, strict=True):
                    replies[n] = reply
            return replies
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        """Wait for those who came before, but not for all their timeouts."""
        self._in_line += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise BrokerUnavailable(f"Redis at {self._where} does not answer; others wait for it too") from error
        finally:
            self._in_line -= 1

    async def _exchange(self, commands: Sequence[Command], timeout_s: float | None) -> list[Any]:
        silence_s = self._timeout_s if timeout_s is None else timeout_s
        sent = False
        try:
            channel = self._replies
            if channel is None or not channel.fit or (self._is_stale is not None and self._is_stale(self._connection)):
                channel = await self._open(silence_s)
            packed = b"".join([_pack(tuple(command)) for command in commands])
            sent = True
            replies = await channel.exchange(packed, len(commands), silence_s)
            if channel.refused:
                _raise_broken(replies)
                if any(map(_is_elsewhere, replies)):
                    await self._disconnect()
            return replies
        except (RedisError, OSError, TimeoutError) as error:
            await self._disconnect()
            raise translate(error, self._where, sent=sent) from error
        except BaseException:
            # Somebody else's reply must never be read as ours: a broken-off exchange ends the connection.
            await self._disconnect()
            raise

    async def _open(self, timeout_s: float) -> Replies:
        """A new connection."""
        await self._disconnect()
        async with asyncio.timeout(timeout_s):
            await self._connection.connect()  # type: ignore[no-untyped-call]
        self._replies = Replies(self._connection)
        self.opened += 1
        return self._replies

    @property
    def reopened(self) -> int:
        return max(0, self.opened - 1)

    async def _disconnect(self) -> None:
        if self._replies is not None:
            self._replies.stop()
            self._replies = None
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        if self._replies is not None:
            self._replies.stop()
            self._replies = None
        await self._connection.disconnect()


def _raise_broken(replies: Sequence[Any]) -> None:
    """Raise what redis-py takes for the end of a connection: the server is loading, or does not know us any more."""
    for reply in replies:
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply


def _is_elsewhere(reply: Any) -> bool:
    """Whether this server is no primary any more, or is cut off from its replicas: who is has to be asked anew."""
    return isinstance(reply, _ELSEWHERE) or (isinstance(reply, ResponseError) and "NOREPLICAS" in _code(reply))


def _code(error: ResponseError) -> str:
    return getattr(error, "status_code", None) or str(error).partition(" ")[0]


class BlockingLine(ABC):
    """A `Line` for a thread of its own."""

    def __init__(self, where: str) -> None:
        self._where = where

    def call_each(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and return their replies; raises on the first refusal."""
        replies = self.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise translate(reply, self._where, sent=True) from reply
        return replies

    @abstractmethod
    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """As `Line.exchange`."""

    @abstractmethod
    def close(self) -> None:
        """End the connection, also under an exchange of another thread."""


class BlockingNodeLine(BlockingLine):
    """One connection."""

    def __init__(self, connection: Any, where: str, *, is_stale: Callable[[Any], bool] | None = None) -> None:
        super().__init__(where)
        self._is_stale = is_stale
        self._connection = connection

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies = self._exchange(commands)
        missing = _not_run(replies)
        if missing:
            again = self._exchange([with_source(commands[n]) for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        return replies

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            if self._is_stale is not None and self._is_stale(connection):
                connection.disconnect()
            connection.connect()
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [self._read() for _ in commands]
            if any(map(_is_elsewhere, replies)):
                connection.disconnect()
            return replies
        except (RedisError, OSError, ValueError) as error:
            # ValueError: the socket was closed by another thread, which is how a beat is cut short.
            connection.disconnect()
            raise translate(error, self._where, sent=True) from error

    def _read(self) -> Any:
        try:
            return self._connection.read_response(disconnect_on_error=False)
        except ResponseError as refusal:
            return refusal

    def close(self) -> None:
        self._connection.disconnect()


def translate(error: Exception, where: str, *, sent: bool) -> BrokerError:
    """redis-py's error as ours."""
    if isinstance(error, AuthenticationError | NoPermissionError):
        return BrokerError(f"Redis at {where} refuses us: {error}")
    if isinstance(error, BusyLoadingError):  # which redis-py takes for a lost connection
        return BrokerUnavailable(f"Redis at {where} is loading its data")
    if isinstance(error, OutOfMemoryError):
        return Backpressure(f"Redis at {where} is out of memory and takes no new jobs; drain, or raise its maxmemory")
    if isinstance(error, ResponseError):
        return refused(error)
    what = _in_short(error)
    kind = NoReply if sent else BrokerUnavailable
    return kind(f"Redis at {where} cannot be reached ({what})")


def _in_short(error: Exception) -> str:
    if type(error).__name__ == "MasterNotFoundError":  # by name: its module loads all of redis-py
        # redis-py shows its objects for each Sentinel.
        reasons = sorted(set(re.findall(r"(?:network:|- )(\w+Error)", str(error))))
        return f"no Sentinel answers: {', '.join(reasons)}" if reasons else "the Sentinels know no primary of this name"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def refused(error: ResponseError) -> BrokerError:
    """A refusal as ours: one that passes by itself, or one that does not."""
    text = str(error)
    code = _code(error)
    passes = isinstance(error, _PASSES) or code in _TRANSIENT
    if passes or any(word in text for word in ("LOADING", "READONLY", "MISCONF")):
        return BrokerUnavailable(f"Redis cannot serve now: {code} {text}")
    if "OOM" in text or "out of memory" in text.lower():
        return Backpressure("Redis is out of memory and takes no new jobs; drain, or raise its maxmemory")
    return BrokerError(f"Redis refused: {text}")


def with_source(command: Command) -> list[Value]:
    """The same call for a server that may not know the script."""
    if command[0] != "EVALSHA":
        return list(command)
    return ["EVAL", ALL[str(command[1])].source, *command[2:]]


def _not_run(replies: Sequence[Any]) -> list[int]:
    """Ordinals of scripts that the server did not know."""
    return [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
