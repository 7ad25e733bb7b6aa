import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import Clock, SystemClock, format_duration, from_ms, parse_duration, to_ms
from jobqueue.testing.clock import ManualClock

durations = st.integers(min_value=0, max_value=100 * 365 * 86_400_000).map(lambda ms: timedelta(milliseconds=ms))
moments = st.integers(min_value=0, max_value=253_402_300_799_999)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("2d", timedelta(days=2)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("0.5ms", timedelta(microseconds=500)),
        ("0s", timedelta(0)),
        ("007s", timedelta(seconds=7)),
    ],
)
def test_a_duration_reads_as_people_write_it(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "5 s",
        " 5s",
        "5s\n",
        "5S",
        "-5s",
        "+5s",
        "s",
        ".5s",
        "5.s",
        "1e3s",
        "5w",
        "5s5",
        "٣s",
        "1_0s",
        "\0",
    ],
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write e\.g\. 500ms, 30s, 5m, 1h, 1h30m or 2d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1000000000d", "9" * 400 + "h", "9" * 5000 + "ms"])
def test_a_duration_beyond_all_bounds_is_a_value_error(text: str) -> None:
    """It was an OverflowError, which the reader of settings did not expect."""
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert duration >= timedelta(0)


@given(durations)
def test_what_is_formatted_reads_back_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1), "1ms"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=1), "1d"),
        (timedelta(hours=25), "1d1h"),
        (timedelta(microseconds=1500), "2ms"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_a_duration_is_written_in_its_largest_units(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(durations)
def test_milliseconds_count_a_duration_exactly(duration: timedelta) -> None:
    assert timedelta(milliseconds=to_ms(duration)) == duration


@given(moments)
def test_an_instant_keeps_its_millisecond_up_to_the_year_9999(ms: int) -> None:
    """By way of a float, 9999-12-31T23:59:59.999 became the year 10000 and raised."""
    instant = from_ms(ms)

    assert (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == ms
    assert instant.tzinfo is UTC


def test_the_last_instant_of_all_has_a_datetime() -> None:
    assert from_ms(253_402_300_799_999) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_the_system_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()

    before, now, after = time.time_ns() // 1_000_000, clock.now_ms(), time.time_ns() // 1_000_000

    assert before <= now <= after
    assert clock.monotonic() <= time.monotonic()


def test_the_manual_clock_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock()
    wall, monotonic = clock.now_ms(), clock.monotonic()

    assert (clock.now_ms(), clock.monotonic()) == (wall, monotonic)

    clock.advance(timedelta(seconds=1.5))

    assert clock.now_ms() == wall + 1500
    assert clock.monotonic() == monotonic + 1.5


def test_the_manual_clock_begins_where_it_is_told() -> None:
    clock: Clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))

    assert from_ms(clock.now_ms()) == datetime(2030, 1, 1, tzinfo=UTC)


def test_the_manual_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="never goes back"):
        ManualClock().advance(timedelta(seconds=-1))


def test_the_manual_clock_takes_no_bare_number() -> None:
    with pytest.raises(TypeError, match="timedelta"):
        ManualClock().advance(5)  # type: ignore[arg-type]


def test_the_manual_clock_begins_at_an_aware_instant() -> None:
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2030, 1, 1))
