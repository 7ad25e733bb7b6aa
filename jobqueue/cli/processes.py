"""`jobqueue worker --processes N`: the supervisor of N worker processes."""

import asyncio
import os

import structlog

from jobqueue.cli.crew import Crew, Member
from jobqueue.cli.signals import listen
from jobqueue.clock import format_duration
from jobqueue.config import Settings
from jobqueue.errors import ConfigError

_LAST_PORT = 65_535
_log = structlog.get_logger("jobqueue.processes")


def run_workers(app: str, settings: Settings, *, processes: int, burst: bool, accept_rollback: bool) -> int:
    """Run the workers until stopped; the exit code of the whole."""
    worker = settings.worker
    arguments = [
        "worker",
        f"--app={app}",
        f"--queues={','.join(worker.queues)}",
        f"--concurrency={worker.concurrency}",
        f"--shutdown-timeout={format_duration(worker.shutdown_timeout)}",
        *(["--burst"] if burst else []),
        *(["--accept-rollback"] if accept_rollback else []),
    ]
    members = [
        Member(name=f"worker-{n + 1}", arguments=[*arguments, *_probe_of(n, settings.probe.port, processes)])
        for n in range(processes)
    ]
    # After kill -9 of this process, each child has the time of an ordinary shutdown, and a little more.
    return asyncio.run(_supervise(members, grace_s=worker.shutdown_timeout.total_seconds() + 5, burst=burst))


def _probe_of(n: int, port: int | None, processes: int) -> list[str]:
    """Each process has a port of its own, the first the one that was asked for."""
    if port is None:
        return []
    if port + processes - 1 > _LAST_PORT:
        raise ConfigError(f"JOBQUEUE_PROBE_PORT {port} leaves no ports for {processes} processes; choose a lower one")
    return [f"--probe-port={port + n if port else 0}"]


async def _supervise(members: list[Member], *, grace_s: float, burst: bool) -> int:
    crew = Crew(members=members, grace_s=grace_s, burst=burst)

    def stop() -> None:
        _log.info("processes.stopping")
        crew.stop()

    listen(stop=stop, hurry=crew.hurry, quiet=crew.quiet)
    _log.info("processes.started", processes=len(members), pid=os.getpid())
    return await crew.run()
