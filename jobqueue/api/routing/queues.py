"""The table of addresses: `/queues`."""

from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import request, view
from jobqueue.api.endpoint import queues
from jobqueue.api.route import PREFIX, Route

QUEUES: Final = (
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
        answer=view.Purged,
        body=request.Purge,
        audit="queue.purge",
        problems=("conflict",),
    ),
)
