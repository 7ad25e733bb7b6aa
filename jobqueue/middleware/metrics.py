"""Counters of one worker process; the exposition reads them from here."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """What a worker process has counted since it began.

    `settled` counts (queue, type, outcome); `seconds` sums the handlers' time over (queue, type).
    """

    settled: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    leases_lost: int = 0
    leaked_handlers: int = 0

    def count(self, queue: str, type: str, outcome: str, seconds: float, n: int = 1) -> None:
        """*n* settled attempts that took *seconds* in all."""
        self.settled[queue, type, outcome] += n
        key = (queue, type)
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds
