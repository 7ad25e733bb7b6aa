"""One direction of a connection: what was sent and is not delivered yet."""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from testutil.proxy.condition import Conditions

_FULL = 2**20  # bytes held; the sender is then no longer read
_SLICES_PER_SECOND = 50  # how often a throttled lane delivers


class Lane:
    """Delivers to *target* in order, as fast as the conditions let it; before there is a target it holds everything."""

    def __init__(self, look: Callable[[], Conditions], on_full: Callable[[], None]) -> None:
        self.target: asyncio.Transport | None = None
        self._look = look
        self._on_full = on_full
        self._held: deque[tuple[float, bytes | Callable[[], None]]] = deque()
        self.held_bytes = 0
        self._was_full = False
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        return self.held_bytes > _FULL

    @property
    def is_empty(self) -> bool:
        return not self._held

    def put(self, item: bytes | Callable[[], None]) -> None:
        """Deliver bytes, or call something when all before it is delivered."""
        conditions = self._look()
        due = asyncio.get_running_loop().time() + conditions.latency_s
        if conditions.jitter_s:
            due += random.uniform(0.0, conditions.jitter_s)
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, item))
        if isinstance(item, bytes):
            self.held_bytes += len(item)
        self.deliver()

    def deliver(self) -> None:
        """Deliver what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        conditions = self._look()
        while self._held and self.target is not None and not conditions.stalled:
            wait = self._wait(conditions)
            if wait > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self.deliver)
                break
            self._deliver_next(conditions.bytes_per_second)
        if self.is_full != self._was_full:
            self._was_full = self.is_full
            self._on_full()

    def _wait(self, conditions: Conditions) -> float:
        if not conditions.delays:
            return 0.0
        return max(self._held[0][0], self._free_at) - asyncio.get_running_loop().time()

    def _deliver_next(self, bytes_per_second: float | None) -> None:
        due, item = self._held.popleft()
        if not isinstance(item, bytes):
            item()
            return
        if bytes_per_second:
            length = max(1, int(bytes_per_second / _SLICES_PER_SECOND))
            if len(item) > length:
                self._held.appendleft((due, item[length:]))
                item = item[:length]
            self._free_at = asyncio.get_running_loop().time() + len(item) / bytes_per_second
        self.held_bytes -= len(item)
        if self.target is not None and not self.target.is_closing():
            self.target.write(item)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()
        self.held_bytes = 0
