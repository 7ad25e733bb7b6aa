"""dramatiq for the suite: `describe`, `produce` and `work`, run by the Python of dramatiq's own environment."""

import json
import logging
import signal
import sys
import threading
import time

import dramatiq
import redis
import tally
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

WARM_UP = 10

DESCRIPTION = {
    "name": f"dramatiq {tally.version('dramatiq')}",
    "modes": ["one"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "RedisBroker with its default middleware and JSON encoder, one process, threads = concurrency, "
    "prefetch at its default of two per thread, Results middleware only with results, hiredis; the worker is "
    "dramatiq.Worker, without the master process of its command line; a killed worker's jobs run again after "
    "heartbeat_timeout (60 s by default)",
}


def noop(n, text):
    tally.ran(n)


def io(n, text):
    time.sleep(0.010)
    tally.ran(n)


def build(options, concurrency=1):
    """The broker and its actors by name."""
    pool = redis.ConnectionPool.from_url(options["url"], max_connections=concurrency + 10)
    client = redis.Redis(connection_pool=pool)
    broker = RedisBroker(client=client)
    if options["results"]:
        broker.add_middleware(Results(backend=RedisBackend(client=client), store_results=True))
    dramatiq.set_broker(broker)
    return broker, {function.__name__: dramatiq.actor(function) for function in (noop, io)}


def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    broker, actors = build(options)
    delay_ms = int(options["delay_s"] * 1000) or None

    def enqueue(task, n):
        actors[task].send_with_options(kwargs={"n": n, "text": tally.text(n)}, delay=delay_ms)

    for _ in range(WARM_UP):
        actors["noop"].send(n=-1, text=tally.text(-1))
    numbers = range(options["first"], options["first"] + options["jobs"])
    started, cpu = time.perf_counter(), time.process_time()
    if options["interval_s"]:
        at_intervals(options, enqueue, numbers)
    else:
        for n in numbers:
            enqueue(options["task"], n)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    broker.close()
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
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    broker, _ = build(options, options["concurrency"])
    worker = dramatiq.Worker(broker, worker_threads=options["concurrency"])
    worker.start()
    stopping.wait()
    worker.stop(timeout=10_000)
    broker.close()


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(produce(options)))
    else:
        work(options)
