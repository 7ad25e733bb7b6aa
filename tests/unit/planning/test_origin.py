"""Which schedule an ended job is of, where only its id is left of it."""

from jobqueue.app import JobQueue
from jobqueue.job import Job, JobState, Priority
from jobqueue.planning.origin import Origin, origin_of
from jobqueue.status import JobStatus
from jobqueue.testing import memory_queue


def ended(job_id: str, queue: str = "default") -> JobStatus:
    return JobStatus(id=job_id, type="a", queue=queue, priority=Priority.MEDIUM, state=JobState.COMPLETED, attempt=1)


async def asked_for(queue: JobQueue) -> str:
    await queue.schedules.upsert("digest", "@daily", Job("a"))
    return (await queue.schedules.run("digest")).id


async def test_a_job_that_was_asked_for_is_of_its_schedule_and_of_no_tick() -> None:
    queue = memory_queue()
    job_id = await asked_for(queue)

    assert await origin_of(ended(job_id), queue.parts.ticks) == Origin(schedule="digest", tick=None)
    assert await origin_of(ended(job_id, "other"), queue.parts.ticks) is None


async def test_an_id_of_any_time_is_no_error() -> None:
    queue = memory_queue()
    await asked_for(queue)

    for ms in ("000000000000", "e677d21fdbff", "e677d21fdc00", "ffffffffffff"):  # up to the end of 9999, and beyond
        job_id = f"{ms[:8]}-{ms[8:]}-7000-8000-000000000000"
        assert await origin_of(ended(job_id), queue.parts.ticks) is None
