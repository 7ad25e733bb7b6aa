"""The table of addresses: Workers, tasks, and everything at a glance."""

from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import query, view
from jobqueue.api.endpoint import crew, live
from jobqueue.api.route import PREFIX, STORE, Route

CREW: Final = (
    Route(
        method="GET",
        path=f"{PREFIX}/workers",
        endpoint=crew.workers,
        scope=Scope.WORKERS_READ,
        summary="All workers, with what they run",
        tag="workers",
        answer=view.Workers,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/tasks",
        endpoint=crew.tasks,
        scope=Scope.JOBS_READ,
        summary="The tasks that this server knows",
        tag="workers",
        answer=view.Tasks,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/overview",
        endpoint=crew.overview,
        scope=Scope.QUEUES_READ,
        summary="Everything at a glance",
        tag="workers",
        answer=view.Overview,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/events",
        endpoint=live.events,
        scope=Scope.QUEUES_READ,
        summary="Changes as they happen",
        tag="workers",
        answer="text/event-stream",
        query=query.EventsQuery,
        scopes_by={"job": Scope.JOBS_READ},
        stream=True,
        also={204: "The job has ended, and that was told before."},
        problems=("not-found", *STORE),
    ),
)
