"""Executions counted by the minute in which they ended, so that statistics need not read every row.

The durations of completed ones are counted by class. Hot: about 0.3 µs a row, in `pack_executions`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final, TypeAlias

from jobqueue.outcome import storable
from jobqueue.repository.postgres.row import NOT_FAILED, Row

MINUTE: Final = timedelta(minutes=1)
STEPS: Final = ("1", "1.25", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8")
LIMITS_MS: Final = (*(float(f"{step}e{power}") for power in range(-1, 8) for step in STEPS), 1e8)
"""Between the classes of duration: 0.1 ms to 28 h, each at most 1.28 times the one before (the preferred numbers R10).
The function `jobqueue.duration_class` has the same ones."""

_MOST_CHARS: Final = 200  # of a name in the key: an index refuses long ones
_ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FINISHED_AT, _QUEUE, _OUTCOME, _DURATION_MS = 1, 3, 9, 13


CLASSES: Final = len(LIMITS_MS) + 1

Minutes: TypeAlias = Counter[tuple[int, str, str, int]]
"""Executions by minute, counted from 2000 on, queue, outcome and class of duration."""

Count = tuple[datetime, str, str, int, bool, int]
"""A row of `execution_minutes` to be added, without its namespace."""


class Ends(list[int]):
    """When executions of one queue ended with one outcome, and how long they took: minute * CLASSES + class."""

    def __init__(self, queue: str, outcome: str) -> None:
        self.queue, self.outcome = queue, outcome


def took(outcome: str, duration_ms: float) -> int:
    """The class of a duration: the number of limits that it has reached; 0 unless it completed."""
    return bisect_right(LIMITS_MS, duration_ms) if outcome == "completed" else 0


def minutes_of_ends(many: Iterable[Ends]) -> Minutes:
    """The counts of what was noted in them."""
    minutes: Minutes = Counter()
    for ends in many:
        completed = ends.outcome == "completed"
        for end, executions in Counter(ends).items():
            minute, took = divmod(end, CLASSES)
            minutes[minute, ends.queue, ends.outcome, took if completed else 0] += executions
    return minutes


def minutes_of(rows: Iterable[Row]) -> Minutes:
    """The counts of rows of `EXECUTIONS`."""
    return Counter(
        (
            (row[_FINISHED_AT] - _ZERO) // MINUTE,
            row[_QUEUE],
            row[_OUTCOME],
            took(row[_OUTCOME], row[_DURATION_MS]),
        )
        for row in rows
    )


def counts_of(minutes: Minutes) -> list[Count]:
    """The counts as rows, each key once, in the one order in which every shipper locks them."""
    merged: Minutes = Counter()
    for (minute, queue, outcome, took), executions in minutes.items():
        merged[minute, storable(queue)[:_MOST_CHARS], storable(outcome)[:_MOST_CHARS], took] += executions
    return [
        (_ZERO + minute * MINUTE, queue, outcome, took, outcome not in NOT_FAILED, executions)
        for (minute, queue, outcome, took), executions in sorted(merged.items())
    ]


def quantile(classes: Sequence[tuple[int, int]], fraction: float) -> float:
    """The duration (ms) that *fraction* of them did not exceed, of (class, executions) in ascending order.

    It lies in the class of the true one, so between 0.1 ms and 28 h it is off by at most a factor of 1.28; more than
    that is said to be 28 h. Within a class they are taken to be spread evenly.
    """
    sums = list(accumulate(executions for _, executions in classes))
    rank = fraction * sums[-1]
    at = next(n for n, upto in enumerate(sums) if upto >= rank)
    number, executions = classes[at]
    if number == len(LIMITS_MS):
        return LIMITS_MS[-1]
    low, high = LIMITS_MS[number - 1] if number else 0.0, LIMITS_MS[number]
    return low + (high - low) * (rank - sums[at] + executions) / executions
