"""taskiq on taskiq-redis' Streams broker for the suite: `describe`, `produce` and `work`, run by its own Python."""

import asyncio
import json
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import tally
import uvloop
from taskiq.receiver import Receiver
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

GATHERED = 100
WARM_UP = 10
STOP_S = 5

DESCRIPTION = {
    "name": f"taskiq-redis {tally.version('taskiq-redis')}",
    "modes": ["one", "gathered"],
    "results": True,
    "delayed": False,
    "crash_safe": True,
    "settings": "RedisStreamBroker with xread_count 100 (default), orjson serializer, max_async_tasks = "
    "concurrency, max_prefetch = concurrency, ack when saved (default), unacknowledged_lock_timeout 60 s, uvloop, "
    "hiredis; entries are never trimmed (maxlen would drop waiting jobs); the worker runs taskiq's Receiver as "
    "`taskiq worker` does, without its manager process; delayed jobs need a separate scheduler process; a killed "
    "worker's jobs run again after 10 minutes (idle_timeout)",
}


async def noop(n: int, text: str) -> None:
    tally.ran(n)


async def io(n: int, text: str) -> None:
    await asyncio.sleep(0.010)
    tally.ran(n)


def build(options):
    """The broker and its tasks by name."""
    broker = RedisStreamBroker(options["url"], unacknowledged_lock_timeout=60)
    broker = broker.with_serializer(ORJSONSerializer())
    if options["results"]:
        broker = broker.with_result_backend(RedisAsyncResultBackend(options["url"], result_ex_time=600))
    return broker, {"noop": broker.register_task(noop, "noop"), "io": broker.register_task(io, "io")}


async def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    if options["delay_s"]:
        sys.exit("taskiq-redis has no delayed jobs without a scheduler process")
    broker, tasks = build(options)
    # Makes the consumer group too: entries added before the group exists are not delivered.
    await broker.startup()

    async def enqueue(task, n):
        await tasks[task].kiq(n=n, text=tally.text(n))

    for _ in range(WARM_UP):
        await enqueue("noop", -1)
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
    await broker.shutdown()
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
    broker, _ = build(options)
    broker.is_worker_process = True
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    with ThreadPoolExecutor() as executor:
        receiver = Receiver(
            broker, executor, max_async_tasks=options["concurrency"], max_prefetch=options["concurrency"]
        )
        listening = asyncio.create_task(receiver.listen(stopping))
        await stopping.wait()
        # taskiq 0.13.0 on redis-py 8.1.0 can lose the cancellation of its blocked read and would wait for ever;
        # the end of the loop cancels it again.
        await asyncio.wait({listening}, timeout=STOP_S)
    await broker.shutdown()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(uvloop.run(produce(options))))
    else:
        logging.basicConfig(level=logging.WARNING)
        uvloop.run(work(options))
