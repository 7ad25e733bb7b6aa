"""`/events`: what changes, as it changes."""

from aiohttp import web

from jobqueue.access.scope import Scope
from jobqueue.api import query, view
from jobqueue.api.call import Call
from jobqueue.api.endpoint import jobs
from jobqueue.api.problem import Refusal


async def events(call: Call) -> web.StreamResponse:
    """Server-sent events: `overview` at most once a second; with *job*, `job` when it changes, until its end."""
    asked: query.EventsQuery = call.query
    if asked.job is None:
        return await call.site.events.overview(
            call.request, patterns=call.caller.queues, allowed=lambda: _still(call, Scope.QUEUES_READ)
        )
    job_id = asked.job

    async def look() -> view.JobDetail | None:
        try:
            return await jobs.detail(call, job_id)
        except Refusal:
            return None

    return await call.site.events.job(call.request, look=look, allowed=lambda: _still(call, Scope.JOBS_READ))


async def _still(call: Call, scope: Scope) -> bool:
    return await call.site.callers.still(call.request, scope)
