"""The probe of a worker or a scheduler: `/health`, `/ready` and `/metrics` on a port of its own.

It needs no key and tells no data. It runs in the event loop of what it watches: no answer in time means that this
loop is blocked.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.core import Metric

from jobqueue.api import view
from jobqueue.api.exposition import CONTENT_TYPE, exposition
from jobqueue.api.health import Loops, Readiness, health
from jobqueue.api.server import Bounds, serving
from jobqueue.clock import Clock, SystemClock
from jobqueue.config import ProbeSettings

_BOUNDS = Bounds(connections=32, head_s=5.0, grace_s=1.0)
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@asynccontextmanager
async def probing(
    settings: ProbeSettings,
    *,
    loops: Loops,
    readiness: Readiness,
    families: Callable[[], Iterable[Metric]],
    clock: Clock | None = None,
) -> AsyncIterator[str]:
    """Answer inside the block; gives the URL.

    Raises:
        ConfigError: the port is taken.
    """
    time = clock or SystemClock()

    async def healthy(_: web.Request) -> web.Response:
        return told(health(loops(), time))

    async def ready(_: web.Request) -> web.Response:
        return told(await readiness.ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(families()), headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    app = web.Application(client_max_size=1024)
    app.add_routes([web.get("/health", healthy), web.get("/ready", ready), web.get("/metrics", metrics)])
    async with serving(app, host=settings.host, port=settings.port or 0, bounds=_BOUNDS) as url:
        yield url


def told(found: view.Health) -> web.Response:
    """200, or 503 when something is missing."""
    status = 503 if found.status == "unready" else 200
    return web.Response(
        body=found.model_dump_json().encode(), status=status, content_type="application/json", headers=_HEADERS
    )
