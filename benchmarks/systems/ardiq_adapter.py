"""ArdiQ (Rust core, Redis Streams) as the benchmark suite drives it: describe, produce, work."""

import asyncio
import json
import os
import signal
import sys
from time import perf_counter, process_time

import tally
import uvloop
from ardiq import Ardiq

ABOUT = {
    "name": f"ArdiQ {tally.version('ardiq')}",
    "modes": ["one", "gathered", "bulk"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "uvloop, async tasks, the default msgpack codec, prefetch at its default of twice the concurrency,"
    " results dropped (result_ttl_ms=0) or kept for the default 5 minutes; bulk is enqueue_many;"
    " a killed worker's jobs run again after idle_timeout_ms (60 s)",
}


def make_app(options, concurrency=100):
    keep = {} if options["results"] else {"result_ttl_ms": 0}
    app = Ardiq(redis_url=options["url"], queue_name="bench", concurrency=concurrency, **keep)

    @app.task()
    async def noop(n: int, text: str) -> None:
        tally.ran(n)

    @app.task()
    async def io(n: int, text: str) -> None:
        await asyncio.sleep(0.01)
        tally.ran(n)

    return app, {"noop": noop, "io": io}


async def produce(options):
    app, tasks = make_app(options)
    task = tasks[options["task"]].options(delay_ms=round(options["delay_s"] * 1000))
    numbers = range(options["first"], options["first"] + options["jobs"])
    for _ in range(10):
        await tasks["noop"].enqueue(-1, tally.text(-1))

    started, started_cpu = perf_counter(), process_time()
    if options["interval_s"]:
        await send_paced(task, numbers, options["interval_s"])
    elif options["mode"] == "one":
        for n in numbers:
            await task.enqueue(n, tally.text(n))
    elif options["mode"] == "gathered":
        for start in range(0, len(numbers), 100):
            await asyncio.gather(*(task.enqueue(n, tally.text(n)) for n in numbers[start : start + 100]))
    else:
        for start in range(0, len(numbers), 1000):
            await app.enqueue_many([task.prepare(n, tally.text(n)) for n in numbers[start : start + 1000]])
    return {"seconds": perf_counter() - started, "cpu_seconds": process_time() - started_cpu}


async def send_paced(task, numbers, interval_s):
    started = perf_counter()
    for turn, n in enumerate(numbers):
        await asyncio.sleep(started + turn * interval_s - perf_counter())
        tally.sent(n)
        await task.enqueue(n, tally.text(n))


async def work(options):
    app, _ = make_app(options, options["concurrency"])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop)
    await app.run()


def main():
    command = sys.argv[1]
    if command == "describe":
        print(json.dumps(ABOUT))
        return
    options = json.loads(sys.argv[2])
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    if command == "produce":
        print(json.dumps(uvloop.run(produce(options))), flush=True)
    else:
        uvloop.run(work(options))
    os._exit(0)  # As ardiq's own command ends: its tokio threads can crash an interpreter that is being taken down.


if __name__ == "__main__":
    main()
