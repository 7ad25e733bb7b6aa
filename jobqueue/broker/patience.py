"""A timeout for silence: it begins again while bytes move.

A large reply on a slow network would else never be read to its end, be asked for again, and again,
for as long as the lease is kept.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.connection import AbstractConnection

_MOST_TIMES = 20
_SLOWEST = 64 * 1024  # bytes/s: what the kernel has taken from us may take so long to arrive


class Patience:
    """Watches the bytes of one connection."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._heard = 0
        self._on_its_way_s = 0.0
        self._timer: asyncio.TimerHandle

    def connected(self) -> None:
        """The connection is a new one: count what arrives on it."""
        reader = self._connection._reader
        assert reader is not None
        feed = reader.feed_data

        def counted(data: Any) -> None:
            self._heard += len(data)
            feed(data)

        reader.feed_data = counted  # type: ignore[method-assign]

    def sending(self, packed: list[bytes]) -> None:
        """A request is about to be sent."""
        self._on_its_way_s = sum(map(len, packed)) / _SLOWEST

    @asynccontextmanager
    async def within(self, silence_s: float) -> AsyncIterator[None]:
        """Raise TimeoutError when nothing has moved for *silence_s*, or it has begun again too often."""
        loop = asyncio.get_running_loop()
        times, moved = _MOST_TIMES, self._moved()
        self._on_its_way_s = 0.0

        def look() -> None:
            nonlocal times, moved
            before, moved = moved, self._moved()
            if moved != before and times:
                times -= 1
                self._timer = loop.call_later(silence_s, look)
            elif moved == before and self._on_its_way_s:
                self._timer = loop.call_later(self._on_its_way_s, look)
                self._on_its_way_s = 0.0
            else:
                limit.reschedule(loop.time())

        self._timer = loop.call_later(silence_s, look)
        try:
            async with asyncio.timeout(None) as limit:
                yield
        finally:
            self._timer.cancel()

    def _moved(self) -> int:
        writer = self._connection._writer
        return self._heard - (0 if writer is None else writer.transport.get_write_buffer_size())
