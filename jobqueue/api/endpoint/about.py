"""About this server: is it up, is it ready, what it speaks, what its problems mean."""

import html

from aiohttp import web

from jobqueue.api.call import Call
from jobqueue.api.exposition import CONTENT_TYPE, api_exposition
from jobqueue.api.health import health as look
from jobqueue.api.openapi import document
from jobqueue.api.problem import KINDS, Kind, Refusal
from jobqueue.api.route import Reply


async def health(call: Call) -> Reply:
    """The process answers, and the loop that looks at the queues goes round."""
    found = look([call.site.live.heartbeat] if call.site.runs_live else [], call.queue.parts.clock)
    return Reply(view=found, status=200 if found.status == "ok" else 503)


async def ready(call: Call) -> Reply:
    """Redis answers; so does Postgres, where it is configured, with every migration applied."""
    found = await call.site.readiness.ready()
    return Reply(view=found, status=200 if found.status == "ready" else 503)


async def metrics(call: Call) -> web.StreamResponse:
    """The queues, for Prometheus. They belong to no process: scrape one API process, or take the `max`."""
    if not call.caller.sees_all:
        raise Refusal("forbidden", "metrics tell of all queues; this key covers some")
    text = await api_exposition(call.site.live, call.queue.parts.schedules)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})


async def openapi(call: Call) -> web.StreamResponse:
    """The routes and models, as OpenAPI 3.1."""
    return web.json_response(document(call.site.routes, mount=call.mount))


async def problem(call: Call) -> web.StreamResponse:
    """A page about one kind of problem."""
    kind = KINDS.get(call.path["slug"])
    if kind is None:
        raise Refusal("not-found", "there is no such kind of problem")
    return web.Response(text=page(kind), content_type="text/html")


def page(kind: Kind) -> str:
    """The page about a kind of problem."""
    title, meaning, way_out = (html.escape(each) for each in (kind.title, kind.meaning, kind.way_out))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>'
        f"<h1>{title}</h1><p><code>{kind.slug}</code>, status {kind.status}</p>"
        f"<p>{meaning}</p><h2>What to do</h2><p>{way_out}</p></body></html>\n"
    )
