"""Taking in jobs: the rules of ids, idempotency keys and unique keys."""

from jobqueue.broker.base import Delivery, Enqueued, EnqueueResult, Submission
from jobqueue.broker.entry import digest
from jobqueue.clock import to_ms
from jobqueue.testing.memory.store import MemoryQueue, Store


def submit(store: Store, submission: Submission) -> EnqueueResult:
    """Queue one job, unless another stands already where it would."""
    job, body = submission.job, submission.job.to_wire()
    queue, now = store.queue(job.queue), store.clock.now_ms()
    standing = _standing(queue, submission, body, now)
    if standing is not None:
        return standing
    if submission.idempotency_key is not None:
        until = now + to_ms(submission.idempotency_ttl)
        queue.dedupe[submission.idempotency_key] = (until, job.id, digest(submission, body))
    if job.unique_key is not None:
        queue.unique[job.unique_key] = job.id
    queue.counted["enqueued"] += 1
    queue.counted["requeued"] += submission.generation > 0
    fresh = Delivery(
        queue=queue.name,
        rank=job.priority.rank,
        entry_id=b"",
        job_id=job.id,
        body=body,
        generation=submission.generation,
        expires_ms=now + to_ms(job.expires) if job.expires is not None else 0,
        unique_key=job.unique_key,
    )
    store.put(queue, fresh, due_ms=_due_ms(submission, now))
    return EnqueueResult(Enqueued.NEW, job.id)


def _standing(queue: MemoryQueue, submission: Submission, body: bytes, now: int) -> EnqueueResult | None:
    job, key = submission.job, submission.idempotency_key
    if key is not None and (kept := queue.dedupe.get(key)) and kept[0] > now:
        same = kept[2] == digest(submission, body)
        return EnqueueResult(Enqueued.EXISTS if same else Enqueued.CONFLICT, kept[1])
    if job.unique_key is not None and job.unique_key in queue.unique:
        return EnqueueResult(Enqueued.EXISTS, queue.unique[job.unique_key])
    if job.id in queue.live:
        return EnqueueResult(Enqueued.EXISTS, job.id)
    return None


def _due_ms(submission: Submission, now: int) -> int:
    if submission.delay is not None:
        return now + to_ms(submission.delay)
    return submission.run_at_ms if submission.run_at_ms is not None else now
