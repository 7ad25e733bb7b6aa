import subprocess
import sys

FORKING = """
import asyncio, os, sys
from jobqueue import Registry, Worker
from jobqueue.testing import memory_queue

registry = Registry()


@registry.task("fork")
async def fork() -> None:
    if os.fork() == 0:
        sys.exit(0)
    os.wait()


async def main() -> None:
    async with memory_queue(registry) as queue:
        await queue.enqueue(fork.job())
        await Worker(queue, registry, queues=["default"]).run(burst=True)
        print("completed", (await queue.stats("default")).completed, flush=True)


asyncio.run(main())
"""


def test_a_fork_that_comes_back_from_a_handler_does_not_go_on_as_a_second_worker() -> None:
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)

    assert [line for line in ended.stdout.splitlines() if line.startswith("completed")] == ["completed 1"]
