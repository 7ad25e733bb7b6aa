"""The parts of the API put together."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from jobqueue.access.gate import Gate
from jobqueue.api import origin
from jobqueue.api.call import Site
from jobqueue.api.caller import Callers
from jobqueue.api.events import Events
from jobqueue.api.health import Readiness
from jobqueue.api.live import Live
from jobqueue.api.pipeline import Pipeline, on_prepare
from jobqueue.api.routes import ROUTES
from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.registry import Registry

_ANCHOR: Final = "jobqueue-root"


def assemble(
    queue: JobQueue,
    *,
    registry: Registry | None,
    require_keys: bool,
    settings: ApiSettings | None,
    live: Live | None,
) -> web.Application:
    """See `jobqueue.create_app`."""
    site = _site(queue, registry, require_keys, settings or queue.settings.api, live)
    endpoints = {_Endpoint(): route for route in ROUTES}
    handlers = {endpoint.run: route for endpoint, route in endpoints.items()}
    app = web.Application()
    pipeline = Pipeline(site, handlers, lambda: _mount(app))
    app.middlewares.append(pipeline.middleware())
    for handler, route in handlers.items():
        # So that `/jobs/batch` is no id, and is told apart from one whatever the method.
        path = route.path.replace("{file}", "{file:.+}").replace("{id}", "{id:[0-9A-Fa-f-]+}")
        app.router.add_route(route.method, path, handler, name=_ANCHOR if route.path == "/health" else None)
        if route.head:
            app.router.add_route("HEAD", path, handler)

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        await on_prepare(request, response)
        origin.share(request, response, site.settings.cors_origins)

    async def shut(_: web.Application) -> None:
        site.events.close()

    async def running(_: web.Application) -> AsyncIterator[None]:
        looking = asyncio.create_task(site.live.run()) if site.runs_live else None
        yield
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if site.gate is not None:
            await site.gate.close()

    app.on_response_prepare.append(prepare)
    app.on_shutdown.append(shut)
    app.cleanup_ctx.append(running)
    return app


class _Endpoint:
    """A key of the router's table; the pipeline runs the route that it stands for."""

    async def run(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound


def _mount(app: web.Application) -> str:
    """The prefix under which the app is mounted; empty at the root."""
    return str(app.router[_ANCHOR].url_for()).removesuffix("/health")


def _site(
    queue: JobQueue, registry: Registry | None, require_keys: bool, settings: ApiSettings, live: Live | None
) -> Site:
    clock = queue.parts.clock
    access = queue.parts.access
    gate = None if access is None else Gate(access, clock)
    readiness = Readiness(queue.parts.reachable, clock)
    looking = live or Live(queue, readiness, clock)
    return Site(
        queue=queue,
        registry=registry,
        settings=settings,
        callers=Callers(access, gate, require_keys=require_keys, clock=clock),
        access=access,
        gate=gate,
        live=looking,
        events=Events(looking, clock=clock),
        runs_live=live is None,
        readiness=readiness,
        routes=ROUTES,
    )
