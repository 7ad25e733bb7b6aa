"""What the parts of a job's path through a worker cost in Python: the table at the top of jobqueue/worker/execution.py.

    python -m benchmarks.parts

CPU µs a job, the best of several passes over 20 000 no-ops, uvloop, no Redis. Compare passes of one run only.
"""

import asyncio
import gc
import random
import time
from collections.abc import Callable, Coroutine

import click
import uvloop
from hiredis import pack_command

from jobqueue import Registry
from jobqueue.broker import entry, settle
from jobqueue.broker.base import Settlement
from jobqueue.broker.keys import QueueKeys
from jobqueue.middleware.metrics import Metrics
from jobqueue.outcome import COMPLETED
from jobqueue.worker.execution import Execution, Run, _context
from jobqueue.worker.timing import record_times

JOBS = 20_000
PASSES = 7
BATCH = 250
AT_ONCE = 100
_ID = "0199c5a1-1111-7111-8111-123456789012"

registry = Registry()


@registry.task("noop")
async def noop(n: int, text: str) -> None: ...


def main() -> None:
    job = noop.job(n=5, text="x" * 80)
    fields = [b"i", _ID.encode(), b"b", job.to_wire()]
    execution = Execution(registry, middleware=(), default_timeout_s=60, rng=random.Random())
    taken = [entry.delivery("default", 2, b"1763800000000-17", fields) for _ in range(JOBS)]
    runs = [run for run in (execution.prepare(each, 1) for each in taken) if isinstance(run, Run)]
    contexts = [_context(run) for run in runs]
    done = [Settlement(run.delivery, COMPLETED, "noop", 1, 1.0, None, run.envelope.payload) for run in runs]
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)

    def command(*, history: bool, keep_payload: int = 0) -> list[object]:
        keys, facts = QueueKeys.of("jq", "default"), {"consumer": "c", "fence": "alive", "journal_max": 10**9}
        facts["keep_payload"] = keep_payload
        return [settle.command(keys, done[at : at + BATCH], history=history, **facts) for at in range(0, JOBS, BATCH)]

    settlements = command(history=False)
    _show("an entry becomes a delivery", lambda: [entry.delivery("default", 2, b"17-1", fields) for _ in taken])
    _show("prepare: envelope, task, run", lambda: [execution.prepare(each, 1) for each in taken])
    _show("a task of its own", lambda: uvloop.run(_tasks()))
    _show("context", lambda: [_context(run) for run in runs])
    _show("arguments, checked", lambda: [noop.bind(each, each.payload_json) for each in contexts])
    _show("attempt: context, arguments, handler", lambda: uvloop.run(_attempts(execution, runs)))
    _show("settlement", lambda: [Settlement(each, COMPLETED, "noop", 1, 1.0) for each in taken])
    _show("settle command", lambda: command(history=False))
    _show("settle command with history", lambda: command(history=True))
    _show("settle command with history, payload", lambda: command(history=True, keep_payload=4096))
    metrics = Metrics(known=registry)
    _show("times, for a probe", lambda: [record_times(metrics, done[at : at + BATCH]) for at in range(0, JOBS, BATCH)])
    _show("packing it", lambda: [pack_command(tuple(each)) for each in settlements])


async def _tasks() -> None:
    async def nothing() -> None: ...

    loop = asyncio.get_running_loop()
    for _ in range(JOBS // AT_ONCE):
        works = [loop.create_task(nothing()) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        works.clear()


async def _attempts(execution: Execution, runs: list[Run]) -> None:
    for run in runs:
        _drive(execution.attempt(run))


def _drive(work: Coroutine[object, object, object]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return


def _show(name: str, work: Callable[[], object]) -> None:
    best = float("inf")
    for _ in range(PASSES):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    click.echo(f"{name:<38}{best / JOBS * 1e6:6.2f}")


if __name__ == "__main__":
    main()
