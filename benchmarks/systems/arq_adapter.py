"""arq for the suite: `describe`, `produce` and `work`, run by the Python of arq's own environment."""

import asyncio
import json
import logging
import sys
import time

import tally
import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

GATHERED = 100
WARM_UP = 10

DESCRIPTION = {
    "name": f"arq {tally.version('arq')}",
    "modes": ["one", "gathered"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "max_jobs = concurrency, poll_delay 10 ms (default 500 ms), queue_read_limit at its default of 5 x "
    "max_jobs, pickle (default), keep_result 0 (3600 s with results), job_completion_wait 5 s, uvloop, hiredis; a "
    "killed worker's jobs run again after job_timeout + 10 s (310 s by default)",
}


async def noop(ctx, n, text):
    tally.ran(n)


async def io(ctx, n, text):
    await asyncio.sleep(0.010)
    tally.ran(n)


async def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    redis = await create_pool(RedisSettings.from_dsn(options["url"]))
    delay_s = options["delay_s"] or None

    async def enqueue(task, n):
        await redis.enqueue_job(task, n=n, text=tally.text(n), _defer_by=delay_s)

    for _ in range(WARM_UP):
        await redis.enqueue_job("noop", n=-1, text=tally.text(-1))
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
    await redis.aclose()
    return took


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
    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker(
        functions=[noop, io],
        redis_settings=RedisSettings.from_dsn(options["url"]),
        max_jobs=options["concurrency"],
        poll_delay=0.010,
        keep_result=3600 if options["results"] else 0,
        job_completion_wait=5,
    ).run()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(uvloop.run(produce(options))))
    else:
        work(options)
