"""cauli (Python client, worker in Rust, Redis Streams) as the benchmark suite drives it: describe, produce, work.

The worker is the program cauli-worker, which replaces this process and imports this module again for `app`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from time import perf_counter, process_time

import tally
import uvloop
from cauli import AsyncCauli

ABOUT = {
    "name": f"cauli {tally.version('cauli')}",
    "modes": ["one", "gathered", "bulk"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "hiredis; uvloop in producer and worker; cauli-worker -c CONCURRENCY --procs 1 --batch 100 (default"
    " 16), acks in groups of 64 or 2 ms (default); noop is a sync task on its thread pool (faster here than async),"
    " io async; store_result only with results on; one by one is delay() (faster than adelay), gathered adelay, bulk"
    " aenqueue_many; a killed worker's jobs run again after the task timeout and 30 s (330 s by default)",
}
WORKER_OPTIONS = "CAULI_BENCH_OPTIONS"


def make_app(options):
    app = AsyncCauli(redis_url=options["url"], default_queue="bench")

    @app.task(name="noop", store_result=options["results"])
    def noop(n: int, text: str) -> None:
        tally.ran(n)

    @app.task(name="io", store_result=options["results"])
    async def io(n: int, text: str) -> None:
        await asyncio.sleep(0.01)
        tally.ran(n)

    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    return app, {"noop": noop, "io": io}


async def produce(options):
    app, tasks = make_app(options)
    task = tasks[options["task"]]
    delay = {"countdown": options["delay_s"]} if options["delay_s"] else {}
    numbers = range(options["first"], options["first"] + options["jobs"])
    for _ in range(10):
        tasks["noop"].delay(-1, tally.text(-1))
    await tasks["noop"].adelay(-1, tally.text(-1))  # connects the asyncio client

    started, started_cpu = perf_counter(), process_time()
    if options["interval_s"]:
        await send_paced(task, numbers, options["interval_s"])
    elif options["mode"] == "one":
        for n in numbers:
            task.apply_async((n, tally.text(n)), **delay)
    elif options["mode"] == "gathered":
        for start in range(0, len(numbers), 100):
            group = numbers[start : start + 100]
            await asyncio.gather(*(task.aapply_async((n, tally.text(n)), **delay) for n in group))
    else:
        for start in range(0, len(numbers), 1000):
            group = numbers[start : start + 1000]
            await app.aenqueue_many([(task, (n, tally.text(n)), {}, delay) for n in group])
    cost = {"seconds": perf_counter() - started, "cpu_seconds": process_time() - started_cpu}
    await app.aclose()
    return cost


async def send_paced(task, numbers, interval_s):
    started = perf_counter()
    for turn, n in enumerate(numbers):
        await asyncio.sleep(started + turn * interval_s - perf_counter())
        tally.sent(n)
        task.delay(n, tally.text(n))


def work(options):
    """Become cauli-worker, which lies beside this Python and finds uvloop by itself."""
    worker = Path(sys.executable).with_name("cauli-worker")
    command = [worker, "-A", "cauli_adapter:app", "-Q", "bench", "--log-level", "error", "--redis-url", options["url"]]
    command += ["-c", options["concurrency"], "--procs", 1, "--batch", 100]
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": here, WORKER_OPTIONS: json.dumps(options)}
    os.execve(worker, [str(word) for word in command], environment)


def main():
    command = sys.argv[1]
    if command == "describe":
        print(json.dumps(ABOUT))
    elif command == "produce":
        print(json.dumps(uvloop.run(produce(json.loads(sys.argv[2])))), flush=True)
    else:
        work(json.loads(sys.argv[2]))


if __name__ == "__main__":
    main()
elif WORKER_OPTIONS in os.environ:
    app, _ = make_app(json.loads(os.environ[WORKER_OPTIONS]))
