"""How long to wait before a failed job is tried again. Pure: randomness is passed in."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, get_args

from jobqueue.errors import ConfigError

Jitter = Literal["full", "equal", "decorrelated", "none"]
RetryFunction = Callable[[int, BaseException], timedelta | None]
"""Given the number of failures so far (1 is the first) and the error: the delay, or None to give up."""

_JITTERS: Final = get_args(Jitter)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, and which errors are worth another try.

    The delay after failure number *n* is drawn below `min(base * 2**(n - 1), max_delay)`:

    - `full`: evenly from 0 to that bound (the default; spreads a crowd best)
    - `equal`: the upper half of it
    - `decorrelated`: evenly from `base` to three times the previous delay, at most `max_delay`
    - `none`: the bound itself

    *retry_on*, when given, lists the only errors that are retried; *give_up_on* lists errors that
    are never retried, and wins.
    """

    max_retries: int = 3
    base: timedelta = timedelta(seconds=1)
    max_delay: timedelta = timedelta(hours=1)
    jitter: Jitter = "full"
    retry_on: tuple[type[BaseException], ...] = field(default=())
    give_up_on: tuple[type[BaseException], ...] = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int):
            raise TypeError(f"max_retries must be a whole number, got {self.max_retries!r}")
        if not 0 <= self.max_retries <= 1000:
            raise ConfigError(f"max_retries must be from 0 to 1000, got {self.max_retries}")
        for name in ("base", "max_delay"):
            value = getattr(self, name)
            if not isinstance(value, timedelta):
                raise TypeError(f"{name} must be a timedelta such as timedelta(seconds=1), got {value!r}")
            if not timedelta(0) <= value <= timedelta(days=365):
                raise ConfigError(f"{name} must be from 0 to 365 days, got {value}")
        if self.base > self.max_delay:
            raise ConfigError(f"base ({self.base}) must not exceed max_delay ({self.max_delay})")
        if self.jitter not in _JITTERS:
            raise ConfigError(f"jitter must be one of {', '.join(_JITTERS)}, got {self.jitter!r}")
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _error_types(name, getattr(self, name)))

    def retries(self, error: BaseException) -> bool:
        """Whether this kind of error is worth another try at all."""
        if isinstance(error, self.give_up_on):
            return False
        return not self.retry_on or isinstance(error, self.retry_on)

    def bound(self, failures: int) -> timedelta:
        """The exponential bound after that many failures (1 is the first), before jitter."""
        # In whole microseconds: exact, and without overflow; 365 days are less than 2**45 of them.
        doublings = max(0, min(failures - 1, 62))
        base, longest = self.base // _MICROSECOND, self.max_delay // _MICROSECOND
        return min(base << doublings, longest) * _MICROSECOND

    def delay(self, failures: int, rng: random.Random) -> timedelta:
        """The delay before the next attempt after that many failures (1 is the first)."""
        bound = self.bound(failures)
        match self.jitter:
            case "full":
                return bound * rng.random()
            case "equal":
                return bound * (0.5 + rng.random() / 2)
            case "decorrelated":
                return self._decorrelated(failures, rng)
            case "none":
                return bound

    def _decorrelated(self, failures: int, rng: random.Random) -> timedelta:
        # The chain is drawn anew rather than remembered: same distribution, and nothing to store.
        delay = self.base
        for _ in range(min(failures, 64)):
            delay = min(self.max_delay, self.base + (delay * 3 - self.base) * rng.random())
        return delay


def _error_types(name: str, value: object) -> tuple[type[BaseException], ...]:
    return tuple(_error_type(name, each) for each in (value if isinstance(value, tuple) else (value,)))


def _error_type(name: str, value: object) -> type[BaseException]:
    if isinstance(value, type) and issubclass(value, BaseException):
        return value
    raise TypeError(f"{name} must be a tuple of exception types, got {value!r}")
