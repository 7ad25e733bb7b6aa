"""RQ for the suite: `describe`, `produce` and `work`, run by the Python of RQ's own environment."""

import json
import sys
import time
from datetime import timedelta

import redis
import tally
from rq import Queue, Retry, SimpleWorker

BULK = 1_000
WARM_UP = 10

DESCRIPTION = {
    "name": f"RQ {tally.version('rq')}",
    "modes": ["one", "bulk"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "SimpleWorker, one job at a time in the worker's own process (the default Worker forks for every "
    "job and is about six times slower by RQ's own notes), with its scheduler, Retry(max=3) (without it a killed "
    "worker's jobs end as failed), result_ttl 0 (500 s with results), pickle (default), hiredis; a killed worker's "
    "jobs run again when their heartbeat has expired (job timeout 180 s + 60 s) and a worker does its maintenance "
    "(each 10 minutes)",
}


def noop(n, text):
    tally.ran(n)


def io(n, text):
    time.sleep(0.010)
    tally.ran(n)


def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    connection = redis.Redis.from_url(options["url"])
    queue = Queue(connection=connection)
    settings = {"result_ttl": 500 if options["results"] else 0, "retry": Retry(max=3)}
    delay = timedelta(seconds=options["delay_s"])

    def enqueue(task, n, **more):
        kwargs = {"n": n, "text": tally.text(n)}
        if delay and n >= 0:
            queue.enqueue_in(delay, path(task), kwargs=kwargs, **settings, **more)
        else:
            queue.enqueue(path(task), kwargs=kwargs, **settings, **more)

    def enqueue_bulk(task, numbers):
        if delay and numbers[0] >= 0:
            with connection.pipeline() as pipeline:
                for n in numbers:
                    enqueue(task, n, pipeline=pipeline)
                pipeline.execute()
        else:
            queue.enqueue_many(
                Queue.prepare_data(path(task), kwargs={"n": n, "text": tally.text(n)}, **settings) for n in numbers
            )

    if options["mode"] == "bulk":
        enqueue_bulk("noop", [-1] * WARM_UP)
    else:
        for _ in range(WARM_UP):
            enqueue("noop", -1)
    started, cpu = time.perf_counter(), time.process_time()
    send(options, enqueue, enqueue_bulk)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    connection.close()
    return took


def send(options, enqueue, enqueue_bulk):
    numbers = range(options["first"], options["first"] + options["jobs"])
    if options["interval_s"]:
        at_intervals(options, enqueue, numbers)
    elif options["mode"] == "bulk":
        for at in range(0, len(numbers), BULK):
            enqueue_bulk(options["task"], numbers[at : at + BULK])
    else:
        for n in numbers:
            enqueue(options["task"], n)


def path(task):
    """Workers import this file by name: RQ refuses functions of `__main__`."""
    return f"rq_adapter.{task}"


def at_intervals(options, enqueue, numbers):
    due = time.perf_counter()
    for n in numbers:
        time.sleep(max(0, due - time.perf_counter()))
        due += options["interval_s"]
        tally.sent(n)
        enqueue(options["task"], n)


def work(options):
    tally.open(options["tally"], options["capacity"])
    worker = SimpleWorker(["default"], connection=redis.Redis.from_url(options["url"]), log_job_description=False)
    worker.work(logging_level="WARNING", with_scheduler=True)


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(produce(options)))
    else:
        work(options)
