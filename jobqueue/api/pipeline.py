"""What every request goes through, in this order, before and after its endpoint."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import structlog
from aiohttp import web

from jobqueue.access.scope import Scope
from jobqueue.api import origin
from jobqueue.api.call import Call, Site
from jobqueue.api.caller import NOBODY, Caller
from jobqueue.api.parse import read_call
from jobqueue.api.problem import KINDS, Refusal, refusal_of
from jobqueue.api.route import Open, Reply, Route
from jobqueue.api.view import Problem, View
from jobqueue.outcome import Failure

_log = structlog.get_logger("jobqueue.api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_request_id: ContextVar[str] = ContextVar("jobqueue_request_id")
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_STATUS_SLUGS: Final = {
    400: "invalid-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    503: "too-many-requests",
}


class Pipeline:
    """The one middleware of the app."""

    def __init__(self, site: Site, routes: Mapping[Any, Route], mount: Callable[[], str]) -> None:
        self._site = site
        self._routes = routes
        self._mount = mount
        self._hosts = origin.Hosts(site.settings)

    def middleware(self) -> Any:
        @web.middleware
        async def through(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answered(request, handler)

        return through

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _SANE_ID.fullmatch(given) else str(uuid.uuid4())
        _request_id.set(request_id)
        route = self._routes.get(request.match_info.handler)
        if route is None and request.path == self._mount() and request.method in ("GET", "HEAD"):
            return web.Response(status=308, headers={"Location": f"{request.path}/"})  # to the dashboard
        try:
            limit = None if route is not None and route.stream else self._site.settings.timeout.total_seconds()
            async with asyncio.timeout(limit):
                return await self._checked(request, route, handler, request_id)
        except ConnectionResetError:
            raise  # the caller has gone: there is nobody to answer
        except web.HTTPException as error:
            return self._problem(request, _refusal_of_http(error, self._mount(), known=route is not None), request_id)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal.kind.slug == "internal":
                _log_failure("api.failed", error, request_id=request_id, method=request.method, path=request.path)
            return self._problem(request, refusal, request_id)

    async def _checked(
        self, request: web.Request, route: Route | None, handler: Handler, request_id: str
    ) -> web.StreamResponse:
        opened = await self._host(request, route)
        preflight = origin.preflight(request, self._site.settings.cors_origins)
        if preflight is not None:
            return preflight
        caller = await self._caller(request, route)
        if caller.by_cookie or opened:
            origin.refuse_other_sites(request, by_cookie=caller.by_cookie)
        if route is None:
            return await handler(request)  # 404 or 405
        _check_scope(route, request, caller)
        await self._site.callers.limit(caller)
        path, query, body = await read_call(request, route, self._site.settings)
        call = Call(
            site=self._site,
            request=request,
            request_id=request_id,
            caller=caller,
            mount=self._mount(),
            path=path,
            query=query,
            body=body,
        )
        return await _run(route, call)

    async def _host(self, request: web.Request, route: Route | None) -> bool:
        """Refuse names that are none of ours. Whether everybody on this machine may do all."""
        if route is not None and route.scope is Open.TO_ALL:
            self._hosts.check(request, strict=False)
            return False
        opened = await self._site.callers.open()
        self._hosts.check(request, strict=opened)
        return opened

    async def _caller(self, request: web.Request, route: Route | None) -> Caller:
        if route is not None and route.scope is Open.TO_ALL:
            return NOBODY
        try:
            return await self._site.callers.of(request)
        except Refusal as refusal:
            if route is not None and route.scope is Open.TO_GUESTS and refusal.kind.slug == "unauthenticated":
                return NOBODY
            raise

    def _problem(self, request: web.Request, refusal: Refusal, request_id: str) -> web.Response:
        kind = refusal.kind
        problem = Problem(
            type=f"{self._mount()}/problems/{kind.slug}",
            title=kind.title,
            status=kind.status,
            detail=refusal.detail,
            instance=request.path,
            request_id=request_id,
            errors=None if refusal.errors is None else [dict(each) for each in refusal.errors],
            job_id=refusal.job_id,
        )
        response = web.Response(
            body=problem.model_dump_json(exclude_none=True).encode(),
            status=kind.status,
            headers=refusal.headers,
            content_type="application/problem+json",
        )
        if kind.status == 413:
            response.force_close()  # what is left of the body is not read
        return response


def _check_scope(route: Route, request: web.Request, caller: Caller) -> None:
    scope = route.scope_for(request.query)
    if isinstance(scope, Scope) and scope not in caller.scopes:
        raise Refusal("forbidden", f"this key lacks the scope {scope.value}")


async def _run(route: Route, call: Call) -> web.StreamResponse:
    try:
        answer = await route.endpoint(call)
    except BaseException as error:
        if route.audit is not None:
            await _keep_audit_of_failure(route.audit, call, error)
        raise
    if route.audit is not None:
        await _keep_audit(route.audit, call)
    if isinstance(answer, web.StreamResponse):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply(view=answer)
    return response_of(reply, route)


def response_of(reply: Reply, route: Route) -> web.Response:
    """A reply as it is sent."""
    status = reply.status or route.status
    if reply.view is None:
        return web.Response(status=status, headers=reply.headers)
    return web.Response(body=json_of(reply.view), status=status, headers=reply.headers, content_type="application/json")


def json_of(view: View) -> bytes:
    return view.model_dump_json().encode()


async def _keep_audit_of_failure(action: str, call: Call, error: BaseException) -> None:
    """What was done before it failed; and where nobody knows what was, that it was begun.

    Strangers at the sign-in leave none: they could fill the log.
    """
    refused = isinstance(error, Exception) and refusal_of(error).kind.status < 500
    if not call.noted and not refused and call.caller is not NOBODY:
        call.note(next(iter(call.path.values()), "*"), unfinished=type(error).__name__)
    await _keep_audit(action, call)


async def _keep_audit(action: str, call: Call) -> None:
    for entry in call.entries(action):
        _log.info(
            "api.changed",
            action=entry.action,
            actor=entry.actor,
            target=entry.target,
            address=entry.address,
            request_id=entry.request_id,
        )
        if call.site.access is None:
            continue
        try:
            await call.site.access.audit.append(entry)
        except Exception as error:
            # It has been done, and cannot be undone: the row is lost, the line in the log is not.
            _log_failure("audit.lost", error, action=entry.action, target=entry.target, request_id=entry.request_id)


def _log_failure(event: str, error: Exception, **facts: str) -> None:
    # Formatted here: structlog's own default prints local variables, and so payloads and keys.
    _log.error(event, exception=Failure.of(error).traceback, **facts)


def _refusal_of_http(error: web.HTTPException, mount: str, *, known: bool) -> Refusal:
    """An error of aiohttp's own, without its words; *known*: of an address that there is."""
    slug = _STATUS_SLUGS.get(error.status, "internal" if error.status >= 500 else "invalid-request")
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    detail = KINDS[slug].title
    if error.status == 404 and not known:
        detail = f"there is no such address; `{mount}/openapi.json` lists all"
    elif "Allow" in headers:
        detail = f"this address takes {headers['Allow'].replace(',', ', ')} only"
    return Refusal(slug, detail, headers=headers)


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer, streams and errors too."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "jobqueue"  # not which version of what
    # Of the same task as the request: a stream is prepared in its endpoint, an answer after the pipeline.
    response.headers["X-Request-ID"] = _request_id.get("")
