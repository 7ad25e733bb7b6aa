"""`jobqueue api`: the HTTP API and the dashboard, until it is stopped."""

import asyncio
import ipaddress
import os
from contextlib import suppress

import click
import structlog

from jobqueue.app import JobQueue
from jobqueue.cli.discover import find_app, load_registry
from jobqueue.cli.exit import FAILED, OK, exit_soon
from jobqueue.cli.lifeline import hold_on
from jobqueue.cli.log import configure_logging
from jobqueue.cli.loop import new_loop
from jobqueue.cli.option import app_option
from jobqueue.cli.signals import end_while_starting, listen
from jobqueue.config import ApiSettings, Settings
from jobqueue.errors import ConfigError, require
from jobqueue.registry import Registry

_log = structlog.get_logger("jobqueue.api")


@click.command(name="api")
@app_option
@click.option("--host", help="Address to listen on; anything but loopback needs API keys. Else API_HOST.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one. Else API_PORT, else 8080.")
def command(app: str | None, host: str | None, port: int | None) -> int:
    """Serve the HTTP API, the dashboard and /metrics.

    With an app, payloads of its tasks are checked, and the playground has forms for them. While no API key
    was ever made, it serves this machine only, to everybody here; `jobqueue keys create` makes a key.
    TERM or INT: take no more requests, finish those under way within 10 s; a second one ends it now.
    """
    end_while_starting()
    hold_on()
    settings = Settings.load(overrides={"API_HOST": host, "API_PORT": port})
    configure_logging(settings.log, long_running=True)
    require("aiohttp", "api")
    require("prometheus_client", "api")
    found = find_app(app, settings)
    registry = load_registry(found) if found is not None else None
    code = FAILED
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        try:
            runner.run(_serve(settings, registry))
            code = OK
        finally:
            exit_soon(code)
    return code


async def _serve(settings: Settings, registry: Registry | None) -> None:
    from jobqueue.api.app import create_app
    from jobqueue.api.server import Bounds, serve

    async with JobQueue.from_settings(settings, registry=registry) as queue:
        if queue.parts.redis is not None:
            for server in await queue.parts.redis.servers():
                server.check(allow_eviction=settings.redis.allow_eviction)
        keys = await _any_key(queue)
        others = _way_in_for_others(settings.api)
        if others and not keys:
            raise ConfigError(
                f"{others}, and no API key was ever made; make one with `jobqueue keys create me --kind admin`, "
                "or listen on 127.0.0.1 without API_ALLOWED_HOSTS"
            )
        app = create_app(queue, registry=registry, require_keys=others is not None)
        stop = asyncio.Event()

        def started(url: str) -> None:
            _log.info("api.started", url=url, tasks=len(registry or ()), pid=os.getpid())
            if not keys:
                _log.warning(
                    "api.open",
                    hint="everybody on this machine may do all; `jobqueue keys create me --kind admin` ends that",
                )

        bounds = Bounds(connections=settings.api.max_connections)
        serving = asyncio.create_task(
            serve(app, host=settings.api.host, port=settings.api.port, stop=stop, bounds=bounds, started=started)
        )

        def end() -> None:
            _log.info("api.stopping")
            stop.set()

        def hurry() -> None:
            _log.warning("api.hurrying")
            serving.cancel()

        listen(stop=end, hurry=hurry)
        with suppress(asyncio.CancelledError):
            await serving
    _log.info("api.ended", pid=os.getpid())


def _way_in_for_others(api: ApiSettings) -> str | None:
    """An address, or the name of a site: what a proxy passes on comes from this machine, whoever sent it."""
    if not is_loopback(api.host):
        return f"API_HOST {api.host} is open to others"
    names = [name for name in api.allowed_hosts if not is_loopback(name)]
    return f"API_ALLOWED_HOSTS {names[0]} is a name by which others come" if names else None


async def _any_key(queue: JobQueue) -> bool:
    access = queue.parts.access
    return access is not None and await access.keys.any()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*. A name may lead anywhere, but `localhost` does not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
