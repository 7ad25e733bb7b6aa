"""A worker inside a program of your own: beside a web server, say, in the same event loop.

Run: python examples/embed_worker.py
Needs: REDIS_URL.
"""

import asyncio
from contextlib import suppress

from jobqueue import JobQueue, Registry, Worker

registry = Registry()


@registry.task("thumbnail.make")
async def make_thumbnail(picture: str) -> None:
    await asyncio.sleep(0.1)
    print("thumbnail of", picture)


async def serve(queue: JobQueue) -> None:
    """Stands for your application."""
    for picture in ("a.png", "b.png", "c.png"):
        await queue.enqueue(make_thumbnail.job(picture=picture))
    await asyncio.sleep(0.15)


async def main() -> None:
    async with JobQueue.from_env() as queue:
        worker = Worker(queue, registry, queues=["default"], concurrency=2)
        running = asyncio.create_task(worker.run())  # installs no signal handlers
        await serve(queue)

        running.cancel()  # once: what runs may finish; a second cancel would give it back at once
        with suppress(asyncio.CancelledError):
            await running
        print("completed:", worker.metrics.settled["default", "thumbnail.make", "completed"])
        print("left for another worker:", (await queue.stats("default")).live)


if __name__ == "__main__":
    asyncio.run(main())
