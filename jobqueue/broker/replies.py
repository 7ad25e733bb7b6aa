"""The hot half of a connection that redis-py has opened: requests straight to the transport, replies straight from it.

redis-py resolves the name, secures, authenticates; its stream and its parser, a coroutine and a
timeout each, cost four times what is done here. An exchange costs about 12 µs of Python.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, InvalidResponse

from jobqueue.broker.patience import Patience

_NOTHING: Final = object()


class Replies(asyncio.Protocol):
    """Takes the place of redis-py's stream on an open connection. One exchange at a time."""

    def __init__(self, connection: AbstractConnection) -> None:
        writer = connection._writer
        assert writer is not None
        self._transport = writer.transport
        self._loop = asyncio.get_running_loop()
        self._parse_error: Callable[[str], Exception] = connection._parser.parse_error
        self._parser = hiredis.Reader(protocolError=InvalidResponse, replyError=self._refusal, notEnoughData=_NOTHING)
        self._patience = Patience(self._transport)
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._ended = False
        self._wanted = 0
        self._replies: list[Any] = []
        self.refused = False
        """Whether there is an error among the replies to the last exchange."""
        # What redis-py waits for when it closes the connection is still told to its protocol.
        self._before: Any = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def fit(self) -> bool:
        """Whether it can take an exchange: not when the server has closed it, or has sent what nobody asked for."""
        return not (self._ended or self._transport.is_closing() or self._parser.has_data())

    async def exchange(self, packed: bytes, wanted: int, silence_s: float) -> list[Any]:
        """Send a request and return its *wanted* replies; refusals come as exceptions among them.

        Raises:
            TimeoutError: see `Patience`. ConnectionError: closed. InvalidResponse: this is no Redis.
        """
        waiting: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiting = waiting
        self._wanted, self._replies, self.refused = wanted, [], False
        self._patience.begin(waiting, silence_s, len(packed))
        self._transport.write(packed)
        try:
            return await waiting
        finally:
            self._waiting = None
            self._patience.end()

    def stop(self) -> None:
        """Nothing more is asked of it."""
        self._patience.stop()

    def data_received(self, data: bytes) -> None:
        self._patience.heard += len(data)
        self._parser.feed(data)
        waiting = self._waiting
        if waiting is None or waiting.done():
            return
        try:
            while len(self._replies) < self._wanted:
                reply = self._parser.gets()
                if reply is _NOTHING:
                    return
                self._replies.append(reply)
        except InvalidResponse as error:
            waiting.set_exception(error)
            return
        waiting.set_result(self._replies)

    def eof_received(self) -> bool | None:
        self._end(ConnectionError("Connection closed by server."))
        keep: bool | None = self._before.eof_received()
        return keep

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("Connection closed."))
        self._patience.stop()
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

    def _end(self, error: Exception) -> None:
        self._ended = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def _refusal(self, text: str) -> Exception:
        self.refused = True
        return self._parse_error(text)
