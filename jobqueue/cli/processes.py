"""`jobqueue worker --processes N`: the supervisor of N worker processes."""

import asyncio
import os

import structlog

from jobqueue.cli.crew import Crew, Member
from jobqueue.cli.signals import listen
from jobqueue.clock import format_duration
from jobqueue.config import Settings

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
    members = [Member(name=f"worker-{n}", arguments=arguments) for n in range(1, processes + 1)]
    # After kill -9 of this process, each child has the time of an ordinary shutdown, and a little more.
    return asyncio.run(_supervise(members, grace_s=worker.shutdown_timeout.total_seconds() + 5, burst=burst))


async def _supervise(members: list[Member], *, grace_s: float, burst: bool) -> int:
    crew = Crew(members=members, grace_s=grace_s, burst=burst)

    def stop() -> None:
        _log.info("processes.stopping")
        crew.stop()

    listen(stop=stop, hurry=crew.hurry, quiet=crew.quiet)
    _log.info("processes.started", processes=len(members), pid=os.getpid())
    return await crew.run()
