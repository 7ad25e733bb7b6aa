"""mayu (Rust core, Redis Streams) as the benchmark suite drives it: describe, produce, work."""

import asyncio
import json
import sys
import time
from time import perf_counter, process_time

import tally
import uvloop
from mayu import App, configure_logging
from mayu.worker import WorkerRunner

ABOUT = {
    "name": f"mayu {tally.version('mayu')}",
    "modes": ["one"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "one worker as process mode runs it (this Python has a GIL): one task thread, prefetch multiplier ="
    " concurrency, so that as many async tasks are in flight; noop is a sync task on that thread (faster than async"
    " here), io async on uvloop; default MessagePack codec; result_ttl unset (3600 s with results); send() blocks, and"
    " there is no bulk call; a killed worker's jobs run again after the visibility timeout (30 s)",
}


def make_app(options):
    app = App(broker=options["url"], default_queue="bench", result_ttl=3600 if options["results"] else None)

    @app.task(name="noop")
    def noop(n: int, text: str) -> None:
        tally.ran(n)

    @app.task(name="io")
    async def io(n: int, text: str) -> None:
        await asyncio.sleep(0.01)
        tally.ran(n)

    return app, {"noop": noop, "io": io}


def produce(options):
    _, tasks = make_app(options)
    task = tasks[options["task"]]
    delay = {"countdown": options["delay_s"]} if options["delay_s"] else {}
    numbers = range(options["first"], options["first"] + options["jobs"])
    for _ in range(10):
        tasks["noop"].send(-1, tally.text(-1))

    started, started_cpu = perf_counter(), process_time()
    if options["interval_s"]:
        send_paced(task, numbers, options["interval_s"])
    else:
        for n in numbers:
            task.send(n, tally.text(n), **delay)
    return {"seconds": perf_counter() - started, "cpu_seconds": process_time() - started_cpu}


def send_paced(task, numbers, interval_s):
    started = perf_counter()
    for turn, n in enumerate(numbers):
        time.sleep(max(0, started + turn * interval_s - perf_counter()))
        tally.sent(n)
        task.send(n, tally.text(n))


def work(options):
    configure_logging("text", "WARNING")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # mayu asks the policy for the loop of its async tasks
    app, _ = make_app(options)
    WorkerRunner(app, threads=1, prefetch_multiplier=options["concurrency"]).run()


def main():
    command = sys.argv[1]
    if command == "describe":
        print(json.dumps(ABOUT))
        return
    options = json.loads(sys.argv[2])
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    if command == "produce":
        print(json.dumps(produce(options)), flush=True)
    else:
        work(options)


if __name__ == "__main__":
    main()
