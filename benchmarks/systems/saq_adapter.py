"""SAQ for the suite: `describe`, `produce` and `work`, run by the Python of SAQ's own environment."""

import asyncio
import json
import logging
import sys
import time

import orjson
import tally
import uvloop
from saq import Queue, Worker

GATHERED = 100
WARM_UP = 10

DESCRIPTION = {
    "name": f"SAQ {tally.version('saq')}",
    "modes": ["one", "gathered"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "Worker concurrency = concurrency, orjson as dump and load, max_concurrent_ops 100 (default 20), "
    "retries 3 (with the default of 1 a killed worker's jobs are aborted, not run again), ttl -1 (600 s with "
    "results), timers at defaults, uvloop, hiredis; a killed worker's jobs run again after their timeout of 10 s at "
    "the next sweep (60 s)",
}


async def noop(ctx, *, n, text):
    tally.ran(n)


async def io(ctx, *, n, text):
    await asyncio.sleep(0.010)
    tally.ran(n)


def connect(options):
    return Queue.from_url(options["url"], dump=orjson.dumps, load=orjson.loads, max_concurrent_ops=100)


async def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    queue = connect(options)
    await queue.connect()
    ttl = 600 if options["results"] else -1
    delay_s = options["delay_s"]

    async def enqueue(task, n):
        scheduled = int(time.time() + delay_s) if delay_s else 0
        await queue.enqueue(task, n=n, text=tally.text(n), ttl=ttl, retries=3, scheduled=scheduled)

    for _ in range(WARM_UP):
        await queue.enqueue("noop", n=-1, text=tally.text(-1), ttl=ttl, retries=3)
    numbers = range(options["first"], options["first"] + options["jobs"])
    started, cpu = time.perf_counter(), time.process_time()
    if options["interval_s"]:
        await at_intervals(options, enqueue, numbers)
    elif options["mode"] == "gathered":
        for at in range(0, len(numbers), GATHERED):
            await asyncio.gather(*[enqueue(options["task"], n) for n in numbers[at : at + GATHERED]])
    else:
        for n in numbers:
            await enqueue(options["task"], n)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    await queue.disconnect()
    return took


async def at_intervals(options, enqueue, numbers):
    due = time.perf_counter()
    for n in numbers:
        await asyncio.sleep(max(0, due - time.perf_counter()))
        due += options["interval_s"]
        tally.sent(n)
        await enqueue(options["task"], n)


async def work(options):
    tally.open(options["tally"], options["capacity"])
    queue = connect(options)
    await queue.connect()
    # A stopping worker also waits this long for its blocked reads, so the grace period is short.
    worker = Worker(queue, [noop, io], concurrency=options["concurrency"], shutdown_grace_period_s=2)
    await worker.start()
    await queue.disconnect()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(uvloop.run(produce(options))))
    else:
        logging.basicConfig(level=logging.WARNING)
        uvloop.run(work(options))
