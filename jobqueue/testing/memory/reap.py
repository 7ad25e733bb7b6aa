"""Giving back the jobs of workers whose lease has run out."""

from jobqueue.broker.base import Delivery, Settlement
from jobqueue.job import decode_envelope
from jobqueue.outcome import Cancelled, decide_crash
from jobqueue.testing.memory.settle import settle
from jobqueue.testing.memory.store import MemoryQueue, Store


def reap(store: Store, queue: MemoryQueue) -> int:
    """Give back everything that dead workers hold. Returns how many jobs."""
    now = store.clock.now_ms()
    dead = [name for name in {**queue.held, **queue.leases} if queue.leases.get(name, 0) < now]
    jobs = 0
    for consumer in dead:
        queue.leases.pop(consumer, None)
        given = list(queue.held.get(consumer, {}).values())
        jobs += len(given)
        settle(store, queue, [_crashed(store, queue, job, consumer, now) for job in given], consumer)
        queue.held.pop(consumer, None)
        queue.roster.pop(consumer, None)
    return jobs


def _crashed(store: Store, queue: MemoryQueue, job: Delivery, consumer: str, now: int) -> Settlement:
    outcome = decide_crash(consumer, crashes=job.crashes, max_crashes=store.max_crashes)
    stop = job.job_id in queue.asked
    envelope = decode_envelope(job.body)
    return Settlement(
        delivery=job,
        outcome=Cancelled() if stop else outcome,
        type=envelope.type,
        started_ms=now,
        result_ttl_ms=envelope.result_ttl_ms,
    )
