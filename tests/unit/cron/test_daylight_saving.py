"""What is due where clocks are set, by table: local times as the wall says them, with the offset from UTC."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from jobqueue.cron import CronSchedule

# (zone, expression, after, the next ticks)
TABLE = [
    # 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October 2026.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
    ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ("Europe/Berlin", "0 9-17 29 3 *", "2026-03-28T12:00+01:00", ["2026-03-29T09:00+02:00", "2026-03-29T10:00+02:00"]),
    # Several fixed times left out, and the one at the jump itself, are one tick.
    ("Europe/Berlin", "0,20 2,3 * * *", "2026-03-29T00:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-29T03:20+02:00"]),
    ("Europe/Berlin", "*/30 * * * *", "2026-03-29T01:30+01:00", ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]),
    ("Europe/Berlin", "30 * * * *", "2026-03-29T01:00+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]),
    (
        *("Europe/Berlin", "30 * * * *", "2026-10-25T01:30+02:00"),
        ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"],
    ),
    # An interval within an hour that is left out has nothing to do that day.
    ("Europe/Berlin", "*/30 2 * * *", "2026-03-28T02:30+01:00", ["2026-03-30T02:00+02:00", "2026-03-30T02:30+02:00"]),
    (
        *("Europe/Berlin", "*/30 2 * * *", "2026-10-25T00:00+02:00"),
        ["2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00"],
    ),
    # 02:00 becomes 03:00 on 8 March 2026, 02:00 becomes 01:00 on 1 November 2026.
    ("America/New_York", "30 1 * * *", "2026-10-31T12:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
    ("America/New_York", "0 2 * * *", "2026-03-07T12:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"]),
    ("America/New_York", "0 */2 * * *", "2026-03-08T00:00-05:00", ["2026-03-08T04:00-04:00"]),
    # Midnight is left out on 6 September 2026, and 23:00 comes again on 4 April 2026.
    ("America/Santiago", "0 0 * * *", "2026-09-05T12:00-04:00", ["2026-09-06T01:00-03:00", "2026-09-07T00:00-03:00"]),
    ("America/Santiago", "30 23 * * *", "2026-04-04T12:00-03:00", ["2026-04-04T23:30-03:00", "2026-04-05T23:30-04:00"]),
    (
        *("America/Santiago", "30 * * * *", "2026-04-04T23:00-03:00"),
        ["2026-04-04T23:30-03:00", "2026-04-04T23:30-04:00", "2026-04-05T00:30-04:00"],
    ),
    # Half an hour: 02:00 becomes 02:30 on 4 October 2026, 02:00 becomes 01:30 on 5 April 2026.
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00+10:30", ["2026-10-04T02:30+11:00"]),
    (
        *("Australia/Lord_Howe", "*/15 * * * *", "2026-10-04T01:45+10:30"),
        ["2026-10-04T02:30+11:00", "2026-10-04T02:45+11:00"],
    ),
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T12:00+11:00",
        ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"],
    ),
    (
        *("Australia/Lord_Howe", "*/15 * * * *", "2026-04-05T01:45+11:00"),
        ["2026-04-05T01:30+10:30", "2026-04-05T01:45+10:30", "2026-04-05T02:00+10:30"],
    ),
    # Midnight became 01:00 on 4 November 2018, the last time; before, midnight became 23:00 on 17 February.
    ("America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00-03:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
    ("America/Sao_Paulo", "@hourly", "2018-11-03T23:00-03:00", ["2018-11-04T01:00-02:00", "2018-11-04T02:00-02:00"]),
    (
        "America/Sao_Paulo",
        "30 23 * * *",
        "2018-02-17T12:00-02:00",
        ["2018-02-17T23:30-02:00", "2018-02-18T23:30-03:00"],
    ),
    ("America/Sao_Paulo", "0 0 * * *", "2026-11-03T12:00-03:00", ["2026-11-04T00:00-03:00"]),
    # 15 August 2015: midnight became 23:30 of the 14th. 4 May 2018: 23:30 became midnight.
    ("Asia/Pyongyang", "45 23 * * *", "2015-08-14T12:00+09:00", ["2015-08-14T23:45+09:00", "2015-08-15T23:45+08:30"]),
    ("Asia/Pyongyang", "45 23 * * *", "2018-05-04T12:00+08:30", ["2018-05-05T00:00+09:00", "2018-05-05T23:45+09:00"]),
    # 30 December 2011 did not exist in Samoa.
    (
        *("Pacific/Apia", "0 9 * * *", "2011-12-29T09:00-10:00"),
        ["2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00"],
    ),
    ("Pacific/Apia", "0 */12 * * *", "2011-12-29T12:00-10:00", ["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"]),
    ("Pacific/Apia", "0 9 30 12 *", "2011-01-01T00:00-10:00", ["2011-12-31T00:00+14:00", "2012-12-30T09:00+14:00"]),
    # Kwajalein left out 21 August 1993; in 1969 it had most of 30 September twice.
    ("Pacific/Kwajalein", "0 12 * * *", "1993-08-20T12:00-12:00", ["1993-08-22T00:00+12:00", "1993-08-22T12:00+12:00"]),
    ("Pacific/Kwajalein", "0 12 * * *", "1969-09-30T00:00+11:00", ["1969-09-30T12:00+11:00", "1969-10-01T12:00-12:00"]),
    (
        *("Pacific/Kwajalein", "0 */12 * * *", "1969-09-30T00:00+11:00"),
        ["1969-09-30T12:00+11:00", "1969-09-30T12:00-12:00", "1969-10-01T00:00-12:00"],
    ),
    # The clock goes back for Ramadan, and forward after it.
    ("Africa/Casablanca", "30 2 * * *", "2025-02-22T12:00+01:00", ["2025-02-23T02:30+01:00", "2025-02-24T02:30+00:00"]),
    ("Africa/Casablanca", "30 2 * * *", "2025-04-05T12:00+00:00", ["2025-04-06T03:00+01:00", "2025-04-07T02:30+01:00"]),
    # In 2015 the clock went back two weeks later than planned; since 2016 it stays on summer time.
    ("Europe/Istanbul", "30 3 * * *", "2015-11-07T12:00+03:00", ["2015-11-08T03:30+03:00", "2015-11-09T03:30+02:00"]),
    ("Europe/Istanbul", "30 3 * * *", "2016-10-29T12:00+03:00", ["2016-10-30T03:30+03:00", "2016-10-31T03:30+03:00"]),
    # Liberia gave up an offset of 44 minutes and 30 seconds: the jump is not on a whole minute of the new time.
    ("Africa/Monrovia", "30 0 7 1 *", "1972-01-06T12:00+00:00", ["1972-01-07T00:44:30+00:00"]),
]


@pytest.mark.parametrize(("zone", "expression", "after", "ticks"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_ticks_where_clocks_are_set(zone: str, expression: str, after: str, ticks: list[str]) -> None:
    cron = CronSchedule.parse(expression, timezone=zone)
    tick: datetime | None = datetime.fromisoformat(after)
    found = []
    for _ in ticks:
        assert tick is not None
        tick = cron.next(tick)
        found.append(tick)

    assert [local(tick, zone) for tick in found] == [datetime.fromisoformat(tick).isoformat() for tick in ticks]


@pytest.mark.parametrize(("zone", "expression", "after", "ticks"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_the_same_ticks_backwards(zone: str, expression: str, after: str, ticks: list[str]) -> None:
    cron = CronSchedule.parse(expression, timezone=zone)
    tick: datetime | None = datetime.fromisoformat(ticks[-1]) + timedelta(microseconds=1)
    found = []
    for _ in ticks:
        assert tick is not None
        tick = cron.previous(tick)
        found.append(tick)

    assert [local(tick, zone) for tick in reversed(found)] == [datetime.fromisoformat(t).isoformat() for t in ticks]


@pytest.mark.parametrize(("zone", "expression", "after", "ticks"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_the_tick_before_a_tick_is_another_one(zone: str, expression: str, after: str, ticks: list[str]) -> None:
    cron = CronSchedule.parse(expression, timezone=zone)
    first = datetime.fromisoformat(ticks[0])

    last = cron.previous(first)

    assert last is not None
    assert last < first
    assert cron.next(last) == first


@pytest.mark.parametrize(
    ("expression", "before", "tick"),
    [
        # Between the two passes of 02:00 to 02:59, and after both.
        ("30 2 * * *", "2026-10-25T02:10+01:00", "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", "2026-10-25T02:00+01:00", "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", "2026-10-25T03:30+01:00", "2026-10-25T02:30:00+02:00"),
        ("*/30 2 * * *", "2026-10-25T02:10+01:00", "2026-10-25T02:00:00+01:00"),
        ("*/30 2 * * *", "2026-10-25T02:00+01:00", "2026-10-25T02:30:00+02:00"),
        # Months later.
        ("30 2 25 10 *", "2026-12-01T00:00+01:00", "2026-10-25T02:30:00+02:00"),
        ("*/30 2 25 10 *", "2026-12-01T00:00+01:00", "2026-10-25T02:30:00+01:00"),
        ("30 2 29 3 *", "2026-12-01T00:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("*/30 2 29 3 *", "2026-12-01T00:00+01:00", "2025-03-29T02:30:00+01:00"),
    ],
)
def test_the_last_tick_before_an_instant_after_the_clock_was_set(expression: str, before: str, tick: str) -> None:
    cron = CronSchedule.parse(expression, timezone="Europe/Berlin")

    assert local(cron.previous(datetime.fromisoformat(before)), "Europe/Berlin") == tick


@pytest.mark.parametrize(
    ("expression", "tick"),
    [
        ("30 2 25 10 *", "2026-10-25T02:30:00+02:00"),
        ("*/30 2 25 10 *", "2026-10-25T02:00:00+02:00"),
        ("30 2 29 3 *", "2026-03-29T03:00:00+02:00"),
        ("*/30 2 29 3 *", "2027-03-29T02:00:00+02:00"),
    ],
)
def test_the_next_tick_when_the_clock_is_set_months_later(expression: str, tick: str) -> None:
    cron = CronSchedule.parse(expression, timezone="Europe/Berlin")

    assert local(cron.next(datetime(2026, 1, 1, tzinfo=UTC)), "Europe/Berlin") == tick


@pytest.mark.parametrize("expression", ["30 2 * * *", "5,35 1-3 * * *", "0 0-23 * * *"])
def test_a_fixed_time_said_twice_is_not_due_again_when_asked_between_the_two(expression: str) -> None:
    """cronsim answers with 02:30 in summer time here, half an hour before it was asked."""
    cron = CronSchedule.parse(expression, timezone="Europe/Berlin")
    second_pass = datetime(2026, 10, 25, 2, 1, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    theirs = next(CronSim("30 2 * * *", second_pass)).astimezone(UTC)

    tick = cron.next(second_pass)

    assert theirs < second_pass.astimezone(UTC)
    assert tick is not None
    assert local(tick, "Europe/Berlin") >= "2026-10-25T03:00:00+01:00"


@pytest.mark.parametrize(
    ("expression", "after", "ticks"),
    [
        ("0 30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0 30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("10,50 30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:10+02:00"]),
        ("*/30 30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-30T02:30:00+02:00", "2026-03-30T02:30:30+02:00"]),
    ],
)
def test_six_fields_follow_the_same_rule_by_their_second_minute_and_hour(
    expression: str, after: str, ticks: list[str]
) -> None:
    """cronsim takes every expression of six fields for an interval, so that a nightly job is left out in spring."""
    cron = CronSchedule.parse(expression, timezone="Europe/Berlin", seconds=True)

    first = cron.next(datetime.fromisoformat(after))

    assert first is not None
    assert [local(first, "Europe/Berlin"), local(cron.next(first), "Europe/Berlin")] == ticks


def test_an_interval_that_is_always_left_out_never_comes_and_the_search_ends() -> None:
    """02:00 to 02:59 on the last Sunday of March: what Berlin leaves out since 1981."""
    cron = CronSchedule.parse("* 2 * 3 sunL", timezone="Europe/Berlin")

    assert cron.next(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert cron.previous(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(1980, 3, 30, 1, 59, tzinfo=UTC)


def local(tick: datetime | None, zone: str) -> str:
    assert tick is not None
    assert tick.tzinfo is UTC
    return tick.astimezone(ZoneInfo(zone)).isoformat()
