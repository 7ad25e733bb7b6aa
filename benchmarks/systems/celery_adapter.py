"""Celery for the suite: `describe`, `produce` and `work`, run by the Python of Celery's own environment."""

import json
import sys
import time

import tally
from celery import Celery

WARM_UP = 10

DESCRIPTION = {
    "name": f"Celery {tally.version('celery')}",
    "modes": ["one"],
    "results": True,
    "delayed": True,
    "crash_safe": True,
    "settings": "one process with the threads pool of concurrency (prefork would need 100 processes for 100 jobs at "
    "once), task_acks_late, prefetch multiplier 4 (default), rate limits, remote control, gossip, mingle and "
    "heartbeat off, JSON, results ignored unless asked for, hiredis; a killed worker's jobs run again after the "
    "visibility timeout (1 hour by default)",
}


def noop(n, text):
    tally.ran(n)


def io(n, text):
    time.sleep(0.010)
    tally.ran(n)


def build(options):
    """The application and its tasks by name."""
    app = Celery("bench", broker=options["url"], backend=options["url"] if options["results"] else None)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=not options["results"],
        worker_disable_rate_limits=True,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )
    return app, {"noop": app.task(name="noop")(noop), "io": app.task(name="io")(io)}


def produce(options):
    if options["tally"]:
        tally.open(options["tally"], options["capacity"])
    app, tasks = build(options)
    delay_s = options["delay_s"] or None

    def enqueue(task, n):
        tasks[task].apply_async(kwargs={"n": n, "text": tally.text(n)}, countdown=delay_s)

    for _ in range(WARM_UP):
        tasks["noop"].apply_async(kwargs={"n": -1, "text": tally.text(-1)})
    numbers = range(options["first"], options["first"] + options["jobs"])
    started, cpu = time.perf_counter(), time.process_time()
    if options["interval_s"]:
        at_intervals(options, enqueue, numbers)
    else:
        for n in numbers:
            enqueue(options["task"], n)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    app.close()
    return took


def at_intervals(options, enqueue, numbers):
    due = time.perf_counter()
    for n in numbers:
        time.sleep(max(0, due - time.perf_counter()))
        due += options["interval_s"]
        tally.sent(n)
        enqueue(options["task"], n)


def work(options):
    tally.open(options["tally"], options["capacity"])
    app, _ = build(options)
    quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=threads", f"--concurrency={options['concurrency']}", *quiet])


if __name__ == "__main__":
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(DESCRIPTION))
    elif command == "produce":
        print(json.dumps(produce(options)))
    else:
        work(options)
