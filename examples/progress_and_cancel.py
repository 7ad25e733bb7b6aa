"""A long job that tells how far it is, and is cancelled half-way.

Run: python examples/progress_and_cancel.py
Needs: REDIS_URL.
"""

import asyncio
from datetime import timedelta

from jobqueue import JobContext, JobQueue, JobState, Registry, Worker

registry = Registry()


@registry.task("archive.build")
async def build_archive(ctx: JobContext, files: int) -> None:
    try:
        for n in range(files):
            ctx.progress({"done": n, "of": files})  # goes out with the next heartbeat, every 2 s
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        print("tidying up, then letting go")
        raise


async def main() -> None:
    async with JobQueue.from_env() as queue:
        worker = asyncio.create_task(Worker(queue, registry, queues=["default"]).run())
        handle = await queue.enqueue(build_archive.job(files=1000))

        for _ in range(10):
            await asyncio.sleep(0.5)
            status = await queue.get(handle.id)
            if status is not None and status.progress is not None:
                print(status.state, "on", status.worker, status.progress)
                break

        asked = await queue.cancel(handle.id)
        assert asked is JobState.RUNNING  # it runs, so its worker is asked; one that waits would end at once
        await queue.wait(handle.id, timeout=timedelta(seconds=10))
        print("cancelled:", (await queue.stats("default")).cancelled)

        worker.cancel()
        await asyncio.wait([worker])


if __name__ == "__main__":
    asyncio.run(main())
