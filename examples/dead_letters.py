"""Jobs that fail for good, found in Postgres with their errors, and brought back once the cause is mended.

Run: python examples/dead_letters.py
Needs: REDIS_URL, and DATABASE_URL of a migrated database (`jobqueue migrate up`).
"""

import asyncio

from jobqueue import JobQueue, LetterFilter, Registry, RetryPolicy, Worker

registry = Registry()
prices: dict[str, int] = {}


@registry.task("order.price", retry=RetryPolicy(max_retries=0))
async def price_order(item: str) -> None:
    print(f"{item} costs {prices[item]}")


async def main() -> None:
    async with JobQueue.from_env() as queue:
        worker = Worker(queue, registry, queues=["default"])
        await queue.enqueue(price_order.job(item="tea"))
        await worker.run(burst=True)

        where = LetterFilter(type="order.price", error="KeyError")
        letters, _ = await queue.dead_letters.list(where, limit=10)
        for stored in letters:
            letter = stored.letter
            print(f"{stored.type} {letter.job_id}: {letter.reason}, {letter.error_class}: {letter.error_message}")
            print(letter.traceback.splitlines()[-1])

        prices["tea"] = 4  # the cause is mended
        for stored in letters:
            await queue.dead_letters.requeue(stored.letter.job_id)
            again = await queue.dead_letters.requeue(stored.letter.job_id)  # a double click does nothing
            print("requeued; a second time:", again)
        await Worker(queue, registry, queues=["default"]).run(burst=True)
        print("still dead:", await queue.dead_letters.count(LetterFilter(type="order.price")))


if __name__ == "__main__":
    asyncio.run(main())
