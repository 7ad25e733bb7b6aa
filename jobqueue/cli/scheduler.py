"""`jobqueue scheduler`: promotes, reaps, ships, until it is stopped."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress

import click
import msgspec
import structlog

from jobqueue.app import JobQueue
from jobqueue.cli.declaring import declare
from jobqueue.cli.discover import find_app, full_name, load_registry
from jobqueue.cli.exit import OK, exit_soon
from jobqueue.cli.lifeline import hold_on
from jobqueue.cli.log import configure_logging
from jobqueue.cli.loop import new_loop
from jobqueue.cli.option import app_option, probe_option
from jobqueue.cli.probe import scheduler_probe
from jobqueue.cli.rollback import refuse_rollback
from jobqueue.cli.signals import end_while_starting, listen
from jobqueue.config import Settings
from jobqueue.errors import RepositoryError
from jobqueue.schedule import Schedule

_log = structlog.get_logger("jobqueue.scheduler")


@click.command(name="scheduler")
@app_option
@probe_option
@click.option("--accept-rollback", is_flag=True, help="Start although Redis holds older data than Postgres has seen.")
def command(app: str | None, probe_port: int | None, accept_rollback: bool) -> int:
    """Fire schedules, make due jobs ready, recover the jobs of dead workers, ship history to Postgres.

    Any number may run. With -A, the schedules that your app defines in code become those of its code now: new ones
    begin, those that it defines no more are retired. A worker promotes and recovers on its own queues, so without
    Postgres and without schedules none is needed. TERM or INT ends it; nothing is lost.
    """
    end_while_starting()
    hold_on()
    settings = Settings.load(overrides={"JOBQUEUE_PROBE_PORT": probe_port})
    configure_logging(settings.log, long_running=True)
    found = find_app(app, settings)
    defined = None if found is None else _Defined(app=full_name(found), schedules=load_registry(found).schedules)
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(_schedule(settings, defined, accept_rollback=accept_rollback))
        exit_soon(OK)
    return OK


class _Defined(msgspec.Struct, kw_only=True, frozen=True):
    """What an app defines in code."""

    app: str
    schedules: Sequence[Schedule]


async def _schedule(settings: Settings, defined: _Defined | None, *, accept_rollback: bool) -> None:
    async with JobQueue.from_settings(settings) as queue:
        parts = queue.parts
        if parts.redis is not None:
            for server in await parts.redis.servers():
                server.check(allow_eviction=settings.redis.allow_eviction)
        await refuse_rollback(settings, accept=accept_rollback)
        scheduler = parts.scheduler()
        scheduling = asyncio.create_task(scheduler.run())

        def stop() -> None:
            _log.info("scheduler.stopping")
            scheduling.cancel()

        listen(stop=stop, hurry=stop)
        _log.info("scheduler.started", pid=os.getpid(), history=settings.postgres.url is not None)
        async with scheduler_probe(scheduler, queue):
            declaring = asyncio.create_task(_declare(queue, defined))
            await asyncio.gather(_look_at_schema(settings), return_exceptions=True)
            with suppress(asyncio.CancelledError):
                await scheduling
            declaring.cancel()
            await asyncio.gather(declaring, return_exceptions=True)
        _log.info("scheduler.ended", pid=os.getpid())


async def _declare(queue: JobQueue, defined: _Defined | None) -> None:
    if defined is None:
        return
    try:
        await declare(queue, defined.schedules, app=defined.app)
    except Exception as error:  # the jobs of others do not wait for what is wrong here
        _log.error("schedules.not_declared", app=defined.app, error=repr(error))


async def _look_at_schema(settings: Settings) -> None:
    """Say once what is missing; the loops go on and find it when somebody has run the migrations."""
    if settings.postgres.url is None:
        return
    from jobqueue.repository.postgres.migrate import migration_status, pending

    try:
        missing = pending(await migration_status(settings.postgres.url))
    except RepositoryError as error:
        _log.error("schema.unknown", error=str(error))
        return
    if missing:
        _log.error(
            "schema.behind", pending=len(missing), hint="run `jobqueue migrate`; until then history waits in Redis"
        )
