"""Requeues a dead letter with another payload: `python -m tests.faults.edit_app JOB PAYLOAD`."""

import asyncio
import sys

from jobqueue import JobQueue


async def main(job_id: str, payload: str) -> None:
    async with JobQueue.from_env() as queue:
        await queue.dead_letters.requeue(job_id, payload=payload.encode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
