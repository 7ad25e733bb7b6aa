"""Fixtures for pytest, switched on in `conftest.py`: `pytest_plugins = ["jobqueue.testing.plugin"]`.

Not an entry point: pytest would then import all of jobqueue at its start, in every project that has it
installed, and before any coverage measurement begins.
"""

from datetime import UTC, datetime

import pytest

from jobqueue.app import JobQueue
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.queue import memory_queue


@pytest.fixture
def jobqueue_clock() -> ManualClock:
    """The clock of `jobqueue_memory`: it stands still at the present until the test advances it."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def jobqueue_memory(jobqueue_clock: ManualClock) -> JobQueue:
    """A `memory_queue` of this test's own."""
    return memory_queue(clock=jobqueue_clock)
