"""streaQ for the suite: `describe`, `produce` and `work`, run by the Python of streaQ's own environment."""

import asyncio
import json
import logging
import sys
import time

import tally
import uvloop
from streaq import Worker

BULK = 1_000
GATHERED = 100
WARM_UP = 10

DESCRIPTION = {
    "name": f"streaQ {tally.version('streaq')}",
    "modes": ["one", "gathered", "bulk"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "concurrency = concurrency, prefetch at its default of one concurrency, pickle (default), silent "
    "tasks, ttl 0 (300 s with results), grace_period 5 s, asyncio backend with uvloop; a killed worker's tasks run "
    "again after idle_timeout (60 s by default)",
}


async def noop(n, text):
    tally.ran(n)


async def io(n, text):
    await asyncio.sleep(0.010)
    tally.ran(n)


def build(options, concurrency=16):
    """A worker object, which producers use as well, and its tasks by name."""
    worker = Worker(
        redis_url=options["url"], concurrency=concurrency, grace_period=5, anyio_kwargs={"use_uvloop": True}
    )
    register = worker.task(silent=True, ttl=300 if options["results"] else 0)
    return worker, {"noop": register(noop), "io": register(io)}


async def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    worker, tasks = build(options)

    def task_of(name, n):
        task = tasks[name].enqueue(n=n, text=tally.text(n))
        return task.start(delay=options["delay_s"]) if options["delay_s"] and n >= 0 else task

    async def enqueue(name, n):
        await task_of(name, n)

    async with worker:
        numbers = range(options["first"], options["first"] + options["jobs"])
        if options["mode"] == "bulk":
            await worker.enqueue_many([task_of("noop", -1) for _ in range(WARM_UP)])
        else:
            for _ in range(WARM_UP):
                await enqueue("noop", -1)
        started, cpu = time.perf_counter(), time.process_time()
        if options["interval_s"]:
            await at_intervals(options, enqueue, numbers)
        elif options["mode"] == "bulk":
            for at in range(0, len(numbers), BULK):
                await worker.enqueue_many([task_of(options["task"], n) for n in numbers[at : at + BULK]])
        elif options["mode"] == "gathered":
            for at in range(0, len(numbers), GATHERED):
                await asyncio.gather(*[enqueue(options["task"], n) for n in numbers[at : at + GATHERED]])
        else:
            for n in numbers:
                await enqueue(options["task"], n)
        return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}


async def at_intervals(options, enqueue, numbers):
    due = time.perf_counter()
    for n in numbers:
        await asyncio.sleep(max(0, due - time.perf_counter()))
        due += options["interval_s"]
        tally.sent(n)
        await enqueue(options["task"], n)


def work(options):
    logging.basicConfig(level=logging.WARNING)
    tally.open(options["tally"], options["capacity"])
    worker, _ = build(options, options["concurrency"])
    worker.run_sync()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(uvloop.run(produce(options))))
    else:
        work(options)
