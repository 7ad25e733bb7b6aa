import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from jobqueue import Job, JobQueue
from jobqueue.testing import ManualClock, enqueued

pytest_plugins = ["jobqueue.testing.plugin"]


async def test_the_queue_has_the_clock(jobqueue_memory: JobQueue, jobqueue_clock: ManualClock) -> None:
    handle = await jobqueue_memory.enqueue(Job("a"), delay=timedelta(hours=1))
    before = await jobqueue_memory.stats("default")

    jobqueue_clock.advance(timedelta(minutes=59))
    after = await jobqueue_memory.stats("default")

    assert (before.next_due_ms, after.next_due_ms) == (3_600_000, 60_000)
    assert [job.id for job in enqueued(jobqueue_memory)] == [handle.id]


@pytest.mark.parametrize("_turn", [1, 2])
async def test_each_test_has_a_queue_of_its_own(jobqueue_memory: JobQueue, _turn: int) -> None:
    assert enqueued(jobqueue_memory) == []

    await jobqueue_memory.enqueue(Job("a"))


def test_a_program_switches_it_on_in_its_conftest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["jobqueue.testing.plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        "def test_it(jobqueue_memory, jobqueue_clock):\n    assert jobqueue_memory.parts.clock is jobqueue_clock\n"
    )

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_pytest_does_not_load_jobqueue_by_itself() -> None:
    # It would import all of it at every start, before a coverage measurement begins.
    assert [each for each in entry_points(group="pytest11") if each.value.startswith("jobqueue")] == []
