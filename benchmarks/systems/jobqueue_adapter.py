"""jobqueue itself: as a worker this process becomes the real command `jobqueue worker`, which imports this module."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import tally
import uvloop

from jobqueue import Job, JobQueue, Registry

GATHERED = 100
BULK = 1000
WARM_UP = 10
RESULT_TTL = timedelta(hours=1)
_TALLY = "BENCH_TALLY"  # set for the worker, which has none of our options


def make_registry(result_ttl: timedelta | None = None) -> Registry:
    registry = Registry()

    @registry.task("noop", result_ttl=result_ttl)
    async def noop(n: int, text: str) -> None:
        tally.ran(n)

    @registry.task("io", result_ttl=result_ttl)
    async def io(n: int, text: str) -> None:
        await asyncio.sleep(0.010)
        tally.ran(n)

    return registry


registry = make_registry()
if _TALLY in os.environ:
    tally.open(*json.loads(os.environ[_TALLY]))


def describe() -> dict:
    return {
        "name": f"jobqueue {tally.version('jobqueue-asyncio')}",
        "modes": ["one", "gathered", "bulk"],
        "results": True,
        "delayed": True,
        "history": True,
        "crash_safe": True,
        "settings": "the command `jobqueue worker -q default -c 100`, else at its defaults: leases, fencing, retries, "
        "deadlines and metrics on; no history unless said; uvloop",
    }


async def produce(options: dict) -> dict:
    if options.get("tally"):
        tally.open(options["tally"], options["capacity"])
    tasks = make_registry(RESULT_TTL if options.get("results") else None)
    delay = timedelta(seconds=options["delay_s"]) if options.get("delay_s") else None
    enqueue = {"one": enqueue_one, "gathered": enqueue_gathered, "bulk": enqueue_bulk}[options["mode"]]
    async with JobQueue.connect(options["url"], registry=tasks) as queue:
        for _ in range(WARM_UP):
            await queue.enqueue(tasks.get("noop").job(n=-1, text=tally.text(-1)))
        task = tasks.get(options["task"])
        numbers = range(options["first"], options["first"] + options["jobs"])
        started, cpu_started = time.perf_counter(), time.process_time()
        if options.get("interval_s"):
            await enqueue_steadily(queue, task, numbers, options["interval_s"])
        else:
            await enqueue(queue, task, numbers, delay)
        return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}


def job(task, n: int) -> Job:
    return task.job(n=n, text=tally.text(n))


async def enqueue_one(queue: JobQueue, task, numbers: range, delay: timedelta | None) -> None:
    for n in numbers:
        await queue.enqueue(job(task, n), delay=delay)


async def enqueue_gathered(queue: JobQueue, task, numbers: range, delay: timedelta | None) -> None:
    for some in chunks(numbers, GATHERED):
        await asyncio.gather(*(queue.enqueue(job(task, n), delay=delay) for n in some))


async def enqueue_bulk(queue: JobQueue, task, numbers: range, delay: timedelta | None) -> None:
    for some in chunks(numbers, BULK):
        await queue.enqueue_many([job(task, n) for n in some], delay=delay)


async def enqueue_steadily(queue: JobQueue, task, numbers: range, interval_s: float) -> None:
    for n in numbers:
        tally.sent(n)
        await queue.enqueue(job(task, n))
        await asyncio.sleep(interval_s)


def chunks(numbers: range, size: int) -> Iterator[range]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def work(options: dict) -> None:
    """What production runs, with the same settings from the environment. `history` is the URL of a Postgres."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"REDIS_URL": options["url"], "LOG_LEVEL": "warning"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment[_TALLY] = json.dumps([options["tally"], options["capacity"]])
    if options.get("history"):
        environment["DATABASE_URL"] = options["history"]
    command = ["worker", "-A", "jobqueue_adapter:registry", "-q", "default", "-c", str(options["concurrency"])]
    os.execve(sys.executable, [sys.executable, "-m", "jobqueue", *command], environment)


def main() -> None:
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(describe()))
    elif command == "produce":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(produce(options))))
    else:
        work(options)


if __name__ == "__main__":
    main()
