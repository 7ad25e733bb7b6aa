from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueue.cron import CronSchedule
from jobqueue.errors import InvalidSchedule


def test_every_zone_of_the_database_is_taken() -> None:
    zones = available_timezones() - {"localtime"}

    assert len(zones) > 500
    assert {CronSchedule.parse("@daily", timezone=zone).timezone for zone in zones} == zones


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("berlin", "did you mean Europe/Berlin?"),
        ("new york", "did you mean America/New_York?"),
        ("utc", "did you mean UTC?"),
        ("Mars/Olympus", "write a name of the IANA database, e.g. UTC"),
        ("Europe", "no time zone named 'Europe'"),
        ("", "no time zone named ''"),
        (".", "no time zone named '.'"),
        ("../../etc/passwd", "no time zone named '../../etc/passwd'"),
        ("Europe/../Europe/Berlin", "no time zone named"),
        ("/usr/share/zoneinfo/UTC", "no time zone named"),
        ("right/Europe/Berlin", "no time zone named"),
        ("posixrules", "no time zone named"),
        ("localtime", "no time zone named"),
        ("tzdata.zi", "no time zone named"),
        ("Europe/Berlin\x00", r"no time zone named 'Europe/Berlin\x00'"),
        ("Europe/Berlin\n", r"no time zone named 'Europe/Berlin\n'"),
        ("\ud800", r"no time zone named '\ud800'"),
        ("x" * 10_000, "no time zone named 'xxxx"),
        (None, "timezone takes the name of a zone"),
        (ZoneInfo("UTC"), "timezone takes the name of a zone, e.g. 'Europe/Madrid', got zoneinfo.ZoneInfo(key='UTC')"),
        (["UTC"], "timezone takes the name of a zone"),
    ],
)
def test_another_name_is_refused_with_the_closest(zone: str, told: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        CronSchedule.parse("@daily", timezone=zone)

    assert told in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


@settings(max_examples=50)
@given(st.text() | st.text("./EuropBlinUTC+0", max_size=20))
@example("UTC ")
def test_any_name_is_a_zone_or_refused_and_nothing_else(zone: str) -> None:
    try:
        CronSchedule.parse("@daily", timezone=zone)
    except InvalidSchedule:
        assert zone not in available_timezones()
