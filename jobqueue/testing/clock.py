"""A clock that stands still until it is told to move."""

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class ManualClock:
    """A `jobqueue.clock.Clock` for tests: both of its clocks move together, by `advance` only."""

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must be an aware datetime such as {_START!r}, got {start!r}")
        self._start = start
        self._elapsed = timedelta(0)

    def now_ms(self) -> int:
        return (self._start + self._elapsed - _EPOCH) // _MILLISECOND

    def monotonic(self) -> float:
        return self._elapsed.total_seconds()

    def advance(self, duration: timedelta) -> None:
        """Let *duration* pass at once."""
        if not isinstance(duration, timedelta):
            raise TypeError(f"advance takes a timedelta such as timedelta(seconds=30), got {duration!r}")
        if duration < timedelta(0):
            raise ValueError(f"a clock never goes back, got {duration}")
        self._elapsed += duration
