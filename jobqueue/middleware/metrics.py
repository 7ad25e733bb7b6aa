"""Counters of one worker process; the exposition reads them from here."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

BOUNDS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
"""Upper bounds of the buckets of a histogram, seconds; one more holds what is above."""

OTHER: Final = "other"

_BOUNDS_MS: Final = [bound * 1000 for bound in BOUNDS_S]


@dataclass(slots=True)
class Histogram:
    """How many took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_ms: float = 0.0

    def add(self, ms: list[float] | list[int]) -> None:
        """So many more; sorts them. One below zero counts as zero."""
        ms.sort()
        below = 0
        for n, bound in enumerate(_BOUNDS_MS):
            upto = bisect_right(ms, bound, below)
            self.counts[n] += upto - below
            below = upto
            if upto == len(ms):
                break
        self.counts[-1] += len(ms) - below
        self.sum_ms += sum(ms) if ms[0] >= 0 else sum(each for each in ms if each > 0)


@dataclass(slots=True)
class Metrics:
    """What a worker process has counted since it began.

    `settled` counts (queue, type, outcome); `seconds` sums the handlers' time over (queue, type). Types that are
    not among the *known* are counted as `other`, so that names that somebody makes up take no memory.
    With *timed*, each run's duration and wait are counted in histograms too: 0.45 µs a job (benchmarks/parts.py).
    """

    known: Container[str] | None = None
    timed: bool = False
    settled: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    durations: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    waits: dict[str, Histogram] = field(default_factory=dict)
    leases_lost: int = 0
    leaked_handlers: int = 0

    def count(self, queue: str, type: str, outcome: str, seconds: float, n: int = 1) -> None:
        """*n* settled attempts that took *seconds* in all."""
        type = self.shown(type)
        self.settled[queue, type, outcome] += n
        key = (queue, type)
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def shown(self, type: str) -> str:
        """The name under which *type* is counted."""
        return type if self.known is None or type in self.known else OTHER

    def duration_of(self, queue: str, type: str) -> Histogram:
        """Where runs of this task are to be added."""
        return self.durations.setdefault((queue, self.shown(type)), Histogram())

    def wait_of(self, queue: str) -> Histogram:
        """Where waits on this queue are to be added: from being ready to being started."""
        return self.waits.setdefault(queue, Histogram())
