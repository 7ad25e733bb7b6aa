"""Plain functions as handlers: they run in threads, and beside each other.

Run: python examples/sync_handlers.py
Needs: REDIS_URL.
"""

import asyncio
import hashlib
import time
from datetime import date, timedelta

from jobqueue import JobContext, JobQueue, Registry, Worker, current_job

registry = Registry()


@registry.task("report.build", result_ttl=timedelta(minutes=1))
def build_report(day: date) -> dict[str, str]:  # a date again, though JSON has none
    time.sleep(0.3)  # blocks its thread, not the event loop
    digest = hashlib.sha256(str(day).encode()).hexdigest()[:8]
    return {"job": current_job().job_id, "digest": digest}


@registry.task("report.watch", timeout=timedelta(seconds=1))
def watch(ctx: JobContext) -> None:
    while not ctx.cancelled:  # a thread cannot be interrupted: it has to look
        time.sleep(0.05)
    print("asked to stop; leaving")


async def main() -> None:
    async with JobQueue.from_env() as queue:
        first = [await queue.enqueue(build_report.job(day=date(2026, 3, n))) for n in range(1, 5)]
        await queue.enqueue(watch.job(), max_retries=0)
        started = time.monotonic()
        await Worker(queue, registry, queues=["default"], concurrency=5).run(burst=True)
        print(f"all five in {time.monotonic() - started:.1f} s")
        for handle in first:
            status = await queue.get(handle.id)
            assert status is not None
            print(status.state, status.result)


if __name__ == "__main__":
    asyncio.run(main())
