import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueue.cron import MAX_EXPRESSION_CHARS, CronSchedule
from jobqueue.cron.fields import LAST, read, tidy
from jobqueue.errors import InvalidSchedule, JobQueueError

EVERY_HOUR = frozenset(range(24))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5", {5}),
        ("05", {5}),
        ("1,3,3", {1, 3}),
        ("10-12", {10, 11, 12}),
        ("5-5", {5}),
        ("4-4/46", {4}),
        ("*/20", {0, 20, 40}),
        ("*/59", {0, 59}),
        ("10-20/5", {10, 15, 20}),
        ("50/5", {50, 55}),
        ("*/30,5-6", {0, 5, 6, 30}),
    ],
)
def test_numbers_ranges_steps_and_lists(text: str, minutes: set[int]) -> None:
    assert read(f"{text} * * * *", seconds=False).minutes.values == minutes


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("sun", {0}),
        ("0", {0}),
        ("7", {0}),
        ("Mon-FRI", {1, 2, 3, 4, 5}),
        ("5-7", {0, 5, 6}),
        ("fri-sun", {0, 5, 6}),
        ("mon-sun", {0, 1, 2, 3, 4, 5, 6}),
        ("0-7", {0, 1, 2, 3, 4, 5, 6}),
        ("*", {0, 1, 2, 3, 4, 5, 6}),
        ("sun-tue", {0, 1, 2}),
        ("1-7/2", {0, 1, 3, 5}),
        ("*/2", {0, 2, 4, 6}),
        ("mon,wed", {1, 3}),
    ],
)
def test_0_and_7_are_sunday(text: str, days: set[int]) -> None:
    assert read(f"0 0 * * {text}", seconds=False).weekdays.values == days


def test_the_last_day_and_the_nth_weekday() -> None:
    fields = read("0 0 1,L jan-mar fri#2,5L,friL,7#1", seconds=False)

    assert (fields.days.values, fields.days.last_day) == ({1}, True)
    assert fields.months.values == {1, 2, 3}
    assert fields.weekdays.nth == {(5, 2), (5, LAST), (0, 1)}


@pytest.mark.parametrize(
    ("macro", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_macro_is_the_expression_that_it_stands_for(macro: str, same: str) -> None:
    assert read(macro, seconds=False) == read(same, seconds=False)
    assert CronSchedule.parse(macro).expression == macro
    assert CronSchedule.parse(macro, seconds=True).seconds


def test_seconds_come_first() -> None:
    fields = read("10 20 3 * * *", seconds=True)

    assert fields.seconds is not None
    assert (fields.seconds.values, fields.minutes.values, fields.hours.values) == ({10}, {20}, {3})


def test_spaces_between_fields_do_not_count() -> None:
    spaced = CronSchedule.parse(" 0\t9  * * mon-fri ")

    assert spaced == CronSchedule.parse("0 9 * * mon-fri")
    assert hash(spaced) == hash(CronSchedule.parse("0 9 * * mon-fri"))
    assert spaced.expression == "0 9 * * mon-fri"
    assert spaced != CronSchedule.parse("0 9 * * mon-fri", timezone="Europe/Madrid")


@pytest.mark.parametrize(
    ("expression", "interval"),
    [
        ("*/5 * * * *", True),
        ("30 * * * *", True),
        ("* 2 * * *", True),
        ("*/10 2 * * *", True),
        ("0 */2 * * *", True),
        ("@hourly", True),
        ("30 2 * * *", False),
        ("0,30 9-17 * * *", False),
        ("0 0-23 * * *", False),
        ("0-59/5 0 * * *", False),
        ("5,*/10 0 * * *", False),
        ("@daily", False),
    ],
)
def test_an_interval_is_what_has_a_star_before_its_minute_or_hour(expression: str, interval: bool) -> None:
    assert read(expression, seconds=False).interval is interval


@pytest.mark.parametrize(
    ("expression", "interval"), [("* 30 2 * * *", True), ("0 30 2 * * *", False), ("0-59 30 2 * * *", False)]
)
def test_or_before_its_second(expression: str, interval: bool) -> None:
    assert read(expression, seconds=True).interval is interval


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "has 0 fields: it takes five fields (minute, hour, day of month, month, day of week)"),
        ("9", "has 1 field:"),
        ("a b", "has 2 fields"),
        ("* * * *", "has 4 fields"),
        ("0 0 0 1 1 * 2026", "has 7 fields"),
        ("* * * * * *", "six with the seconds first when seconds=True is given"),
        ("60 * * * *", "minute '60': '60' is not a number from 0 to 59"),
        ("-1 * * * *", "minute '-1': '' is not a number from 0 to 59"),
        ("* 24 * * *", "hour '24': '24' is not a number from 0 to 23"),
        ("* * 0 * *", "day of month '0': '0' is not a number from 1 to 31"),
        ("* * * 13 *", "month '13': '13' is not a number from 1 to 12 or a name from jan to dec"),
        ("* * * mon *", "month 'mon': 'mon' is not a number from 1 to 12 or a name from jan to dec"),
        ("* * * * 8", "day of week '8': '8' is not a number from 0 to 7 or a name from sun to sat"),
        ("jan * * * *", "'jan' is not a number from 0 to 59"),
        ("*/0 * * * *", "a step is a number from 1 to 59, and starts anew with each hour"),
        ("*/90 * * * *", "a step is a number from 1 to 59, and starts anew with each hour"),
        ("* */24 * * *", "a step is a number from 1 to 23, and starts anew with each day"),
        ("*/5/5 * * * *", "a step is a number from 1 to 59"),
        ("*/-5 * * * *", "a step is a number from 1 to 59"),
        ("0 0 1--100000000 * *", "'-100000000' is not a number from 1 to 31"),
        ("0 0 1-100000000 * *", "'100000000' is not a number from 1 to 31"),
        ("0-59/100000000 * * * *", "a step is a number from 1 to 59"),
        ("* 22-2 * * *", "the range '22-2' ends before it begins; write it as two, e.g. 22-23,0-2"),
        ("* * * nov-feb *", "e.g. 11-12,1-2"),
        ("* * * * fri-mon", "e.g. 5-6,0-1"),
        ("1,,2 * * * *", "'' is not a number from 0 to 59"),
        ("1-2-3 * * * *", "'2-3' is not a number"),
        ("*,5 * * * *", "'*' is every value already"),
        ("0 0 * * 1/2", "a step of weekdays needs a range"),
        ("0 0 ? * *", "write * for any"),
        ("0 0 15W * *", "the weekday nearest to a day is not taken"),
        ("0 0 LW * *", "is not taken"),
        ("0 0 L-3 * *", "'L' is not a number from 1 to 31"),
        ("0 0 * * L", "write friL for the last Friday of the month"),
        ("0 0 * * fri#6", "after '#' comes 1 to 5"),
        ("0 0 * * mon-fri#1", "'mon-fri' is not a number"),
        ("0 0 * * L5", "'L5' is not a number"),
        ("H * * * *", "spread schedules with jitter="),
        ("R(0-5) * * * *", "spread schedules with jitter="),
        ("@reboot", "is not one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"),
        ("@every 5m", "is not one of @hourly"),
        ("CRON_TZ=UTC 0 0 * * *", "name the time zone with timezone="),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 */31 * mon#5", "never comes"),
        ("*" * (MAX_EXPRESSION_CHARS + 1), "at most 100 characters, this one has 101"),
        ("٣ * * * *", "it is written in ASCII"),
        ("0 0 * * ﬁ", "it is written in ASCII"),
        ("0\xa00 * * *", "it is written in ASCII"),
        ("0 0 * *\n*", "it is written in ASCII"),
        ("0 0 * * *\x00", "it is written in ASCII"),
        ("\ud800", "it is written in ASCII"),
    ],
)
def test_what_is_refused_says_why_and_what_to_write(expression: str, told: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        CronSchedule.parse(expression)

    assert told in str(refused.value)
    assert "cron expression" in str(refused.value)
    assert str(refused.value).isprintable()
    assert isinstance(refused.value, JobQueueError)


def test_five_fields_are_refused_when_six_are_due() -> None:
    with pytest.raises(InvalidSchedule, match="write '0 0 9 \\* \\* mon-fri'"):
        CronSchedule.parse("0 9 * * mon-fri", seconds=True)


@pytest.mark.parametrize("thing", [None, 5, b"* * * * *", ["*"]])
def test_what_is_no_text_is_refused(thing: object) -> None:
    with pytest.raises(InvalidSchedule, match="is text, got"):
        CronSchedule.parse(thing)  # type: ignore[arg-type]


ALPHABET = "0123456789*,-/#LlWw?@ \t\n\x00abcdefghijklmnopqrstuvwxyz()=é٣"
tokens = st.sampled_from(
    ["*", "*/", "1", "5-", "31", "60", "mon", "L", "#", "@daily", ",", "-", "/", "10000000000", "?"]
)
hostile = (
    st.text()
    | st.text(ALPHABET, max_size=120)
    | st.lists(st.lists(tokens, max_size=4).map("".join), min_size=5, max_size=6).map(" ".join)
)


@settings(max_examples=3_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 100)
@given(hostile, st.booleans())
@example("L L L L L", False)
@example("0 0 L * 0L", False)
@example("0 0 */31 */11 5L", False)
@example("0 0 L * 0#5", False)
def test_any_text_is_read_or_refused_and_nothing_else(text: str, seconds: bool) -> None:
    try:
        cron = CronSchedule.parse(text, seconds=seconds)
    except InvalidSchedule:
        return
    assert read(tidy(text), seconds=seconds) == read(cron.expression, seconds=seconds)
    assert cron.describe()
