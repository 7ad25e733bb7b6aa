"""Every address of the API, once: the router, the OpenAPI document and the tests of scopes come from this table."""

from collections.abc import Sequence
from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import request, view
from jobqueue.api.endpoint import about, jobs, queues
from jobqueue.api.route import Open, Route

PREFIX: Final = "/api/v1"

_JOBS: Final = (
    Route(
        method="POST",
        path=f"{PREFIX}/jobs",
        endpoint=jobs.create,
        scope=Scope.JOBS_ENQUEUE,
        summary="Queue a job",
        tag="jobs",
        body=request.NewJob,
        answer=view.Job,
        status=201,
        also={200: "The same job, or one with its unique key, is queued already: this one."},
        problems=("invalid-job", "backpressure", "uncertain", "conflict"),
        idempotent=True,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/jobs/batch",
        endpoint=jobs.create_many,
        scope=Scope.JOBS_ENQUEUE,
        summary="Queue many jobs, with one result each",
        tag="jobs",
        body=request.NewJobs,
        answer=view.QueuedJobs,
        problems=("backpressure", "uncertain"),
        idempotent=True,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/jobs/{{id}}",
        endpoint=jobs.get,
        scope=Scope.JOBS_READ,
        summary="Where a job is, or what came of it",
        tag="jobs",
        answer=view.JobDetail,
        problems=("repository-unavailable",),
    ),
    Route(
        method="DELETE",
        path=f"{PREFIX}/jobs/{{id}}",
        endpoint=jobs.cancel,
        scope=Scope.JOBS_CANCEL,
        summary="Cancel a job",
        tag="jobs",
        answer=view.Cancelled,
        audit="job.cancel",
        problems=("conflict", "repository-unavailable"),
    ),
)

_QUEUES: Final = (
    Route(
        method="GET",
        path=f"{PREFIX}/queues",
        endpoint=queues.ls,
        scope=Scope.QUEUES_READ,
        summary="All queues",
        tag="queues",
        answer=view.Queues,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/queues/{{name}}/stats",
        endpoint=queues.stats,
        scope=Scope.QUEUES_READ,
        summary="One queue in full",
        tag="queues",
        answer=view.Queue,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/queues/{{name}}/depth",
        endpoint=queues.depth,
        scope=Scope.QUEUES_READ,
        summary="What waits in a queue",
        tag="queues",
        answer=view.Depth,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/queues/{{name}}/pause",
        endpoint=queues.pause,
        scope=Scope.QUEUES_WRITE,
        summary="Let no more jobs of a queue be started",
        tag="queues",
        answer=view.Queue,
        audit="queue.pause",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/queues/{{name}}/resume",
        endpoint=queues.resume,
        scope=Scope.QUEUES_WRITE,
        summary="Undo a pause",
        tag="queues",
        answer=view.Queue,
        audit="queue.resume",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/queues/{{name}}/purge",
        endpoint=queues.purge,
        scope=Scope.QUEUES_WRITE,
        summary="Cancel every waiting job of a queue",
        tag="queues",
        body=request.Purge,
        answer=view.Purged,
        audit="queue.purge",
        problems=("conflict",),
    ),
)

_ABOUT: Final = (
    Route(
        method="GET",
        path="/health",
        endpoint=about.health,
        scope=Open.TO_ALL,
        summary="The process answers",
        tag="about",
        answer=view.Health,
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
)

ROUTES: Final[Sequence[Route]] = (*_JOBS, *_QUEUES, *_ABOUT)
