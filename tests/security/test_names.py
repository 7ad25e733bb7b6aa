"""Names that could break a key, a pattern or a terminal (S07, S08). Of the client: `tests/unit/test_job.py`."""

import ast
import re
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from jobqueue.cli.main import main
from jobqueue.config import SETTINGS

PACKAGE = Path(__file__).parents[2] / "jobqueue"
NAMES = [
    *("{}", "a}b{c", "*", "a*", "?", "[a-z]", "a b", "a/b", "../x", "", "ä", "x" * 65, "a'b", 'a"b', "a;b", "$(id)"),
    *("a\r\nFLUSHALL\r\n", "a\n", "\x1b[2J", "\x9b2J", "\u202ea", "%s%n", "{0.__class__}", "-", "--", "-a"),
]
# NAME stands for the hostile text.
COMMANDS = [
    ("enqueue", "--", "NAME"),
    ("enqueue", "t", "--queue=NAME"),
    ("enqueue", "t", "--priority=NAME"),
    ("enqueue", "t", "--delay=NAME"),
    ("enqueue", "t", "--at=NAME"),
    ("queue", "show", "--", "NAME"),
    ("queue", "pause", "--", "NAME"),
    ("queue", "resume", "--", "NAME"),
    ("queue", "purge", "--yes", "--", "NAME"),
    ("job", "show", "--", "NAME"),
    ("job", "cancel", "--", "NAME"),
    ("dlq", "show", "--", "NAME"),
    ("dlq", "retry", "--yes", "--", "NAME"),
    ("dlq", "purge", "--yes", "--all", "--before=NAME"),
    ("worker", "-A", "shop", "--queues=NAME"),
    ("worker", "-A", "NAME"),
    ("NAME",),
]
# Read a pattern of names, or of keys, out of what they are given; and may look at everything there is.
BY_PATTERN = {"KEYS", "SCAN", "MATCH", "PSUBSCRIBE", "SORT", "PUBSUB"}


@pytest.fixture
def at_the_shell(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with an app, and settings that lead to a real server."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.env, raising=False)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("JOBQUEUE_NAMESPACE", f"names_{namespace}")
    (tmp_path / "shop.py").write_text("from jobqueue import Registry\nregistry = Registry()\n")


@pytest.mark.usefixtures("at_the_shell")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_hostile_text_is_refused_on_one_harmless_line(command: tuple[str, ...], redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        for text in NAMES:
            if _is_fine(command, text):
                continue
            result = CliRunner().invoke(main, [word.replace("NAME", text) for word in command])

            assert result.exit_code in (1, 2), (text, result.output)
            assert result.stdout in ("", "queued 0 dead letters again\n"), text
            assert result.stderr.endswith("\n")
            assert result.stderr[:-1].isprintable(), ascii(result.stderr)
            assert len(result.stderr) < 1_000
        assert list(server.scan_iter("*names_*")) == []


def _is_fine(command: tuple[str, ...], text: str) -> bool:
    """Where the text means something else than a name, or nothing."""
    if command[-1].startswith("--queues") and text.strip() == "a":
        return True  # a list of names may have blanks around its commas
    return (not text and command[-1].startswith(("--", "NAME")) and command[0] != "queue") or (
        command == ("NAME",) and text in ("-", "--", "")
    )


def test_nothing_is_looked_for_by_a_pattern() -> None:
    """Every key is named in full, so that no name can be a pattern; see `tests/integration/redis/test_acl.py`, too."""
    in_python = [
        f"{path}:{node.lineno}"
        for path in PACKAGE.rglob("broker/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List)
        and any(isinstance(each, ast.Constant) and each.value in BY_PATTERN for each in node.elts)
    ]
    in_lua = [
        f"{path}: {found}"
        for path in PACKAGE.rglob("*.lua")
        for found in re.findall(rf"call\('(?:{'|'.join(BY_PATTERN)})'|'MATCH'", path.read_text())
    ]

    assert in_python + in_lua == []
