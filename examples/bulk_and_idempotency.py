"""Many jobs in few round trips, and jobs that must not be queued twice.

Run: python examples/bulk_and_idempotency.py
Needs: REDIS_URL.
"""

import asyncio
from collections import Counter

from jobqueue import IdempotencyConflict, Job, JobQueue, Registry, Worker

registry = Registry()


@registry.task("email.send", queue="mail")
async def send_email(to: str) -> None: ...


async def main() -> None:
    async with JobQueue.from_env(registry=registry) as queue:
        jobs = [send_email.job(to=f"reader-{n}@example.org") for n in range(1000)]
        results = await queue.enqueue_many(jobs)  # a round trip for up to 500
        print(Counter(result.status.value for result in results))
        results = await queue.enqueue_many(jobs)  # the same jobs: they live, so nothing is queued
        print(Counter(result.status.value for result in results))

        # A key of your own holds also after the job has ended, for a day unless you say otherwise.
        first = await queue.enqueue(send_email.job(to="ada@example.org"), idempotency_key="order-17")
        again = await queue.enqueue(send_email.job(to="ada@example.org"), idempotency_key="order-17")
        print("same job:", first.id == again.id, "created:", again.created)
        try:
            await queue.enqueue(send_email.job(to="bob@example.org"), idempotency_key="order-17")
        except IdempotencyConflict as error:
            print("refused:", error)

        # A unique key holds while the job lives: at most one sync of this account is queued or running.
        one = await queue.enqueue(Job("email.send", {"to": "x@example.org"}, queue="mail"), unique_key="account-4")
        two = await queue.enqueue(Job("email.send", {"to": "x@example.org"}, queue="mail"), unique_key="account-4")
        print("the one that is queued already:", two.id == one.id)

        await Worker(queue, registry, queues=["mail"], concurrency=100).run(burst=True)
        print("completed:", (await queue.stats("mail")).completed)


if __name__ == "__main__":
    asyncio.run(main())
