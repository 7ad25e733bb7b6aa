"""Jobs in every state, made through the broker as workers would."""

from datetime import timedelta
from typing import Any

from jobqueue.app import JobQueue
from jobqueue.broker.base import Consumer
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure, Outcome, Retrying
from jobqueue.search import ANY, JobFilter
from jobqueue.status import JobStatus
from tests.contract.scene import settle, take_one

FAILURE = Failure("ValueError", "no such address: Zürich", "Traceback ...")
DEAD = Dead(DeadReason.EXHAUSTED, FAILURE)
RETRYING = Retrying(3_600_000, FAILURE)
HOUR = timedelta(hours=1)
PAGES = 200


def job(type: str = "email.send", queue: str = "mail", **payload: Any) -> Job:
    return Job(type, payload or {"n": 1}, queue=queue)


async def queued(queue: JobQueue, *jobs: Job) -> list[str]:
    return [(await queue.enqueue(each)).id for each in jobs]


async def scheduled(queue: JobQueue, each: Job, *, delay: timedelta = HOUR) -> str:
    return (await queue.enqueue(each, delay=delay)).id


async def running(queue: JobQueue, each: Job) -> tuple[str, Consumer]:
    worker = await queue.parts.broker.join([each.queue])
    await queue.enqueue(each)
    delivery = await take_one(worker)
    assert delivery.job_id == each.id
    return each.id, worker


async def ended(queue: JobQueue, each: Job, outcome: Outcome = COMPLETED) -> str:
    """Enqueue and settle; nothing else may be ready in that queue."""
    worker = await queue.parts.broker.join([each.queue])
    await queue.enqueue(each)
    delivery = await take_one(worker)
    now_ms = worker.now_ms()
    await settle(worker, outcome, delivery, type=each.type, started_ms=now_ms - 250, duration_ms=250.0)
    await worker.leave()
    await worker.close()
    return each.id


async def every(queue: JobQueue, where: JobFilter = ANY, *, limit: int = 50) -> list[JobStatus]:
    """All pages."""
    found: list[JobStatus] = []
    after: str | None = None
    for _ in range(PAGES):
        page, after = await queue.find(where, limit=limit, after=after)
        assert len(page) <= limit
        found += page
        if after is None:
            return found
    raise AssertionError("the pages do not end")


async def ids(queue: JobQueue, where: JobFilter = ANY, *, limit: int = 50) -> list[str]:
    return [each.id for each in await every(queue, where, limit=limit)]
