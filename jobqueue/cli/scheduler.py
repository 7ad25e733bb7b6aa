"""`jobqueue scheduler`: promotes, reaps, ships, until it is stopped."""

import asyncio
import os
from contextlib import suppress

import click
import structlog

from jobqueue.app import JobQueue
from jobqueue.cli.discover import find_app, load_registry
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

_log = structlog.get_logger("jobqueue.scheduler")


@click.command(name="scheduler")
@app_option
@probe_option
@click.option("--accept-rollback", is_flag=True, help="Start although Redis holds older data than Postgres has seen.")
def command(app: str | None, probe_port: int | None, accept_rollback: bool) -> int:
    """Make due jobs ready, recover the jobs of dead workers, ship history and dead letters to Postgres.

    Any number may run. A worker promotes and recovers on its own queues, so without Postgres none is needed.
    TERM or INT ends it; nothing is lost.
    """
    end_while_starting()
    hold_on()
    settings = Settings.load(overrides={"JOBQUEUE_PROBE_PORT": probe_port})
    configure_logging(settings.log, long_running=True)
    found = find_app(app, settings)
    if found is not None:
        load_registry(found)
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(_schedule(settings, accept_rollback=accept_rollback))
        exit_soon(OK)
    return OK


async def _schedule(settings: Settings, *, accept_rollback: bool) -> None:
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
            await asyncio.gather(_look_at_schema(settings), return_exceptions=True)
            with suppress(asyncio.CancelledError):
                await scheduling
        _log.info("scheduler.ended", pid=os.getpid())


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
