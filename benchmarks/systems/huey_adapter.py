"""huey for the suite: `describe`, `produce` and `work`, run by the Python of huey's own environment."""

import json
import logging
import sys
import time

import tally
from huey import RedisHuey
from redis import ConnectionPool

WARM_UP = 10

DESCRIPTION = {
    "name": f"huey {tally.version('huey')}",
    "modes": ["one"],
    "results": True,
    "delayed": True,
    "crash_safe": False,
    "settings": "RedisHuey with blocking reads (default), one process with thread workers = concurrency, pickle "
    "(default), results=False unless asked for, hiredis; jobs are popped before they run, so a killed worker loses "
    "those it holds",
}


def noop(n, text):
    tally.ran(n)


def io(n, text):
    time.sleep(0.010)
    tally.ran(n)


def build(options, concurrency=1):
    """The queue and its tasks by name."""
    pool = ConnectionPool.from_url(options["url"], max_connections=concurrency + 10)
    huey = RedisHuey("bench", connection_pool=pool, results=options["results"], store_none=options["results"])
    return huey, {"noop": huey.task()(noop), "io": huey.task()(io)}


def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    huey, tasks = build(options)
    delay_s = options["delay_s"]

    def enqueue(task, n):
        if delay_s and n >= 0:
            tasks[task].schedule(kwargs={"n": n, "text": tally.text(n)}, delay=delay_s)
        else:
            tasks[task](n=n, text=tally.text(n))

    for _ in range(WARM_UP):
        enqueue("noop", -1)
    numbers = range(options["first"], options["first"] + options["jobs"])
    started, cpu = time.perf_counter(), time.process_time()
    if options["interval_s"]:
        at_intervals(options, enqueue, numbers)
    else:
        for n in numbers:
            enqueue(options["task"], n)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    huey.storage.close()
    return took


def at_intervals(options, enqueue, numbers):
    due = time.perf_counter()
    for n in numbers:
        time.sleep(max(0, due - time.perf_counter()))
        due += options["interval_s"]
        tally.sent(n)
        enqueue(options["task"], n)


def work(options):
    logging.basicConfig(level=logging.WARNING)
    tally.open(options["tally"], options["capacity"])
    huey, _ = build(options, options["concurrency"])
    huey.create_consumer(workers=options["concurrency"], worker_type="thread", graceful_signal="TERM").run()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(produce(options)))
    else:
        work(options)
