"""A timeout for silence: it begins again while bytes move.

A large reply on a slow network would else never be read to its end, be asked for again, and again,
for as long as the lease is kept.
"""

import asyncio
from typing import Any

_MOST_TIMES = 20
_SLOWEST = 64 * 1024  # bytes/s: what the kernel has taken from us may take so long to arrive


class Patience:
    """Watches the bytes of one connection.

    One timer serves all its exchanges: it looks when it runs out, and is not set anew by each (2 µs).
    """

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waiting: asyncio.Future[Any] | None = None
        self._silence_s = self._until = 0.0
        self._times_left = 0
        self._seen = 0
        self._on_its_way_s = 0.0
        self.heard = 0
        """Bytes received so far; counted by whoever receives them."""

    def begin(self, waiting: "asyncio.Future[Any]", silence_s: float, size: int) -> None:
        """*waiting* is answered with TimeoutError when nothing has moved for *silence_s*, or it has begun again too
        often. To be called before the request, of *size* bytes, is written."""
        self._waiting, self._silence_s = waiting, silence_s
        self._until = self._loop.time() + silence_s
        self._times_left, self._seen = _MOST_TIMES, self._moved()
        self._on_its_way_s = size / _SLOWEST
        if self._timer is None or self._until < self._timer_at:
            self._set_timer()

    def end(self) -> None:
        """The exchange is over."""
        self._waiting = None

    def stop(self) -> None:
        """The connection is closed."""
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._until
        self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None or self._waiting.done():
            return
        now = self._loop.time()
        if now >= self._until:
            before, self._seen = self._seen, self._moved()
            if self._seen != before and self._times_left:
                self._times_left -= 1
                self._until = now + self._silence_s
            elif self._seen == before and self._on_its_way_s:
                self._until = now + self._on_its_way_s
                self._on_its_way_s = 0.0
            else:
                self._waiting.set_exception(TimeoutError())
                return
        self._set_timer()

    def _moved(self) -> int:
        return self.heard - self._transport.get_write_buffer_size()
