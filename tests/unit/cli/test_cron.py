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


def test_a_macro_is_an_expression_and_no_name() -> None:
    assert call("next", "@daily", "-n", "1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["next", "digest", "--timezone", "Europe/Madrid"], "a schedule has its own time zone"),
        (["next", "digest", "--seconds"], "a schedule has its own time zone"),
        (["next", "@daily", "--after", "2026-03-28T00:00:00"], "add Z or an offset"),
        (["next", "@daily", "-n", "0"], "-n"),
        (["add", "digest", "@daily"], "Missing argument 'TYPE'"),
        (["add", "digest", "@daily", "a", "--misfire", "twice"], "'twice' is not one of"),
        (["add", "digest", "@daily", "a", "--grace", "1x"], "'1x' is not a duration"),
        (["ticks", "--decision", "lost"], "'lost' is not one of"),
        (["backfill", "digest", "--from", "2026-01-01T00:00:00Z"], "Missing option '--to'"),
        (
            ["backfill", "digest", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
            "--to must be after --from",
        ),
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
        (["next", "@daily", "--timezone", "Mars/Olympus"], "no time zone named 'Mars/Olympus'"),
        (["add", "digest", "0 9 * *", "greet"], "0 9 * *"),
        (["add", "two words", "@daily", "greet"], "two words"),
        (["add", "digest", "@daily", "greet", "[1]"], "payload must be a JSON object"),
        (["add", "digest", "@daily", "greet", "--max-catchup", "0"], "max_catchup must be from 1 to 1000"),
        (["add", "digest", "@daily", "greet", "--jitter", "2d"], "jitter must be"),
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
