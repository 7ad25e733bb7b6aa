import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest

from jobqueue.cron import CronSchedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_next_and_previous_are_strict_and_in_whole_seconds() -> None:
    cron = CronSchedule.parse("*/10 * * * *")
    tick = at("2026-01-01T10:10")
    a_bit = timedelta(microseconds=1)

    assert cron.next(tick) == at("2026-01-01T10:20")
    assert cron.next(tick - a_bit) == tick
    assert cron.next(tick + a_bit) == at("2026-01-01T10:20")
    assert cron.previous(tick) == at("2026-01-01T10:00")
    assert cron.previous(tick + a_bit) == tick
    assert cron.previous(tick - a_bit) == at("2026-01-01T10:00")


@pytest.mark.parametrize("expression", ["0 9 * * *", "0 * * * *"])
def test_the_answer_is_in_utc_whatever_the_question_is_in(expression: str) -> None:
    cron = CronSchedule.parse(expression, timezone="Asia/Kolkata")
    asked = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    tick, last = cron.next(asked), cron.previous(asked)

    assert tick is not None
    assert last is not None
    assert tick.tzinfo is UTC
    assert last.tzinfo is UTC
    assert tick == cron.next(asked.astimezone(UTC))
    assert (tick.hour, tick.minute) in ((3, 30), (4, 30))


@pytest.mark.parametrize("ask", ["next", "previous"])
def test_a_naive_datetime_is_refused(ask: str) -> None:
    with pytest.raises(ValueError, match="aware"):
        getattr(CronSchedule.parse("@daily"), ask)(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        # Both day fields restricted: either is enough.
        ("0 0 13 * fri", [2, 9, 13, 16, 23, 30]),
        ("0 0 1-2 * 5#1", [1, 2]),
        ("0 0 L * mon#1", [5, 31]),
        # One begins with a star, even with a step: both must match.
        ("0 0 */2 * fri", [9, 23]),
        ("0 0 13 * */5", []),
        ("0 0 16 * */5", [16]),
        ("0 0 * * fri", [2, 9, 16, 23, 30]),
        ("0 0 13 * *", [13]),
        ("0 0 */2,2 * fri", [2, 9, 23]),
        # The whole range without a star is a restriction: every day.
        ("0 0 1-31 * fri", list(range(1, 32))),
        ("0 0 13 * 0-6", list(range(1, 32))),
        # A star later in the list does not count as one.
        ("0 0 13 * 5,*/6", [2, 3, 4, 9, 10, 11, 13, 16, 17, 18, 23, 24, 25, 30, 31]),
    ],
)
def test_day_of_month_and_day_of_week_as_vixie_cron_has_it(expression: str, days: list[int]) -> None:
    """October 2026 begins with a Thursday."""
    ticks = CronSchedule.parse(expression).ticks(at("2026-09-30T23:59"))

    found = []
    for tick in islice(ticks, 32):
        if (tick.year, tick.month) != (2026, 10):
            break
        found.append(tick.day)

    assert found == days


@pytest.mark.parametrize(
    ("expression", "after", "tick", "back"),
    [
        ("0 0 29 2 *", "2096-03-01", "2104-02-29", "2096-02-29"),
        ("0 0 * 2 mon#5", "2090-01-01", "2112-02-29", "2072-02-29"),
        ("0 0 */28 2 sun#5", "2064-01-01", "2088-02-29", "2060-02-29"),
        ("0 0 L 2 *", "2099-03-01", "2100-02-28", "2099-02-28"),
        ("0 0 31 * *", "2026-02-01", "2026-03-31", "2026-01-31"),
        ("0 0 30,31 * *", "2026-02-01", "2026-03-30", "2026-01-31"),
        ("0 0 31 12 *", "2026-12-31", "2027-12-31", "2025-12-31"),
    ],
)
def test_rare_days_are_found_in_both_directions(expression: str, after: str, tick: str, back: str) -> None:
    cron = CronSchedule.parse(expression)

    assert cron.next(at(after)) == at(tick)
    assert cron.previous(at(after)) == at(back)


def test_ticks_are_from_the_year_1900_until_before_9000() -> None:
    cron = CronSchedule.parse("@yearly")

    assert cron.next(at("8998-06-01")) == at("8999-01-01")
    assert cron.next(at("8999-01-01")) is None
    assert cron.next(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))) is None
    assert cron.previous(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))) == at("8999-01-01")
    assert cron.previous(at("1901-01-01")) == at("1900-01-01")
    assert cron.previous(at("1900-01-01")) is None
    assert cron.previous(datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))) is None
    assert cron.next(datetime.min.replace(tzinfo=timezone(timedelta(hours=12)))) == at("1900-01-01")
    assert list(cron.ticks(at("8997-06-01"))) == [at("8998-01-01"), at("8999-01-01")]


def test_a_schedule_can_be_copied_and_pickled() -> None:
    cron = CronSchedule.parse("30 2 * * fri#2", timezone="Europe/Berlin")

    for other in (copy.deepcopy(cron), pickle.loads(pickle.dumps(cron))):
        assert other == cron
        assert other.next(at("2026-01-01")) == cron.next(at("2026-01-01"))


def test_threads_share_a_schedule() -> None:
    cron = CronSchedule.parse("*/7 1-5 * * mon-fri", timezone="Europe/Berlin")
    starts = [at("2026-01-01") + timedelta(hours=hours) for hours in range(0, 2000, 5)]
    alone = [(cron.next(start), cron.previous(start)) for start in starts]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda start: (cron.next(start), cron.previous(start)), starts))

    assert together == alone
