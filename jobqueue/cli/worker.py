"""`jobqueue worker`: one worker process, or several under a supervisor; `worker ls`."""

import asyncio
import gc
import os
from collections.abc import Sequence
from datetime import timedelta

import click
import structlog

from jobqueue.app import JobQueue
from jobqueue.cli.discover import load_registry, require_app
from jobqueue.cli.exit import FAILED, OK, exit_soon
from jobqueue.cli.lifeline import hold_on
from jobqueue.cli.log import configure_logging
from jobqueue.cli.loop import new_loop
from jobqueue.cli.option import app_option, duration, output_option, probe_option
from jobqueue.cli.output import Form, show_all
from jobqueue.cli.probe import worker_probe
from jobqueue.cli.rollback import refuse_rollback
from jobqueue.cli.served import log_completed, unserved, with_all_queues
from jobqueue.cli.session import existing, in_loop, opened
from jobqueue.cli.signals import end_while_starting, listen
from jobqueue.clock import format_duration, from_ms
from jobqueue.config import Settings, mask_url
from jobqueue.middleware.base import Middleware
from jobqueue.middleware.logging import log_attempts
from jobqueue.registry import Registry
from jobqueue.runner import Worker

_log = structlog.get_logger("jobqueue.worker")

_GC_THRESHOLD = 100_000


@click.group(name="worker", invoke_without_command=True)
@app_option
@click.option("-q", "--queues", metavar="NAMES", help="Queues, served strictly in this order: critical,default,low.")
@click.option("-c", "--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once in one process.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="How many processes.")
@click.option("--burst", is_flag=True, help="End when the queues are empty. Delayed jobs are not waited for.")
@click.option("--shutdown-timeout", type=duration, help="How long running jobs may go on after SIGTERM.")
@probe_option
@click.option("--accept-rollback", is_flag=True, help="Start although Redis holds older data than Postgres has seen.")
@click.option("--all-queues", is_flag=True, hidden=True, help="For `dev`: also the queues of every task and schedule.")
@click.option("--log-completed", "tell_completed", is_flag=True, hidden=True, help="For `dev`: tell of completed jobs.")
@click.pass_context
def command(
    ctx: click.Context,
    app: str | None,
    queues: str | None,
    concurrency: int | None,
    processes: int,
    burst: bool,
    shutdown_timeout: timedelta | None,
    probe_port: int | None,
    accept_rollback: bool,
    all_queues: bool,
    tell_completed: bool,
) -> int:
    """Run jobs until stopped. Schedules fire only where a `jobqueue scheduler` runs.

    TERM or INT: take no more jobs, finish the running ones, give back the rest; a second one gives all back
    now. USR1: take no more jobs and end when the running ones have. USR2: print what runs to stderr.
    """
    if ctx.invoked_subcommand is not None:
        return OK
    end_while_starting()
    hold_on()
    settings = Settings.load(
        overrides={
            "WORKER_QUEUES": queues,
            "WORKER_CONCURRENCY": concurrency,
            "WORKER_SHUTDOWN_TIMEOUT": shutdown_timeout,
            "JOBQUEUE_PROBE_PORT": probe_port,
        }
    )
    configure_logging(settings.log, long_running=True)
    app = require_app(app, settings)
    registry = load_registry(app)
    if all_queues:
        settings = with_all_queues(settings, registry)
    if processes > 1:
        from jobqueue.cli.processes import run_workers

        return run_workers(app, settings, processes=processes, burst=burst, accept_rollback=accept_rollback)
    middleware: list[Middleware] = [log_attempts] if settings.log.level == "debug" else []
    if tell_completed:
        middleware.append(log_completed)
    return _run_one(app, registry, settings, middleware, burst=burst, accept_rollback=accept_rollback)


def _run_one(
    app: str,
    registry: Registry,
    settings: Settings,
    middleware: Sequence[Middleware],
    *,
    burst: bool,
    accept_rollback: bool,
) -> int:
    code = FAILED
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        try:
            runner.run(refuse_rollback(settings, settings.worker.queues, accept=accept_rollback))
            runner.run(_work(app, registry, settings, middleware, burst=burst))
            code = OK
        finally:
            exit_soon(code)
    return code


async def _work(
    app: str, registry: Registry, settings: Settings, middleware: Sequence[Middleware], *, burst: bool
) -> None:
    async with JobQueue.from_settings(settings, registry=registry) as queue:
        worker = Worker(queue, registry, middleware=middleware)
        _listen(worker, settings)
        _spare_the_collector()
        _log.info(
            "worker.started",
            app=app,
            tasks=len(registry),
            queues=",".join(settings.worker.queues),
            concurrency=settings.worker.concurrency,
            redis=mask_url(settings.redis.url),
            pid=os.getpid(),
        )
        _tell_unserved(registry, settings)
        async with worker_probe(worker, queue):
            await worker.run(burst=burst)
    _log.info("worker.ended", pid=os.getpid())


def _tell_unserved(registry: Registry, settings: Settings) -> None:
    left_out = unserved(registry, settings.worker.queues)
    if left_out:
        tasks = sorted({name for names in left_out.values() for name in names})
        _log.warning("queues.unserved", queues=",".join(left_out), tasks=",".join(tasks))


def _listen(worker: Worker, settings: Settings) -> None:
    def stop() -> None:
        told = {}
        if worker.running:
            told["they_may_take"] = format_duration(settings.worker.shutdown_timeout)
            told["hint"] = "a second Ctrl-C or SIGTERM gives them back now"
        _log.info("worker.stopping", running=worker.running, **told)
        worker.stop()

    def hurry() -> None:
        _log.warning("worker.hurrying", running=worker.running)
        worker.hurry()

    def quiet() -> None:
        _log.info("worker.quiet", running=worker.running)
        worker.stop()

    listen(stop=stop, hurry=hurry, quiet=quiet)


def _spare_the_collector() -> None:
    """What is there now stays; and cycles are looked for seldom: 1.3 to 1.6 times the jobs a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


@command.command("ls")
@click.option("--queue", help="Only the workers of this queue.")
@output_option
@in_loop
async def ls(queue: str | None, output: Form) -> None:
    """List the workers, one line per worker and queue."""
    async with opened() as jobs:
        name = await existing(jobs, queue) if queue is not None else None
        workers = await jobs.workers(name)
    records = [
        {
            "name": each.name,
            "queue": each.queue,
            "host": each.host,
            "pid": each.pid,
            "running": each.running,
            "slots": each.slots,
            "state": "alive" if each.lease_ms > 0 else "dead",
            "started_at": from_ms(each.started_ms) if each.started_ms else None,
            "lease_ms": each.lease_ms,
        }
        for each in workers
    ]
    columns = ("name", "queue", "host", "pid", "state", "running", "slots", "lease_ms")
    show_all(records, output, columns=columns, empty="no workers")
