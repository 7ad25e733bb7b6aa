from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from jobqueue.job import JobState, Priority
from jobqueue.record import Execution
from jobqueue.search.account import of_end, of_history

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
ID = f"{NOON_MS:012x}"
JOB_ID = f"{ID[:8]}-{ID[8:]}-7000-8000-000000000001"


def execution(**facts: Any) -> Execution:
    plain = Execution(
        job_id=JOB_ID,
        queue="mail",
        type="email.send",
        priority=Priority.MEDIUM,
        generation=0,
        attempt=1,
        outcome="completed",
        worker="w",
        queued_ms=NOON_MS,
        started_ms=NOON_MS + 1000,
        duration_ms=250.0,
    )
    return msgspec.structs.replace(plain, **facts)


def test_the_end_of_a_job_tells_when_it_was_made_begun_and_over() -> None:
    status = of_end(execution())

    assert status.created_at == NOON
    assert status.started_at == NOON.replace(second=1)
    assert status.finished_at == NOON.replace(second=1, microsecond=250_000)


def test_when_a_job_with_an_id_of_its_own_was_made_is_not_known() -> None:
    assert of_end(execution(job_id="00000000-0000-4000-8000-000000000001")).created_at is None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("dead", JobState.DEAD), ("cancelled", JobState.CANCELLED), ("retrying", JobState.RETRYING)],
)
def test_an_outcome_is_told_as_a_state(outcome: str, state: JobState) -> None:
    assert of_end(execution(outcome=outcome)).state is state


def test_the_end_of_the_newest_life_counts() -> None:
    first, again = execution(outcome="dead"), execution(generation=1, outcome="retrying")

    assert of_history([first]).state is JobState.DEAD
    assert of_history([first, again]).state is JobState.RETRYING
    assert of_history([first, again, execution(generation=1, attempt=0, outcome="cancelled")]).state is (
        JobState.CANCELLED
    )
