"""`/session`: the dashboard signs in with a key, and has a cookie for it that no script can read."""

from datetime import timedelta
from importlib.metadata import version
from typing import Final

from aiohttp import web

from jobqueue.api import origin, view
from jobqueue.api.call import Call
from jobqueue.api.caller import COOKIE, LOCAL, NOBODY, Caller, too_many, unauthenticated
from jobqueue.api.pipeline import json_of
from jobqueue.api.problem import Refusal
from jobqueue.api.request import Login
from jobqueue.errors import Denied, TooMany

SESSION: Final = timedelta(hours=12)


async def show(call: Call) -> view.Session:
    """Who the caller is; also for those who are nobody yet."""
    return _session(call, call.caller)


async def sign_in(call: Call) -> web.StreamResponse:
    """Exchange a key for a session."""
    login: Login = call.body
    origin.refuse_other_sites(call.request, by_cookie=False)
    if call.site.gate is None:
        raise Refusal("not-configured", "this server keeps no API keys")
    try:
        key = await call.site.gate.authenticate(login.key, call.request.remote or "")
    except Denied as error:
        raise unauthenticated("the key is unknown, expired or revoked") from error
    except TooMany as error:
        raise too_many(error) from error
    token = await call.access.sessions.open(key.id, ttl=SESSION)
    caller = Caller.with_key(key, by_cookie=True)
    call.caller = caller
    call.note(key.id)
    response = web.Response(body=json_of(_session(call, caller)), content_type="application/json")
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    return response


async def sign_out(call: Call) -> web.StreamResponse:
    """End the session; without one, nothing."""
    origin.refuse_other_sites(call.request, by_cookie=COOKIE in call.request.cookies)
    token = call.request.cookies.get(COOKIE)
    if token is not None and call.site.access is not None:
        await call.access.sessions.close(token)
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def _session(call: Call, caller: Caller) -> view.Session:
    return view.Session(
        key=caller.name,
        open=caller is LOCAL,
        signed_in=caller is not LOCAL and caller is not NOBODY,
        scopes=sorted(caller.scopes),
        queues=list(caller.queues),
        history=call.queue.parts.executions is not None,
        version=version("jobqueue-asyncio"),
    )
