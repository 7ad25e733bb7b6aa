"""The smallest whole program: one task, one job, one worker.

Run: python examples/first_job.py
Needs: REDIS_URL. With DATABASE_URL, history would be kept too.
"""

import asyncio
from datetime import timedelta

from jobqueue import JobQueue, Registry, Worker

registry = Registry()


@registry.task("greet", result_ttl=timedelta(minutes=1))  # keep what it returns for a minute
async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def main() -> None:
    async with JobQueue.from_env() as queue:
        handle = await queue.enqueue(greet.job(name="Ada"))  # arguments are checked here
        print("queued", handle.id)

        await Worker(queue, registry, queues=["default"]).run(burst=True)  # until the queue is empty

        status = await queue.get(handle.id)
        assert status is not None
        print(status.state, status.result)


if __name__ == "__main__":
    asyncio.run(main())
