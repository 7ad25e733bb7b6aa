"""`jobqueue demo`, the main job on real input: it ends well and its numbers add up."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobqueue.cli.demo.tasks import LIBRARY, source_files
from jobqueue.config import SETTINGS
from tests.acceptance.test_cli import alive, eventually


def number(text: str, name: str) -> int:
    found = re.search(rf"^ +{name} +([\d ]+)$", text, re.MULTILINE)
    assert found, f"no {name!r} in\n{text}"
    return int(found[1].replace(" ", ""))


@pytest.mark.long
@pytest.mark.timeout(150)
def test_the_demo_accounts_for_every_file(tmp_path: Path) -> None:
    ours = {setting.env for setting in SETTINGS}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    # Neither a setting nor a file of the user's is about the demo.
    (tmp_path / "jobqueue.toml").write_text('[redis]\nurl = "redis://127.0.0.1:1"\n')

    done = subprocess.run(
        [sys.executable, "-m", "jobqueue", "demo"],
        cwd=tmp_path,
        env=environment | {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "WORKER_QUEUES": "mail"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=140,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    files, completed, dead = (number(done.stdout, name) for name in ("files", "completed", "dead"))
    assert files == len(source_files()) > 1000
    assert completed + dead == files
    assert number(done.stdout, "attempts") >= files + number(done.stdout, "retries")
    assert number(done.stdout, "lines") > 500_000
    assert number(done.stdout, "retries") >= 2 * dead
    letters = re.findall(r"^  (\S+\.py) +3 +(\w+: .+)$", done.stdout, re.MULTILINE)
    assert len(letters) == dead > 0
    assert all((LIBRARY / path).exists() and "Error" in error for path, error in letters)
    assert f"{files} of {files}" in done.stderr
    assert "every invariant holds" in done.stdout


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_can_be_stopped_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "jobqueue", "demo"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr
        for line in demo.stderr:
            if "are up" in line:
                break
        members = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        said = demo.stderr.read()

        assert demo.wait(30) == 130
    assert "Traceback" not in said
    assert members
    eventually(lambda: not alive(members), "nothing is left", explain=lambda: alive(members))
