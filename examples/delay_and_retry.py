"""Jobs that start later, one that fails and is tried again, one that says when, one that gives up.

Run: python examples/delay_and_retry.py
Needs: REDIS_URL.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from jobqueue import Discard, JobContext, JobQueue, Registry, RetryLater, RetryPolicy, Worker

registry = Registry()
quick = RetryPolicy(max_retries=3, base=timedelta(milliseconds=50), jitter="none")
started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - started:.2f} s: {text}")


@registry.task("remind")
async def remind(text: str) -> None:
    say(f"reminder: {text}")


@registry.task("call.flaky", retry=quick)
async def call_flaky(ctx: JobContext) -> None:
    say(f"flaky, attempt {ctx.attempt}")
    if ctx.attempt == 1:
        raise ConnectionError  # again after what the policy says
    if ctx.attempt == 2:
        raise RetryLater(timedelta(milliseconds=300))  # again after what we say


@registry.task("call.gone", retry=quick)
async def call_gone() -> None:
    raise Discard("the account was closed")  # no more tries: a dead letter


async def main() -> None:
    async with JobQueue.from_env() as queue:
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        handles = [
            await queue.enqueue(remind.job(text="in half a second"), delay=timedelta(seconds=0.5)),
            await queue.enqueue(remind.job(text="at its time"), run_at=soon),
            *[await queue.enqueue(task.job()) for task in (call_flaky, call_gone)],
        ]
        worker = asyncio.create_task(Worker(queue, registry, queues=["default"]).run())
        for handle in handles:  # a burst would not wait for delayed jobs
            await queue.wait(handle.id, timeout=timedelta(seconds=10))
        worker.cancel()
        await asyncio.wait([worker])
        print("dead letters:", (await queue.stats("default")).died)


if __name__ == "__main__":
    asyncio.run(main())
