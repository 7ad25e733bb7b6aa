import pytest
from hypothesis import given, settings

from jobqueue.cron import CronSchedule
from tests.unit.cron import expressions as e


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("* * * * *", "every minute"),
        ("*/1 * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("0,30 * * * *", "every 30 minutes"),
        ("*/7 * * * *", "at minutes 0 to 56 in steps of 7 of every hour"),
        ("@hourly", "every hour"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("5,6 * * * *", "at minutes 5 and 6 of every hour"),
        ("1-29 * * * *", "at minutes 1 to 29 of every hour"),
        ("0 */2 * * *", "every 2 hours"),
        ("15 */2 * * *", "every 2 hours, at minute 15"),
        ("0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00, every day"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("30 9-17 * * *", "every hour from 09:30 to 17:30"),
        ("15 1-3,9-12 * * *", "at minute 15 of the hours 1 to 3 and 9 to 12"),
        ("*/15 8-17 * * *", "every 15 minutes from 08:00 to 17:59"),
        ("* 8-9,17-18 * * *", "every minute from 08:00 to 09:59 and from 17:00 to 18:59"),
        ("* 2 * * *", "every minute from 02:00 to 02:59"),
        ("*/10 8,12,16 * * *", "every 10 minutes of the hours 8, 12 and 16"),
        ("5,10 8-17 * * *", "at minutes 5 and 10 of the hours 8 to 17"),
        ("@daily", "at 00:00, every day"),
        ("0 9 * * *", "at 09:00, every day"),
        ("0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30, every day"),
        ("0 9 * * mon-fri", "at 09:00, Monday to Friday"),
        ("0 9 * * 5-7", "at 09:00, Friday to Sunday"),
        ("0 9 * * sat,sun", "at 09:00, every Saturday and Sunday"),
        ("0 9 * * sun", "at 09:00, every Sunday"),
        ("0 9 * * 1,3,5", "at 09:00, every Monday, Wednesday and Friday"),
        ("0 9 * * mon-sun", "at 09:00, every day"),
        ("@weekly", "at 00:00, every Sunday"),
        ("@monthly", "at 00:00, on the 1st of the month"),
        ("@yearly", "at 00:00, on the 1st of January"),
        (
            "0 0 1,2,3,11,12,13,21,22,23,31 * *",
            "at 00:00, on the 1st to 3rd, 11th to 13th, 21st to 23rd and 31st of the month",
        ),
        ("0 0 */7 * *", "at 00:00, on the 1st to 29th in steps of 7 of the month"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 1,15,L 2 *", "at 00:00, on the 1st and 15th and the last day of February"),
        ("*/15 8-17 1 1,7 *", "every 15 minutes from 08:00 to 17:59, on the 1st of January and July"),
        ("0 0 1 3-5 *", "at 00:00, on the 1st of every month from March to May"),
        ("0 0 * 3-5 *", "at 00:00, from March to May"),
        ("0 0 * 2 *", "at 00:00, in February"),
        ("*/5 * * 1,2 mon-fri", "every 5 minutes, Monday to Friday, in January and February"),
        ("0 0 * * fri#2", "at 00:00, on the 2nd Friday of the month"),
        ("0 0 * * friL", "at 00:00, on the last Friday of the month"),
        ("0 0 * 12 0#1,friL", "at 00:00, on the 1st Sunday and the last Friday of December"),
        ("0 0 * * mon,fri#2", "at 00:00, on every Monday and the 2nd Friday of the month"),
        ("0 0 13 * fri", "at 00:00, on the 13th of the month and on every Friday"),
        ("0 0 1 1 mon-fri", "at 00:00, on the 1st of January and on every day from Monday to Friday, in January"),
        ("0 0 1 * friL", "at 00:00, on the 1st of the month and on the last Friday"),
        ("0 0 */13 * fri", "at 00:00, on the 1st, 14th and 27th of the month if that is Friday"),
        ("0 0 1-31 * fri", "at 00:00, every day"),
    ],
)
def test_five_fields_in_words(expression: str, told: str) -> None:
    assert CronSchedule.parse(expression).describe() == told


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("5 * * * * *", "at second 5 of every minute"),
        ("*/7 * * * * *", "at seconds 0 to 56 in steps of 7 of every minute"),
        ("0 */5 * * * *", "every 5 minutes"),
        ("30 0 9 * * *", "at 09:00:30, every day"),
        ("0 0 9 * * *", "at 09:00, every day"),
        ("*/20 30 2 * * *", "at 02:30:00, 02:30:20 and 02:30:40, every day"),
        ("5 */5 * * * *", "at second 5 of minutes 0 to 55 in steps of 5 of every hour"),
        ("*/5 * 9-17 * * fri", "every 5 seconds of every minute of the hours 9 to 17, every Friday"),
        ("* 30 2 * * *", "every second of minute 30 of hour 2"),
    ],
)
def test_six_fields_in_words(expression: str, told: str) -> None:
    assert CronSchedule.parse(expression, seconds=True).describe() == told


def test_the_zone_is_told_unless_it_is_utc() -> None:
    assert CronSchedule.parse("0 9 * * 1-5", timezone="Europe/Madrid").describe() == (
        "at 09:00, Monday to Friday, Europe/Madrid"
    )
    assert CronSchedule.parse("*/5 * * * *", timezone="Asia/Tokyo").describe() == "every 5 minutes, Asia/Tokyo"


@settings(max_examples=50)
@given(e.nightly | e.with_seconds)
def test_every_expression_has_words_of_one_line(expression: str) -> None:
    try:
        told = CronSchedule.parse(expression, seconds=len(expression.split()) == 6).describe()
    except ValueError:
        return  # too long, or a day that never comes

    assert told.isprintable()
    assert told.startswith(("at ", "every "))
    assert "  " not in told
    assert ", ," not in told
