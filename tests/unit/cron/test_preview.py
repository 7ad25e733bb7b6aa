from datetime import UTC, datetime

import pytest

from jobqueue.cron import CronSchedule, TickPreview


def preview(expression: str, zone: str, after: str, count: int) -> list[tuple[str, str | None]]:
    shown = CronSchedule.parse(expression, timezone=zone).preview(datetime.fromisoformat(after), count)
    assert all(each.at.tzinfo is UTC and each.local == each.at for each in shown)
    return [(each.local.strftime("%d %H:%M%z"), each.note) for each in shown]


def test_each_tick_is_told_in_utc_and_in_the_zone() -> None:
    (first, second) = CronSchedule.parse("0 9 * * *", timezone="Asia/Tokyo").preview(
        datetime(2026, 1, 1, 12, tzinfo=UTC), 2
    )

    assert first == TickPreview(at=datetime(2026, 1, 2, tzinfo=UTC), local=first.local, note=None)
    assert first.local.isoformat() == "2026-01-02T09:00:00+09:00"
    assert (second.at - first.at).days == 1


def test_a_fixed_time_that_does_not_exist() -> None:
    assert preview("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00+01:00", 3) == [
        ("28 02:30+0100", None),
        ("29 03:00+0200", "the clock goes forward here: 02:30 does not exist"),
        ("30 02:30+0200", None),
    ]


def test_a_fixed_time_that_comes_twice() -> None:
    assert preview("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00+02:00", 2) == [
        ("25 02:30+0200", "the clock goes back: 02:30 comes twice; this is the first, and it is not due again"),
        ("26 02:30+0100", "the clock goes back before this: UTC+01:00 from now on"),
    ]


def test_an_interval_where_the_clock_goes_back() -> None:
    assert preview("*/30 * * * *", "Europe/Berlin", "2026-10-25T01:30+02:00", 5) == [
        ("25 02:00+0200", "the clock goes back: 02:00 comes twice; this is the first"),
        ("25 02:30+0200", "the clock goes back: 02:30 comes twice; this is the first"),
        ("25 02:00+0100", "the clock goes back: 02:00 comes twice; this is the second"),
        ("25 02:30+0100", "the clock goes back: 02:30 comes twice; this is the second"),
        ("25 03:00+0100", None),
    ]


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("*/5 * * * *", "the clock goes forward here: 02:00 to 02:55 do not exist"),
        ("*/20 * * * *", "the clock goes forward here: 02:00, 02:20 and 02:40 do not exist"),
        ("10,20 2,3 * * *", "the clock goes forward here: 02:10 and 02:20 do not exist"),
        ("15 * * * *", "the clock goes forward before this: 02:15 does not exist"),
        ("0 9 * * *", "the clock goes forward before this: UTC+02:00 from now on"),
        ("0 3 * * *", "the clock goes forward here: UTC+02:00 from now on"),
    ],
)
def test_the_times_that_are_left_out_are_named(expression: str, note: str) -> None:
    (first,) = preview(expression, "Europe/Berlin", "2026-03-29T01:55+01:00", 1)

    assert first[1] == note


def test_a_day_that_is_left_out_is_named_with_its_date() -> None:
    assert preview("0 9 * * *", "Pacific/Apia", "2011-12-29T10:00-10:00", 2) == [
        ("31 00:00+1400", "the clock goes forward here: 2011-12-30 09:00 does not exist"),
        ("31 09:00+1400", None),
    ]


def test_there_are_as_many_as_asked_for_or_as_there_are() -> None:
    cron = CronSchedule.parse("0 0 29 2 *")

    assert cron.preview(datetime(2026, 1, 1, tzinfo=UTC), 0) == []
    assert len(cron.preview(datetime(2026, 1, 1, tzinfo=UTC), 12)) == 12
    assert [each.at.year for each in cron.preview(datetime(8990, 1, 1, tzinfo=UTC), 12)] == [8992, 8996]
