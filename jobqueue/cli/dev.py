"""`jobqueue dev`: everything that a project needs, in one terminal, gone with it."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import click

from jobqueue.cli.crew import Crew, Member
from jobqueue.cli.discover import load_registry, require_app
from jobqueue.cli.log import coloured, configure_logging
from jobqueue.cli.option import app_option, duration
from jobqueue.cli.signals import SHUTDOWN, listen
from jobqueue.clock import format_duration
from jobqueue.config import Settings, WorkerSettings
from jobqueue.embedded import Servers, embedded_servers
from jobqueue.errors import ConfigError, require

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_GRACE_S = 1.0
_HOST = "127.0.0.1"
_PORTS_TO_TRY = 50
_SHUTDOWN_TIMEOUT = timedelta(seconds=5)


@click.command(name="dev")
@app_option
@click.option("--reload", is_flag=True, help="Start worker, scheduler and API again when a .py file here changes.")
@click.option(
    "-q",
    "--queues",
    metavar="NAMES",
    help="Queues of the worker, in order; else also those of all tasks and schedules.",
)
@click.option("-c", "--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once.")
@click.option(
    "--shutdown-timeout",
    type=duration,
    metavar="DURATION",
    help="How long running jobs may go on after Ctrl-C.  [default: WORKER_SHUTDOWN_TIMEOUT, else 5s]",
)
@click.option(
    "--api-port",
    type=click.IntRange(1, 65_535),
    help="Port of the API and the dashboard; when it is taken, the next free one.  [default: API_PORT, else 8080]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".jobqueue"),
    show_default=True,
    help="Where the servers keep their data.",
)
def command(
    app: str | None,
    reload: bool,
    queues: str | None,
    concurrency: int | None,
    shutdown_timeout: timedelta | None,
    api_port: int | None,
    data_dir: Path,
) -> int:
    """Start a private Valkey and Postgres, migrate, and run a worker, a scheduler, and the API with its dashboard.

    The data stays for the next time; delete the folder to begin anew. Ctrl-C ends all in order. Another
    terminal reaches the servers by the two lines that are printed.
    """
    overrides: dict[str, object] = {"WORKER_QUEUES": queues, "WORKER_CONCURRENCY": concurrency, "API_PORT": api_port}
    settings = Settings.load(overrides={**overrides, "WORKER_SHUTDOWN_TIMEOUT": shutdown_timeout})
    if shutdown_timeout is None and not _is_given("WORKER_SHUTDOWN_TIMEOUT", settings):
        settings = Settings.load(overrides={**overrides, "WORKER_SHUTDOWN_TIMEOUT": _SHUTDOWN_TIMEOUT})
    all_queues = queues is None and not _is_given("WORKER_QUEUES", settings)
    configure_logging(settings.log)
    require("asyncpg", "postgres")
    require("aiohttp", "api")
    if reload:
        require("watchfiles", "cli")
    app = require_app(app, settings)
    if not reload:
        load_registry(app)
    try:
        return asyncio.run(_develop(app, settings, data_dir, all_queues=all_queues, reload=reload))
    except ConfigError as error:
        raise ConfigError(str(error).replace("another data_dir", "another --data-dir")) from error


def _is_given(variable: str, settings: Settings) -> bool:
    """Whether somebody chose this, in the environment or in the file."""
    default = WorkerSettings()
    chosen = {
        "WORKER_QUEUES": settings.worker.queues != default.queues,
        "WORKER_SHUTDOWN_TIMEOUT": settings.worker.shutdown_timeout != default.shutdown_timeout,
    }
    return bool(os.environ.get(variable)) or chosen[variable]


async def _develop(app: str, settings: Settings, data_dir: Path, *, all_queues: bool, reload: bool) -> int:
    starting = asyncio.current_task()
    assert starting is not None
    for number in SHUTDOWN:
        asyncio.get_running_loop().add_signal_handler(number, starting.cancel)
    click.echo("starting a private Valkey and Postgres ...", err=True)
    try:
        async with embedded_servers(data_dir=_prepared(data_dir)) as servers:
            await _migrate(servers.postgres.url)
            port = _free_port(settings.api.port)
            _tell(servers, app, port)
            crew = _crew(app, settings, servers, port, all_queues=all_queues, forgiving=reload)
            return await _run(crew, reload=reload)
    except asyncio.CancelledError:
        return 0  # asked to end before it had begun


async def _run(crew: Crew, *, reload: bool) -> int:
    listen(stop=crew.stop, hurry=crew.hurry)
    watching = asyncio.create_task(_watch(crew)) if reload else None
    try:
        return await crew.run()
    finally:
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


def _free_port(wanted: int) -> int:
    """*wanted*, or the next one that nobody listens on."""
    for port in range(wanted, min(wanted + _PORTS_TO_TRY, 65_536)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            found: int = probe.getsockname()[1]
            return found
    raise ConfigError(f"no port from {wanted} on is free for the API; choose another with --api-port")


def _crew(app: str, settings: Settings, servers: Servers, port: int, *, all_queues: bool, forgiving: bool) -> Crew:
    worker = settings.worker
    arguments = [
        "worker",
        f"--app={app}",
        f"--queues={','.join(worker.queues)}",
        f"--concurrency={worker.concurrency}",
        f"--shutdown-timeout={format_duration(worker.shutdown_timeout)}",
        "--log-completed",
        "--accept-rollback",
        *(["--all-queues"] if all_queues else []),
        *_probe(settings.probe.port, 0),
    ]
    scheduler = ["scheduler", f"--app={app}", "--accept-rollback", *_probe(settings.probe.port, 1)]
    api = ["api", f"--app={app}", f"--host={_HOST}", f"--port={port}"]
    return Crew(
        members=[
            Member(name="worker", arguments=arguments),
            Member(name="scheduler", arguments=scheduler),
            Member(name="api", arguments=api),
        ],
        environment=_environment(servers),
        grace_s=_GRACE_S,
        forgiving=forgiving,
        pass_on=_prefixed(["worker", "scheduler", "api"]),
    )


def _probe(port: int | None, n: int) -> list[str]:
    """Those who would take the same port from the settings get one each."""
    return [] if port is None else [f"--probe-port={port + n if port else 0}"]


def _environment(servers: Servers) -> Mapping[str, str]:
    shown = {"FORCE_COLOR": "1"} if coloured() else {"NO_COLOR": "1"}
    return {
        **shown,
        "PYTHONUNBUFFERED": "1",
        "REDIS_URL": servers.redis.url,
        "DATABASE_URL": servers.postgres.url,
    }


def _prefixed(names: list[str]) -> Callable[[str, str], None]:
    """Prints what a child said behind its name, in its colour."""
    width = max(map(len, names))
    colours = cycle(_COLOURS)
    heads = {name: click.style(f"{name.ljust(width)} |", fg=next(colours)) for name in names}
    colour = coloured()

    def pass_on(name: str, line: str) -> None:
        click.echo(f"{heads[name]} {line}", err=True, color=colour)

    return pass_on


def _prepared(data_dir: Path) -> Path:
    if not data_dir.exists():
        data_dir.mkdir(parents=True)
        (data_dir / ".gitignore").write_text("*\n")
    return data_dir


async def _migrate(url: str) -> None:
    from jobqueue.repository.postgres.migrate import migrate_up

    for step in await migrate_up(url):
        click.echo(f"applied {step.file}", err=True)


def _tell(servers: Servers, app: str, port: int) -> None:
    redis, postgres = servers.redis, servers.postgres
    click.echo(f"{redis.flavour} {redis.version} and Postgres {postgres.version} are up.\n")
    click.echo(f"  dashboard  http://{_HOST}:{port}/\n")
    click.echo("In another terminal:\n")
    click.echo(f"  export REDIS_URL={redis.url}")
    click.echo(f"  export DATABASE_URL={postgres.url}")
    click.echo(f'  jobqueue enqueue -A {app} TYPE \'{{"name": "value"}}\'\n')


async def _watch(crew: Crew) -> None:
    watchfiles: Any = require("watchfiles", "cli")
    async for changes in watchfiles.awatch(".", watch_filter=watchfiles.PythonFilter()):
        names = sorted(Path(path).name for _, path in changes)
        click.echo(f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} changed: starting again", err=True)
        crew.restart()
