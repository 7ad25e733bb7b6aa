"""Waiting until what was enqueued is as safe as was asked: WAITAOF and WAIT, on the connection of the enqueue.

Both tell how far this connection's last write has come. That is why a repeated batch writes, too.
"""

import time
from typing import Any

import structlog
from redis.exceptions import ResponseError

from jobqueue.broker.connection import Command, Line, NoReply, translate
from jobqueue.durability import Durability
from jobqueue.errors import ConfigError

# One wait is shorter than a reply may take; the caller repeats it until its own deadline.
_LONGEST_WAIT_S = 1.0

_log = structlog.get_logger("jobqueue.broker")


class Unconfirmed(NoReply):
    """It was carried out, and is not as safe as was asked."""


class Confirmation:
    """What follows a write, for one durability."""

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._waits = durability.level != "local"

    async def prepare(self, line: Line, *, at: str) -> None:
        """Find out, before anything is written, whether the server can tell.

        Raises:
            ConfigError: it cannot keep this durability.
        """
        if self._durability.level != "fsync":
            return
        (reply,) = await line.exchange([["WAITAOF", 1, 0, 1]], at=at)
        if not isinstance(reply, ResponseError):
            return
        if "unknown command" not in str(reply).lower():
            raise ConfigError(f"durability fsync is not possible here: {reply}; set appendonly yes on the server")
        # Before Redis 7.2 only a server that writes through answers when it is on disk.
        if await _writes_through(line, at):
            self._waits = False
            return
        raise ConfigError(
            "durability fsync needs WAITAOF (Redis 7.2, Valkey 7.2), or appendonly yes and appendfsync always, "
            "which CONFIG GET must be allowed to show"
        )

    async def call(self, line: Line, command: Command, *, deadline_s: float) -> Any:
        """Carry out *command*, and wait until its effect is safe.

        Raises:
            Unconfirmed: done, but not safe yet: call again with a command that is safe to repeat.
        """
        if not self._waits:
            return await line.call(command)
        wait = self._wait(deadline_s - time.monotonic())
        reply, confirmed = await line.exchange([command, wait])
        if isinstance(reply, ResponseError):
            raise translate(reply, "this connection", sent=True) from reply
        if isinstance(confirmed, ResponseError):
            raise Unconfirmed(f"queued, but {self._durability} cannot be confirmed: {confirmed}") from confirmed
        if not self._enough(confirmed):
            raise Unconfirmed(f"queued, but not {self._durability}: {self._shortage(confirmed)}")
        return reply

    def _wait(self, seconds_left: float) -> list[str | int]:
        wait_ms = max(1, int(min(seconds_left, _LONGEST_WAIT_S) * 1000))
        if self._durability.level == "fsync":
            return ["WAITAOF", 1, 0, wait_ms]
        return ["WAIT", self._durability.replicas, wait_ms]

    def _enough(self, confirmed: Any) -> bool:
        if self._durability.level == "fsync":
            return bool(confirmed[0] >= 1)
        return bool(confirmed >= self._durability.replicas)

    def _shortage(self, confirmed: Any) -> str:
        if self._durability.level == "fsync":
            return "it is not on disk yet"
        return f"{confirmed} of {self._durability.replicas} replicas have it"


async def _writes_through(line: Line, at: str) -> bool:
    (reply,) = await line.exchange([["CONFIG", "GET", "append*"]], at=at)
    if isinstance(reply, ResponseError):
        return False
    told = dict(zip(reply[::2], reply[1::2], strict=True))
    return told.get(b"appendonly") == b"yes" and told.get(b"appendfsync") == b"always"
