"""What the state machine draws its steps from, and how it compares jobs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from jobqueue.broker.base import Consumer, Delivery, Heartbeat, Settlement, Submission
from jobqueue.job import PRIORITIES, Job
from jobqueue.outcome import (
    COMPLETED,
    RELEASED,
    Cancelled,
    Completed,
    Dead,
    DeadReason,
    Expired,
    Failure,
    Retrying,
    Snoozed,
)
from jobqueue.record import DeadLetter
from tests.faults.model import Letter, Live

Q = "mail"
MAX_CRASHES = 2
MOST_WORKERS = 3
LEASE = timedelta(minutes=10)
HOUR = timedelta(hours=1)
FAILURE = Failure("ValueError", "no such address")
OUTCOMES = (
    *[COMPLETED] * 4,
    Completed(b'"kept"'),
    RELEASED,
    Retrying(0, FAILURE),
    Retrying(3_600_000, FAILURE),
    Snoozed(0),
    Snoozed(3_600_000, deferral=True),
    *[Dead(DeadReason.EXHAUSTED, FAILURE)] * 3,
    Cancelled(),
    Expired(),
)
IDS = [str(UUID(int=n)) for n in range(1, 13)]

ids = st.sampled_from(IDS)
picks = st.integers(0, 30)
outcomes = st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4)
submissions = st.fixed_dictionaries(
    {
        "id": ids,
        "number": st.integers(0, 2),
        "priority": st.sampled_from(PRIORITIES),
        "unique_key": st.sampled_from([None, None, "u1", "u2"]),
        "idempotency_key": st.sampled_from([None, None, "k1", "k2"]),
        "delay": st.sampled_from([None, None, HOUR]),
    }
)
batches = st.lists(submissions, min_size=1, max_size=4)


class Worker:
    """A consumer, what it was given and thinks it runs, and what it has settled."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.heartbeat: Heartbeat = consumer.heartbeat()
        self.running: list[Delivery] = []
        self.settled: list[Delivery] = []

    @property
    def name(self) -> str:
        return self.consumer.name

    async def close(self) -> None:
        self.heartbeat.close()
        await self.consumer.close()


def submission(drawn: dict[str, Any]) -> Submission:
    """As *submissions* drew it."""
    job = Job(
        "email.send",
        {"n": drawn["number"]},
        id=drawn["id"],
        queue=Q,
        priority=drawn["priority"],
        unique_key=drawn["unique_key"],
    )
    return Submission(job=job, delay=drawn["delay"], idempotency_key=drawn["idempotency_key"])


def settlement(delivery: Delivery, outcome: Any) -> Settlement:
    return Settlement(delivery=delivery, outcome=outcome, type="email.send", started_ms=1, duration_ms=1.0)


def facts_of(job: Delivery | Live) -> Sequence[object]:
    return (job.attempt, job.crashes, job.deferrals, job.generation, job.last_error, job.unique_key)


def letter_facts(letter: Letter | DeadLetter) -> Sequence[object]:
    if isinstance(letter, Letter):
        job = letter.job
        return (job.id, letter.reason.value, job.attempt, job.crashes, job.generation, job.unique_key)
    return (letter.job_id, letter.reason, letter.attempts, letter.crashes, letter.generation, letter.unique_key)
