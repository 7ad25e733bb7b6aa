"""`jobqueue cron` as far as it needs no server: expressions, options, what is refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobqueue.cli.main import main
from jobqueue.config import SETTINGS

TASKS = """
from jobqueue import Registry
registry = Registry()
@registry.task("greet")
async def greet(name: str) -> None: ...
"""


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, no setting in the environment, and no server."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.env, raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["cron", *arguments])


def test_the_ticks_of_an_expression_are_shown_with_both_clocks_and_where_they_are_set() -> None:
    day = ("--timezone", "Europe/Madrid", "--after", "2026-03-28T00:00:00Z", "-n", "3")

    result = call("next", "30 2 * * *", *day)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "LOCAL                         UTC                   NOTE",
        "Sat 2026-03-28 02:30:00 CET   2026-03-28 01:30:00Z",
        "Sun 2026-03-29 03:00:00 CEST  2026-03-29 01:00:00Z  the clock goes forward here: 02:30 does not exist",
        "Mon 2026-03-30 02:30:00 CEST  2026-03-30 00:30:00Z",
    ]
    assert result.stderr == "at 02:30, every day, Europe/Madrid\n"


def test_the_ticks_of_an_expression_as_json_are_one_document() -> None:
    result = call("next", "*/30 * * * *", "--after", "2026-10-25T00:00:00Z", "-n", "2", "-o", "json")

    assert json.loads(result.output) == [
        {"local": "2026-10-25T00:30:00+00:00", "utc": "2026-10-25T00:30:00Z", "note": None},
        {"local": "2026-10-25T01:00:00+00:00", "utc": "2026-10-25T01:00:00Z", "note": None},
    ]


def test_an_expression_with_seconds_is_told_from_one_without() -> None:
    assert len(call("next", "*/10 * * * * *", "--seconds", "-n", "7", "-o", "jsonl").stdout.splitlines()) == 7
    assert call("next", "*/10 * * * * *").exit_code == 1


@pytest.mark.parametrize(
    ("zone", "after", "first"),
    [
        ("Europe/Madrid", "2026-11-18", "2026-11-17T23:01:00Z"),
        ("Europe/Madrid", "2026-11-18T09:00", "2026-11-18T08:01:00Z"),
        ("Europe/Madrid", "2026-11-18T09:00Z", "2026-11-18T09:01:00Z"),
        ("UTC", "2026-11-18", "2026-11-18T00:01:00Z"),
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:01:00Z"),  # the clock skips midnight
        ("Asia/Beirut", "2026-03-28T23:59", "2026-03-28T22:00:00Z"),
        ("Europe/Berlin", "1900-01-01", "1900-01-01T00:00:00Z"),
    ],
)
def test_a_time_without_an_offset_is_of_the_zone_of_the_expression(zone: str, after: str, first: str) -> None:
    result = call("next", "* * * * *", "--timezone", zone, "--after", after, "-n", "1", "-o", "json")

    assert [each["utc"] for each in json.loads(result.stdout)] == [first]


def test_a_macro_is_an_expression_and_no_name() -> None:
    assert call("next", "@daily", "-n", "1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["next", "digest", "--timezone", "Europe/Madrid"], "a schedule has its own time zone"),
        (["next", "digest", "--seconds"], "a schedule has its own time zone"),
        (["next", "@daily", "--after", "yesterday"], "'yesterday' is not a time"),
        (
            ["next", "@daily", "--timezone", "Europe/Madrid", "--after", "2026-03-29T02:30"],
            "--after: 2026-03-29 02:30:00 does not exist in Europe/Madrid, where the clock is set; write Z or",
        ),
        (
            ["next", "@daily", "--timezone", "Europe/Madrid", "--after", "2026-10-25T02:30"],
            "--after: 2026-10-25 02:30:00 comes twice in Europe/Madrid, where the clock is set; write Z or an offset",
        ),
        (["next", "@daily", "--timezone", "Asia/Tokyo", "--after", "0001-01-01"], "too early or too late"),
        (
            ["next", "@daily", "--after", "1800-01-01"],
            "--after: 1800-01-01 is too early; ticks are known from the year 1900",
        ),
        (["next", "0", "9", "*", "*", "*"], "quote the expression, e.g. '*/5 * * * *'"),
        (["add", "digest", "0", "9", "*", "*", "*", "greet"], "quote the expression, e.g. '*/5 * * * *'"),
        (["next", "@daily", "-n", "0"], "-n"),
        (["add", "digest", "@daily"], "Missing argument 'TYPE'"),
        (["add", "digest", "@daily", "a", "--misfire", "twice"], "'twice' is not one of"),
        (["add", "digest", "@daily", "a", "--grace", "1x"], "'1x' is not a duration"),
        (["ticks", "--decision", "lost"], "'lost' is not one of"),
        (["backfill", "digest", "--from", "2026-01-01T00:00:00Z"], "Missing option '--to'"),
        (["list"], "No such command 'list'. Did you mean 'ls'?"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], said: str) -> None:
    result = call(*arguments)

    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["next", "61 * * * *"], "minute '61'"),
        (["next", "0 0 9 * * *"], "or six with the seconds first with --seconds"),
        (["next", "0 9 * * *", "--seconds"], "has five fields: with --seconds there are six"),
        (["add", "digest", "0 0 9 * * *", "greet"], "or six with the seconds first with --seconds"),
        (["add", "digest", "@daily", "greet", "--grace", "2d"], "--grace must be from 1s to 1d, got 2d"),
        (["next", "@daily", "--timezone", "Mars/Olympus"], "no time zone named 'Mars/Olympus'"),
        (["next", "@daily", "--timezone", ""], "no time zone named ''"),
        (["add", "digest", "0 9 * *", "greet"], "0 9 * *"),
        (["add", "two words", "@daily", "greet"], "two words"),
        (["add", "digest", "@daily", "greet", "[1]"], "payload must be a JSON object"),
        (["add", "digest", "@daily", "greet", "--max-catchup", "0"], "--max-catchup must be from 1 to 1000"),
        (["add", "digest", "@daily", "greet", "--jitter", "2d"], "--jitter must be from 0s to 1d, got 2d"),
        (["add", "digest", "@daily", "gret", "{}", "-A", "cron_shop"], "did you mean 'greet'?"),
        (["add", "digest", "@daily", "greet", "{}", "-A", "cron_shop"], "name: Field required"),
        (["add", "digest", "@daily", "greet"], "127.0.0.1:1"),
        (["ls"], "127.0.0.1:1"),
    ],
)
def test_what_fails_is_one_line_and_1(arguments: list[str], said: str) -> None:
    Path("cron_shop.py").write_text(TASKS)

    result = call(*arguments)

    assert result.exit_code == 1, result.output
    assert said in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
