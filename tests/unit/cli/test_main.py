"""The front door: what is imported when, exit codes, errors on one line. No server is needed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from jobqueue.cli.main import _COMMANDS, _failure, main
from jobqueue.config import SETTINGS
from jobqueue.errors import BrokerUnavailable


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.env, raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("JOBQUEUE_ENQUEUE_TIMEOUT", "500ms")


def call(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=answer)


def test_help_names_every_command_and_imports_none() -> None:
    program = (
        "import sys; sys.argv = ['jobqueue', '--help']\n"
        "from jobqueue.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'asyncpg', 'watchfiles', 'uvloop', 'jobqueue.embedded'} | "
        "{name for name in sys.modules if name.startswith('jobqueue.cli.') and name not in "
        "('jobqueue.cli.main', 'jobqueue.cli.exit', 'jobqueue.cli.deferred')}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)

    assert done.returncode == 0, done.stderr
    for name in _COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_every_command_has_a_help_of_its_own_down_to_the_last() -> None:
    def walk(command: click.Command, words: list[str]) -> None:
        result = call(*words, "--help")
        assert result.exit_code == 0, result.output
        assert command.help, words
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", None), (words, option.name)
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                walk(inner, [*words, name])

    walk(main, [])


def test_python_m_jobqueue_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobqueue", "--version"], capture_output=True, text=True, timeout=30, env={**os.environ}
    )

    assert done.returncode == 0
    assert done.stdout.startswith("jobqueue ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["queue", "list"], "No such command 'list'. Did you mean 'ls'? Try 'jobqueue queue --help'"),
        (["enqueue", "a", "--at", "2030-01-01T09:00:00"], "add Z or an offset such as +02:00"),
        (["enqueue", "a", "--delay", "1h", "--at", "2030-01-01T09:00:00Z"], "give --delay or --at, not both"),
        (["queue", "ls", "-o", "xml"], "'xml' is not one of"),
        (["enqueue"], "Missing argument 'TYPE'"),
        (["enqueue", "a", "--delay", "1x"], "'1x' is not a duration; write e.g. 500ms"),
        (["enqueue", "a", "--delay", "10"], "'10' is not a duration"),
        (["enqueue", "a", "--at", "tomorrow"], "'tomorrow' is not a time; write e.g. 2026-12-25T09:00:00+01:00"),
        (["enqueue", "a", "--max-retries", "-1"], "-1"),
        (["dlq", "ls", "--before", "soon"], "'soon' is not a time"),
        (["dlq", "retry"], "give ids, or --all"),
        (["dlq", "retry", "some-id", "--all"], "not both"),
        (["worker", "--processes", "0"], "--processes"),
        (["completion", "cmd"], "'cmd' is not one of"),
        (["migrate", "--dry-run", "down"], "jobqueue migrate down --dry-run"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], said: str) -> None:
    result = call(*arguments)

    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["enqueue", "a", "{"], "payload is not valid JSON"),
        (["enqueue", "a", "[" * 5000], "payload is not valid JSON"),
        (["enqueue", "a", "[1]"], "payload must be a JSON object"),
        (["enqueue", "a", "{}", "--priority", "urgent"], "priority must be critical, high, medium, low"),
        (["enqueue", "a b", "{}"], "a b"),
        (["enqueue", "a", "{}", "-A", "no_such_shop"], "no module named 'no_such_shop'"),
        (["job", "show", "x"], "x"),
        (["migrate"], "DATABASE_URL must be set"),
        (["worker"], "which tasks? give -A"),
        (["queue", "ls"], "127.0.0.1:1"),
        (["enqueue", "a", "{}"], "127.0.0.1:1"),
    ],
)
def test_what_fails_is_one_line_and_1(arguments: list[str], said: str) -> None:
    result = call(*arguments)

    assert result.exit_code == 1, result.output
    assert said in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "0")

    result = call("config", "show")

    assert result.exit_code == 1
    assert result.stderr == "error: WORKER_CONCURRENCY must be at least 1, got '0'\n"


def test_a_server_that_cannot_be_reached_is_told_at_once_and_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQUEUE_ENQUEUE_TIMEOUT", "1m")
    started = time.monotonic()

    given = call("enqueue", "a").stderr

    assert time.monotonic() - started < 30
    assert "nothing was queued" in given
    assert "REDIS_URL" not in given


def test_the_default_server_is_named_when_it_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    default = "redis://localhost:6379"

    assert _failure(BrokerUnavailable(f"Redis at {default} cannot be reached")).endswith(
        f"; REDIS_URL is not set, so {default} was tried"
    )
    assert _failure(BrokerUnavailable("Redis at redis://other:1 cannot be reached")).endswith("reached")


@pytest.mark.parametrize("words", [["--debug", "enqueue", "a", "{"], ["enqueue", "a", "{", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(words: list[str]) -> None:
    result = call(*words)

    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "InvalidJob" in result.stderr


def test_config_shows_where_each_value_comes_from_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://me:opensesame@redis.example:6379")
    Path("jobqueue.toml").write_text("[worker]\nconcurrency = 20\n")

    result = call("config", "show", "-o", "jsonl")

    records = {record["setting"]: record for record in map(json.loads, result.stdout.splitlines())}
    assert records["REDIS_URL"]["source"] == "environment"
    assert records["WORKER_CONCURRENCY"]["source"] == "jobqueue.toml"
    assert records["WORKER_CONCURRENCY"]["value"] == "20"
    assert records["JOBQUEUE_LEASE"]["source"] == "default"
    assert len(records) == len(SETTINGS)
    assert "opensesame" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = call("completion", shell)

    assert result.exit_code == 0
    assert "_JOBQUEUE_COMPLETE" in result.stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m jobqueue config show | head -1"],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")
