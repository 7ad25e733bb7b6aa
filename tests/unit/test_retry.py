import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.errors import ConfigError
from jobqueue.retry import Jitter, RetryPolicy

SECOND = timedelta(seconds=1)
YEAR = timedelta(days=365)
JITTERS: list[Jitter] = ["full", "equal", "decorrelated", "none"]

microseconds = st.integers(min_value=0, max_value=YEAR // timedelta(microseconds=1))
small = st.integers(min_value=0, max_value=100)
failure_counts = st.integers(min_value=1, max_value=70) | st.sampled_from([1000, 10**6, 10**18])


@st.composite
def policies(draw: st.DrawFn, jitter: Jitter | None = None) -> RetryPolicy:
    base, longest = sorted(timedelta(microseconds=draw(microseconds | small)) for _ in range(2))
    return RetryPolicy(base=base, max_delay=longest, jitter=draw(st.sampled_from([jitter] if jitter else JITTERS)))


def test_the_bound_doubles_up_to_the_longest_delay() -> None:
    policy = RetryPolicy(base=SECOND, max_delay=timedelta(seconds=60))

    assert [policy.bound(failures).total_seconds() for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_defaults_are_three_retries_with_full_jitter() -> None:
    policy = RetryPolicy()

    assert (policy.max_retries, policy.base, policy.max_delay) == (3, SECOND, timedelta(hours=1))
    assert policy.jitter == "full"


@given(policies(), failure_counts)
def test_the_bound_never_shrinks_and_never_passes_the_longest_delay(policy: RetryPolicy, failures: int) -> None:
    """By way of a float and a rounding, 1 µs doubled thrice passed a longest delay of 7 µs."""
    assert policy.base <= policy.bound(failures) <= policy.bound(failures + 1) <= policy.max_delay


@given(policies(), st.integers(1, 63))
def test_the_bound_is_the_formula_of_the_documentation(policy: RetryPolicy, failures: int) -> None:
    microsecond = timedelta(microseconds=1)

    assert policy.bound(failures) // microsecond == min(
        policy.base // microsecond * 2 ** (failures - 1), policy.max_delay // microsecond
    )


@given(policies(), failure_counts, st.randoms(use_true_random=False))
def test_no_delay_is_negative_or_longer_than_the_longest(
    policy: RetryPolicy, failures: int, rng: random.Random
) -> None:
    assert timedelta(0) <= policy.delay(failures, rng) <= policy.max_delay


@given(policies(jitter="full"), failure_counts, st.randoms(use_true_random=False))
def test_full_jitter_stays_below_the_bound(policy: RetryPolicy, failures: int, rng: random.Random) -> None:
    assert timedelta(0) <= policy.delay(failures, rng) <= policy.bound(failures)


@given(policies(jitter="equal"), failure_counts, st.randoms(use_true_random=False))
def test_equal_jitter_stays_in_the_upper_half(policy: RetryPolicy, failures: int, rng: random.Random) -> None:
    """Two halves of 3 µs, each rounded, made 4 µs."""
    bound = policy.bound(failures)

    assert bound / 2 - timedelta(microseconds=1) <= policy.delay(failures, rng) <= bound


@given(policies(jitter="decorrelated"), failure_counts, st.randoms(use_true_random=False))
def test_decorrelated_jitter_stays_between_base_and_the_longest(
    policy: RetryPolicy, failures: int, rng: random.Random
) -> None:
    assert policy.base <= policy.delay(failures, rng) <= policy.max_delay


@given(policies(jitter="none"), failure_counts)
def test_without_jitter_the_delay_is_the_bound(policy: RetryPolicy, failures: int) -> None:
    assert policy.delay(failures, random.Random()) == policy.bound(failures)


def delays(jitter: Jitter, failures: int = 4) -> list[float]:
    policy, rng = RetryPolicy(base=SECOND, max_delay=timedelta(minutes=10), jitter=jitter), random.Random(17)
    return [policy.delay(failures, rng).total_seconds() for _ in range(2000)]


@pytest.mark.parametrize(
    ("jitter", "least", "most"),
    [("full", 0, 8), ("equal", 4, 8), ("decorrelated", 1, 81), ("none", 8, 8)],
)
def test_jitter_fills_its_range(jitter: Jitter, least: float, most: float) -> None:
    drawn = delays(jitter)

    assert least <= min(drawn) <= least + 0.05 * max(1, most - least)
    assert most * (0.5 if jitter == "decorrelated" else 0.95) <= max(drawn) <= most


def test_full_jitter_is_half_the_bound_on_average() -> None:
    drawn = delays("full")

    assert sum(drawn) / len(drawn) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("jitter", JITTERS)
def test_the_same_randomness_gives_the_same_delay(jitter: Jitter) -> None:
    assert delays(jitter) == delays(jitter)


@pytest.mark.parametrize("jitter", JITTERS)
def test_a_job_that_failed_for_ages_still_has_a_delay(jitter: Jitter) -> None:
    policy = RetryPolicy(base=timedelta(days=300), max_delay=YEAR, jitter=jitter)

    assert policy.delay(10**9, random.Random(1)) <= YEAR


@pytest.mark.parametrize("jitter", JITTERS)
def test_a_base_of_zero_means_at_once(jitter: Jitter) -> None:
    policy = RetryPolicy(base=timedelta(0), jitter=jitter)

    assert policy.delay(100, random.Random(1)) == timedelta(0)


class Refused(ConnectionError): ...


@pytest.mark.parametrize(
    ("retry_on", "give_up_on", "error", "retried"),
    [
        ((), (), ValueError(), True),
        ((), (ValueError,), ValueError(), False),
        ((), (ValueError,), KeyError(), True),
        ((ConnectionError,), (), ConnectionError(), True),
        ((ConnectionError,), (), Refused(), True),
        ((ConnectionError,), (), ValueError(), False),
        ((ConnectionError,), (Refused,), Refused(), False),
        ((ConnectionError,), (Refused,), ConnectionError(), True),
        ((ConnectionError, KeyError), (), KeyError(), True),
        ((Refused,), (ConnectionError,), Refused(), False),
        ((), (Exception,), ValueError(), False),
    ],
)
def test_which_errors_are_retried(retry_on: Any, give_up_on: Any, error: Exception, retried: bool) -> None:
    assert RetryPolicy(retry_on=retry_on, give_up_on=give_up_on).retries(error) is retried


def test_a_single_error_type_needs_no_tuple() -> None:
    policy = RetryPolicy(retry_on=ConnectionError, give_up_on=Refused)  # type: ignore[arg-type]

    assert (policy.retry_on, policy.give_up_on) == ((ConnectionError,), (Refused,))


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_retries": -1}, ConfigError, "max_retries must be from 0 to 1000, got -1"),
    ({"max_retries": 1001}, ConfigError, "max_retries must be from 0 to 1000, got 1001"),
    ({"max_retries": True}, TypeError, "max_retries must be a whole number, got True"),
    ({"max_retries": 3.0}, TypeError, "max_retries must be a whole number, got 3.0"),
    ({"max_retries": None}, TypeError, "max_retries must be a whole number, got None"),
    ({"base": 1}, TypeError, r"base must be a timedelta such as timedelta\(seconds=1\), got 1"),
    ({"base": "1s"}, TypeError, "base must be a timedelta"),
    ({"max_delay": 60.0}, TypeError, "max_delay must be a timedelta"),
    ({"base": timedelta(seconds=-1)}, ConfigError, "base must be from 0 to 365 days"),
    ({"max_delay": timedelta(days=366)}, ConfigError, "max_delay must be from 0 to 365 days"),
    ({"base": timedelta(hours=2)}, ConfigError, r"base \(2:00:00\) must not exceed max_delay \(1:00:00\)"),
    ({"jitter": "some"}, ConfigError, "jitter must be one of full, equal, decorrelated, none, got 'some'"),
    ({"jitter": []}, ConfigError, "jitter must be one of"),
    ({"retry_on": ("ValueError",)}, TypeError, "retry_on must be a tuple of exception types, got 'ValueError'"),
    ({"retry_on": (ValueError, int)}, TypeError, "retry_on must be a tuple of exception types, got <class 'int'>"),
    ({"give_up_on": ValueError()}, TypeError, r"give_up_on must be a tuple of exception types, got ValueError\(\)"),
    ({"give_up_on": [ValueError]}, TypeError, "give_up_on must be a tuple of exception types, got "),
    ({"give_up_on": None}, TypeError, "give_up_on must be a tuple of exception types, got None"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_option_is_refused_with_the_rule(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RetryPolicy(**options)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        RetryPolicy().max_retries = 5  # type: ignore[misc]
