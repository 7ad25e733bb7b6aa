"""The parent of several processes, with children that are no workers."""

import asyncio
import sys
from pathlib import Path

import pytest

from jobqueue.cli import crew
from jobqueue.cli.crew import Crew, Member
from jobqueue.cli.exit import FAILED


class Script(Member):
    """Runs Python instead of `jobqueue`."""

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", *self.arguments]


FAILS_AND_THEN_RUNS = """
import sys, time
from pathlib import Path
if not Path("failed").exists():
    Path("failed").touch()
    sys.exit(1)
Path("runs again").touch()
time.sleep(600)
"""
FAILS_LATER = """
import sys, time
from pathlib import Path
while not Path("runs again").exists():
    time.sleep(0.01)
sys.exit(1)
"""


async def test_all_end_that_fail_at_their_start_though_the_first_runs_again_when_the_last_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong setting and starts more than a second apart, the children were started again for ever."""
    monkeypatch.setattr(crew, "_FIRST_PAUSE_S", 0.01)
    members = [Script(name="a", arguments=[FAILS_AND_THEN_RUNS]), Script(name="b", arguments=[FAILS_LATER])]

    async with asyncio.timeout(30):
        assert await Crew(members=members, grace_s=1, folder=tmp_path).run() == FAILED
