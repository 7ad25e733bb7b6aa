"""S39: the passwords of Redis and Postgres are seen nowhere: not in a repr, an error, a traceback or the log."""

import asyncio
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jobqueue import JobQueue
from jobqueue.config import SETTINGS, Settings
from jobqueue.errors import JobQueueError

CANARY = "xyzzy-canary"
URLS = {
    "REDIS_URL": f"redis://worker:{CANARY}@127.0.0.1:1/0",
    "DATABASE_URL": f"postgresql://worker:{CANARY}@127.0.0.1:1/shop?application_name={CANARY}",
}
COMMANDS = [
    ["config", "show"],
    ["config", "show", "-o", "json"],
    ["doctor"],
    ["doctor", "-o", "json"],
    ["queue", "ls", "--debug"],
    ["keys", "ls", "--debug"],
    ["keys", "create", "x", "--debug"],
    ["audit", "ls", "--debug"],
    ["migrate", "status", "--debug"],
    ["enqueue", "email.send", "--debug"],
]


def test_no_repr_shows_a_password() -> None:
    settings = Settings.load({}, overrides=URLS)
    queue = JobQueue.from_settings(settings)

    shown = [repr(each) for each in (settings, settings.redis, settings.postgres, queue, queue.parts, vars(queue))]

    assert "Settings(" in shown[0]
    assert CANARY not in "".join(shown)


async def test_no_error_and_no_traceback_shows_a_password() -> None:
    with capture_logs() as logs:
        async with JobQueue.from_settings(Settings.load({}, overrides=URLS)) as queue:
            access = queue.parts.access
            assert access is not None
            asks = (queue.queues(), queue.dead_letters.get("x"), access.keys.list(), access.sessions.key_of("x"))
            failures = await asyncio.gather(*asks, return_exceptions=True)

    assert all(isinstance(failure, JobQueueError) for failure in failures)
    for failure in failures:
        assert isinstance(failure, BaseException)
        assert CANARY not in "".join(traceback.format_exception(failure))
    assert CANARY not in str(logs)


@pytest.mark.parametrize(
    "bad", ["redis://worker:{}@127.0.0.1:port/0", "http://worker:{}@127.0.0.1", "redis://w:{}@[::1/0"]
)
def test_a_wrong_url_is_refused_without_its_password(bad: str) -> None:
    with pytest.raises(JobQueueError) as refused:
        JobQueue.from_settings(Settings.load({}, overrides={"REDIS_URL": bad.format(CANARY)}))

    assert CANARY not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_a_password(command: list[str], tmp_path: Path) -> None:
    ours = {setting.env for setting in SETTINGS}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"JOBQUEUE_ENQUEUE_TIMEOUT": "500ms", "PYTHONPATH": str(Path(__file__).parents[2]), **URLS}

    done = subprocess.run(
        [sys.executable, "-m", "jobqueue", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    if command[-1] == "json" and done.stdout:
        json.loads(done.stdout)
