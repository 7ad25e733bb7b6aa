"""What the contract tests say again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from jobqueue.broker.base import Beat, Broker, Consumer, Delivery, EnqueueResult, Heartbeat, Settlement, Submission
from jobqueue.errors import BrokerUnavailable
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure, Outcome, Retrying
from testutil.eventually import eventually

Q = "mail"
FAILURE = Failure("ValueError", "no such address", "Traceback ...")
DEAD = Dead(DeadReason.EXHAUSTED, FAILURE)
RETRY_NOW = Retrying(0, FAILURE)
SHORT = timedelta(milliseconds=300)


def job(n: int = 0, **options: Any) -> Job:
    return Job("email.send", {"n": n}, **{"queue": Q, **options})


async def enqueue(broker: Broker, *jobs: Job, **options: Any) -> list[EnqueueResult]:
    return await broker.enqueue([Submission(job=each, **options) for each in jobs])


async def take(consumer: Consumer, count: int = 1) -> list[Delivery]:
    """Fetch until *count* jobs have come."""
    taken: list[Delivery] = []

    async def look() -> bool:
        taken.extend(await consumer.fetch(count - len(taken)))
        return len(taken) >= count

    await eventually(look)
    return taken


async def take_one(consumer: Consumer) -> Delivery:
    (delivery,) = await take(consumer)
    return delivery


def settlement(delivery: Delivery, outcome: Outcome = COMPLETED, **facts: Any) -> Settlement:
    return Settlement(delivery=delivery, outcome=outcome, **{"type": "email.send", **facts})


async def settle(consumer: Consumer, outcome: Outcome, *deliveries: Delivery, **facts: Any) -> None:
    await consumer.settle([settlement(each, outcome, **facts) for each in deliveries])


async def run(broker: Broker, outcome: Outcome, *jobs: Job) -> Consumer:
    """Enqueue jobs and settle each with *outcome*."""
    worker = await broker.join([jobs[0].queue])
    await enqueue(broker, *jobs)
    await settle(worker, outcome, *await take(worker, len(jobs)))
    return worker


async def beat(heartbeat: Heartbeat, progress: Mapping[str, Mapping[str, bytes]] | None = None) -> list[Beat]:
    """A beat that was heard. It waits for a third of the lease only, and workers send another then."""

    async def heard() -> list[Beat] | None:
        try:
            return await asyncio.to_thread(heartbeat.beat, progress or {})
        except BrokerUnavailable:
            return None

    return await eventually(heard)  # type: ignore[return-value]


async def reap(broker: Broker, jobs: int, *, alive: Consumer | None = None, queue: str = Q) -> None:
    """Tick as reapers do until *jobs* have been given back; *alive* beats meanwhile."""
    heartbeat = alive.heartbeat() if alive else None
    reaped = 0

    async def tick() -> bool:
        nonlocal reaped
        if heartbeat is not None:
            assert all(each.alive for each in await beat(heartbeat))
        reaped += await broker.reap(queue)
        return reaped >= jobs

    await eventually(tick, poll_s=0.03)
    if heartbeat is not None:
        heartbeat.close()
    assert reaped == jobs


async def promoted(broker: Broker, ready: int, *, queue: str = Q) -> None:
    """Promote until *ready* jobs are ready."""

    async def look() -> bool:
        await broker.promote(queue)
        return (await broker.stats(queue)).depth >= ready

    await eventually(look)


async def raised(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    try:
        await call()
    except Exception as error:
        return error
    return None
