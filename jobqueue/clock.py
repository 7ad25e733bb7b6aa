"""Time: the clock that is passed in, and durations as people write them."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What the library asks of a clock; tests pass `jobqueue.testing.ManualClock`."""

    def now_ms(self) -> int:
        """Wall time in ms since the epoch, for records. Never decides what is due."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for measuring and for local deadlines."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)


def to_ms(duration: timedelta) -> int:
    """A duration as whole milliseconds, rounded to the nearest."""
    return round(duration / timedelta(milliseconds=1))


def from_ms(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware UTC datetime."""
    return _EPOCH + timedelta(milliseconds=ms)


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `30s`, `5m`, `1h`, `2d` or a sum such as `1h30m`.

    Raises:
        ValueError: the text is no duration; the message says what one looks like.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a duration; write e.g. 500ms, 30s, 5m, 1h, 1h30m or 2d")
    ms = sum(float(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))
    try:
        return timedelta(milliseconds=ms)
    except OverflowError as error:
        raise ValueError(f"{text[:40]!r} is too long for a duration") from error


def format_duration(duration: timedelta) -> str:
    """The form that `parse_duration` reads back, in whole milliseconds: `1h30m`, `500ms`, `0s`.

    A negative duration has a minus in front, for people only.
    """
    if duration < timedelta(0):
        return "-" + format_duration(-duration)
    rest, parts = to_ms(duration), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
