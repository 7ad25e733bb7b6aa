"""BlitzQ as the benchmark suite drives it: describe, produce, work. Its reliable mode on Redis Streams."""

import asyncio
import json
import sys
from time import perf_counter, process_time

import tally
import uvloop
from blitzq import Queue
from blitzq.logs import configure_logging
from blitzq.worker import Worker, run_worker

COMMON_SETTINGS = (
    "uvloop and hiredis, async tasks, the default MessagePack serializer, fetches of up to 100 (default), store_results"
    " only with results on; bulk is enqueue_many"
)
ABOUT = {
    "name": f"BlitzQ {tally.version('blitzq')}",
    "modes": ["one", "gathered", "bulk"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": f"reliable mode (Redis Streams); {COMMON_SETTINGS}; a killed worker's jobs run again after the"
    " visibility timeout (60 s) and a sweep",
}


def make_queue(options, mode):
    queue = Queue("bench", options["url"], mode=mode, store_results=options["results"])

    @queue.task(name="noop")
    async def noop(n: int, text: str) -> None:
        tally.ran(n)

    @queue.task(name="io")
    async def io(n: int, text: str) -> None:
        await asyncio.sleep(0.01)
        tally.ran(n)

    return queue, {"noop": noop, "io": io}


async def produce(options, mode):
    queue, tasks = make_queue(options, mode)
    task = tasks[options["task"]]
    if options["delay_s"]:
        task = task.options(delay=options["delay_s"])
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
            await task.enqueue_many([(n, tally.text(n)) for n in numbers[start : start + 1000]])
    cost = {"seconds": perf_counter() - started, "cpu_seconds": process_time() - started_cpu}
    await queue.close()
    return cost


async def send_paced(task, numbers, interval_s):
    started = perf_counter()
    for turn, n in enumerate(numbers):
        await asyncio.sleep(started + turn * interval_s - perf_counter())
        tally.sent(n)
        await task.enqueue(n, tally.text(n))


def work(options, mode):
    configure_logging("WARNING")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # run_worker starts the loop itself
    queue, _ = make_queue(options, mode)
    run_worker(Worker(queue, concurrency=options["concurrency"]))


def main(about=ABOUT, mode="reliable"):
    command = sys.argv[1]
    if command == "describe":
        print(json.dumps(about))
        return
    options = json.loads(sys.argv[2])
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    if command == "produce":
        print(json.dumps(uvloop.run(produce(options, mode))), flush=True)
    else:
        work(options, mode)


if __name__ == "__main__":
    main()
