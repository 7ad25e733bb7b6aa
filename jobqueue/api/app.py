"""`create_app`: the HTTP API and the dashboard as an aiohttp application, to be served or mounted."""

from typing import TYPE_CHECKING

from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.errors import require
from jobqueue.registry import Registry

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.api.live import Live


def create_app(
    queue: JobQueue,
    *,
    registry: Registry | None = None,
    require_keys: bool = True,
    settings: ApiSettings | None = None,
    live: "Live | None" = None,
) -> "web.Application":
    """The HTTP API of *queue* with its dashboard.

        web.run_app(create_app(queue), host="127.0.0.1")          # alone
        site.add_subapp("/jobs", create_app(queue))               # in an application of yours

    The queue stays yours to close. Every request needs an API key (`jobqueue keys create`).

    Args:
        registry: the tasks, for their schemas; payloads of those are checked before they are queued.
        require_keys: False lets everybody on this machine do all, as long as no key was ever made.
        settings: otherwise those that the queue was made with.
        live: what looks at the queues, where you run it; otherwise the application has its own.

    Raises:
        MissingExtra: aiohttp or prometheus_client is not installed.
        TypeError: *queue* or *registry* is something else.
    """
    if not isinstance(queue, JobQueue):
        raise TypeError(f"create_app takes a JobQueue, such as JobQueue.connect(...) makes, got {queue!r}")
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be the Registry itself, such as shop.jobs.registry, got {registry!r}")
    require("aiohttp", "api")
    require("prometheus_client", "api")
    # Imported when it is asked for: a program that only enqueues never loads aiohttp.
    application: web.Application = require("jobqueue.api.assembly", "api").assemble(
        queue, registry=registry, require_keys=require_keys, settings=settings, live=live
    )
    return application
