"""The parts of the API put together."""

from typing import Any, Final

from aiohttp import web

from jobqueue.access.gate import Gate
from jobqueue.api import origin
from jobqueue.api.call import Site
from jobqueue.api.caller import Callers
from jobqueue.api.pipeline import Pipeline, on_prepare
from jobqueue.api.readiness import Readiness
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
    live: Any,
) -> web.Application:
    """See `jobqueue.create_app`."""
    site = _site(queue, registry, require_keys, settings or queue.settings.api, live)
    endpoints = {_Endpoint(): route for route in ROUTES}
    handlers = {endpoint.run: route for endpoint, route in endpoints.items()}
    app = web.Application()
    pipeline = Pipeline(site, handlers, lambda: _mount(app))
    app.middlewares.append(pipeline.middleware())
    for handler, route in handlers.items():
        app.router.add_route(route.method, route.path, handler, name=_ANCHOR if route.path == "/health" else None)

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        await on_prepare(request, response)
        origin.share(request, response, site.settings.cors_origins)

    app.on_response_prepare.append(prepare)
    return app


class _Endpoint:
    """A key of the router's table; the pipeline runs the route that it stands for."""

    async def run(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound


def _mount(app: web.Application) -> str:
    """The prefix under which the app is mounted; empty at the root."""
    return str(app.router[_ANCHOR].url_for()).removesuffix("/health")


def _site(queue: JobQueue, registry: Registry | None, require_keys: bool, settings: ApiSettings, live: Any) -> Site:
    clock = queue.parts.clock
    access = getattr(queue.parts, "access", None)
    gate = None if access is None else Gate(access, clock)
    return Site(
        queue=queue,
        registry=registry,
        settings=settings,
        callers=Callers(access, gate, require_keys=require_keys, clock=clock),
        access=access,
        gate=gate,
        live=live,
        readiness=Readiness(queue),
        routes=ROUTES,
    )
