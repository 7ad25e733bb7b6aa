"""What time it is by the broker's clock, from its replies."""

from datetime import UTC, datetime, timedelta

from jobqueue.scheduler.broker_clock import BrokerClock
from jobqueue.testing import ManualClock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_before_a_reply_nothing_is_known() -> None:
    time = BrokerClock(ManualClock(NOON))

    assert (time.now_ms(), time.silence_s()) == (0, float("inf"))


def test_it_goes_on_from_the_last_reply_by_the_monotonic_clock_whatever_the_hosts_clock_says() -> None:
    clock = ManualClock(NOON)
    time = BrokerClock(clock)
    time.heard(1_000_000)
    clock.advance(timedelta(milliseconds=1_500))

    assert (time.now_ms(), time.silence_s()) == (1_001_500, 1.5)


def test_a_broker_whose_clock_was_set_back_is_believed() -> None:
    clock = ManualClock(NOON)
    time = BrokerClock(clock)
    time.heard(1_000_000)
    clock.advance(timedelta(seconds=1))
    time.heard(500_000)

    assert time.now_ms() == 500_000
