"""Tables for people, JSON for programs."""

import json
import time
from datetime import UTC, datetime

import click
import pytest

from jobqueue.cli.output import Form, counted, human, show_all, show_one, table, text

RECORDS = [
    {"queue": "default", "ready": 12, "paused": False, "oldest": None, "hidden": {"a": [1]}},
    {"queue": "mail", "ready": 3, "paused": True, "oldest": datetime(2026, 1, 2, tzinfo=UTC), "hidden": {}},
]


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    lines = click.unstyle(table([["default", 12, None], ["a", 3, True]], ("queue", "ready_now", "on"))).splitlines()

    assert lines == ["QUEUE    READY NOW  ON", "default         12  -", "a                3  yes"]


def test_json_is_one_array_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(RECORDS, Form.JSON, columns=("queue",))

    assert json.loads(capsys.readouterr().out) == [
        {"queue": "default", "ready": 12, "paused": False, "oldest": None, "hidden": {"a": [1]}},
        {"queue": "mail", "ready": 3, "paused": True, "oldest": "2026-01-02T00:00:00Z", "hidden": {}},
    ]


def test_jsonl_is_one_line_per_record(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(RECORDS, Form.JSONL, columns=("queue",))

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["queue"] for line in lines] == ["default", "mail"]


@pytest.mark.parametrize(("form", "out"), [(Form.TABLE, ""), (Form.JSON, "[]\n"), (Form.JSONL, "")])
def test_nothing_is_nothing_on_stdout(capsys: pytest.CaptureFixture[str], form: Form, out: str) -> None:
    show_all([], form, columns=("queue",), empty="no queues yet")

    printed = capsys.readouterr()
    assert printed.out == out
    assert printed.err == ("no queues yet\n" if form is Form.TABLE else "")


def test_one_record_is_a_line_per_field_and_long_text_stays_below_itself(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"id": "x", "traceback": "a\n  b"}, Form.TABLE)

    assert capsys.readouterr().out == "id         x\ntraceback  a\n             b\n"


def test_a_terminal_is_never_given_what_it_would_obey() -> None:
    assert text("\x1b]0;title\x07red\x1b[31m\nnew") == " ]0;title red [31m new"


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0ms"),
        (0.123, "0.123ms"),
        (312.4, "312ms"),
        (999.7, "1s"),
        (1_500, "1.5s"),
        (59_999, "1m"),
        (161_000, "2m41s"),
        (3_661_000, "1h1m"),
        (200_000_000, "2d8h"),
        (-2_500, "-2.5s"),
    ],
)
def test_a_duration_is_written_to_two_units(ms: float, said: str) -> None:
    assert human(ms) == said


def test_only_tables_write_durations_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"queue": "default", "oldest_ms": 161_000}
    show_all([record], Form.TABLE, columns=("queue", "oldest_ms"))
    show_one(record, Form.TABLE)
    show_one(record, Form.JSONL)

    assert click.unstyle(capsys.readouterr().out).splitlines() == [
        "QUEUE    OLDEST",
        "default   2m41s",
        "queue   default",
        "oldest  2m41s",
        '{"queue":"default","oldest_ms":161000}',
    ]


def test_one_is_singular() -> None:
    assert (counted(1, "job"), counted(0, "job"), counted(2, "entry", "entries")) == ("1 job", "0 jobs", "2 entries")


@pytest.mark.parametrize(("zone", "shown"), [("UTC", "2026-01-02 00:00:00Z"), ("UTC-2", "2026-01-02 02:00:00+02:00")])
def test_a_time_is_of_this_machines_zone_and_utc_is_z(monkeypatch: pytest.MonkeyPatch, zone: str, shown: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert text(RECORDS[1]["oldest"]) == shown
    finally:
        monkeypatch.undo()
        time.tzset()
