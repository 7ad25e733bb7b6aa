"""Executions counted by the minute."""

import math
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from jobqueue.repository.postgres.minute import LIMITS_MS, counts_of, quantile, took

MINUTE_0 = datetime(2000, 1, 1, tzinfo=UTC)


def test_each_limit_is_at_most_1_28_times_the_one_before() -> None:
    assert max(high / low for low, high in pairwise(LIMITS_MS)) == pytest.approx(1.28)
    assert (LIMITS_MS[0], LIMITS_MS[-1], len(LIMITS_MS)) == (0.1, 1e8, 91)


@pytest.mark.parametrize(
    ("duration_ms", "number"),
    [(0.0, 0), (-1.0, 0), (0.099, 0), (0.1, 1), (1.2, 11), (1.25, 12), (1e8, 91), (math.inf, 91), (math.nan, 91)],
)
def test_a_duration_has_a_class_whatever_it_is(duration_ms: float, number: int) -> None:
    assert took("completed", duration_ms) == number
    assert took("retrying", duration_ms) == 0


def test_counts_are_rows_in_one_order_and_each_key_is_there_once() -> None:
    minutes = Counter({(7, "b", "dead", 0): 2, (7, "a", "completed", 9): 1, (6, "z", "snoozed", 0): 3})
    minutes |= Counter({(8, "q\x00", "dead", 0): 1, (8, "q\\x00", "dead", 0): 4})  # the same, once it can be stored
    minutes |= Counter({(9, "long" * 900, "dead", 0): 1, (9, "long" * 901, "dead", 0): 1})

    assert counts_of(minutes) == [
        (MINUTE_0 + timedelta(minutes=6), "z", "snoozed", 0, False, 3),
        (MINUTE_0 + timedelta(minutes=7), "a", "completed", 9, False, 1),
        (MINUTE_0 + timedelta(minutes=7), "b", "dead", 0, True, 2),
        (MINUTE_0 + timedelta(minutes=8), "q\\x00", "dead", 0, True, 5),
        (MINUTE_0 + timedelta(minutes=9), "long" * 50, "dead", 0, True, 2),
    ]


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_quantile_is_off_by_no_more_than_its_class(seed: int, fraction: float) -> None:
    random = Random(seed)
    durations = sorted(random.lognormvariate(random.uniform(0, 9), 2) + 0.1 for _ in range(random.randrange(1, 500)))
    classes = sorted(Counter(took("completed", each) for each in durations).items())

    true = durations[math.ceil(fraction * len(durations)) - 1]

    assert 1 / 1.281 <= quantile(classes, fraction) / true <= 1.281


def test_a_quantile_beyond_the_limits_is_the_nearest_of_them() -> None:
    assert quantile([(0, 5)], 0.5) == pytest.approx(0.05)
    assert quantile([(91, 5)], 0.5) == 1e8
    assert bisect_left(LIMITS_MS, quantile([(40, 1), (60, 1)], 0.5)) == 40
