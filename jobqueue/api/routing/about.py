"""The table of addresses: The server itself, and the dashboard."""

from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import view
from jobqueue.api.endpoint import about, dashboard
from jobqueue.api.route import Open, Route

ABOUT: Final = (
    Route(
        method="GET",
        path="/health",
        endpoint=about.health,
        scope=Open.TO_ALL,
        summary="The process answers",
        tag="about",
        answer=view.Health,
        also={503: "One of its loops stands still: see `checks`."},
        head=True,
    ),
    Route(
        method="GET",
        path="/ready",
        endpoint=about.ready,
        scope=Open.TO_ALL,
        summary="What it needs is there",
        tag="about",
        answer=view.Health,
        also={503: "Something is not: see `checks`."},
        head=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        endpoint=about.metrics,
        scope=Scope.METRICS_READ,
        summary="The queues, for Prometheus",
        tag="about",
        answer="text/plain",
    ),
    Route(
        method="GET",
        path="/openapi.json",
        endpoint=about.openapi,
        scope=Open.TO_KEYS,
        summary="This document",
        tag="about",
        answer="application/json",
    ),
    Route(
        method="GET",
        path="/problems/{slug}",
        endpoint=about.problem,
        scope=Open.TO_ALL,
        summary="What a kind of problem means",
        tag="about",
        answer="text/html",
    ),
    Route(
        method="GET",
        path="/",
        endpoint=dashboard.index,
        scope=Open.TO_ALL,
        summary="The dashboard",
        tag="about",
        answer="text/html",
        any_query=True,
        head=True,
    ),
    Route(
        method="GET",
        path="/static/{file}",
        endpoint=dashboard.static,
        scope=Open.TO_ALL,
        summary="A file of the dashboard",
        tag="about",
        answer="text/plain",
        any_query=True,
        head=True,
    ),
)
