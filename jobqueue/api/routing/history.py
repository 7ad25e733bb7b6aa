"""The table of addresses: `/executions`."""

from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import query, view
from jobqueue.api.endpoint import history
from jobqueue.api.route import PREFIX, STORE, Route

HISTORY: Final = (
    Route(
        method="GET",
        path=f"{PREFIX}/executions",
        endpoint=history.ls,
        scope=Scope.JOBS_READ,
        summary="What has run",
        tag="history",
        answer=view.ExecutionPage,
        query=query.ExecutionsQuery,
        problems=STORE,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/executions/stats",
        endpoint=history.stats,
        scope=Scope.JOBS_READ,
        summary="How many executions ended how, by time",
        tag="history",
        answer=view.Statistics,
        query=query.StatisticsQuery,
        problems=STORE,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/executions/errors",
        endpoint=history.errors,
        scope=Scope.JOBS_READ,
        summary="Failures by task and error",
        tag="history",
        answer=view.ErrorGroups,
        query=query.ErrorsQuery,
        problems=STORE,
    ),
)
