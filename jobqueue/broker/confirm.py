"""Waiting until what was enqueued is as safe as was asked: WAITAOF and WAIT, on the connection of the enqueue.

Both tell how far this connection's last write has come. That is why a repeated batch writes, too.
"""

import time
from typing import Any

from redis.exceptions import ResponseError

from jobqueue.broker.connection import Command, Line, NoReply, translate, with_source
from jobqueue.durability import Durability
from jobqueue.errors import ConfigError

# Of what is left: the rest is for another try, on a connection to whoever is the primary then.
_PART_FOR_ONE_WAIT = 0.7
_REPLY_S = 1.0
_SHOW: Command = ["CONFIG", "GET", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"]
_WRITES_THROUGH = {b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}


class Unconfirmed(NoReply):
    """It was carried out, and is not as safe as was asked."""

    carried_out = True


class Confirmation:
    """What follows a write, for one durability."""

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._has_waitaof = True

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
        (shown,) = await line.exchange([_SHOW], at=at)
        if not _writes_through(shown):
            raise ConfigError(
                "durability fsync needs WAITAOF (Redis 7.2, Valkey 7.2), or appendonly yes, appendfsync always and "
                "no-appendfsync-on-rewrite no, which CONFIG GET must be allowed to show"
            )
        self._has_waitaof = False

    async def call(self, line: Line, command: Command, *, deadline_s: float) -> Any:
        """Carry out *command*, and wait until its effect is safe.

        Raises:
            Unconfirmed: done, but not safe yet: call again with a command that is safe to repeat.
        """
        if self._durability.level == "local":
            return await line.call(command)
        wait_s = max(0.001, (deadline_s - time.monotonic()) * _PART_FOR_ONE_WAIT)
        # With its source: a script that is not known would be sent again behind a wait for nothing.
        commands = [with_source(command), self._wait(wait_s)]
        reply, confirmed = await line.exchange(commands, timeout_s=wait_s + _REPLY_S)
        if isinstance(reply, ResponseError):
            raise translate(reply, "this connection", sent=True) from reply
        shortage = self._shortage(confirmed)
        if shortage is not None:
            await line.close()  # perhaps it leads to a server that was replaced
            raise Unconfirmed(f"queued, but not {self._durability}: {shortage}")
        return reply

    def _wait(self, wait_s: float) -> Command:
        if self._durability.level == "replicated":
            return ["WAIT", self._durability.replicas, int(wait_s * 1000) or 1]
        return ["WAITAOF", 1, 0, int(wait_s * 1000) or 1] if self._has_waitaof else _SHOW

    def _shortage(self, confirmed: Any) -> str | None:
        """What is missing; None when it is as safe as was asked."""
        if isinstance(confirmed, ResponseError):
            return f"that cannot be confirmed: {confirmed}"
        if self._durability.level == "replicated":
            missing = confirmed < self._durability.replicas
            return f"{confirmed} of {self._durability.replicas} replicas have it" if missing else None
        if self._has_waitaof:
            return None if confirmed[0] >= 1 else "it is not on disk yet"
        return None if _writes_through(confirmed) else "the server does not write through any more"


def _writes_through(shown: Any) -> bool:
    if isinstance(shown, ResponseError):
        return False
    told = dict(zip(shown[::2], shown[1::2], strict=True))
    return all(told.get(name) == value for name, value in _WRITES_THROUGH.items())
