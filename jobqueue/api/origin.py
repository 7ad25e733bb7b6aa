"""From which site a request comes, and under which name it asks: Host, Origin, CORS."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from jobqueue.api.caller import is_loopback
from jobqueue.api.problem import Refusal
from jobqueue.config import ApiSettings

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CORS_METHODS: Final = "GET, POST, PUT, DELETE"
_CORS_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key, X-Request-ID"
_CORS_EXPOSED: Final = "Idempotent-Replayed, Location, Retry-After, X-Request-ID"


class Hosts:
    """The names that this server answers to."""

    def __init__(self, settings: ApiSettings) -> None:
        self._listed = bool(settings.allowed_hosts)
        self._names = frozenset({"localhost", settings.host.lower(), *settings.allowed_hosts})

    def check(self, request: web.Request, *, strict: bool) -> None:
        """Refuse another name. Without keys (*strict*) always: any page could point its own name here. With keys,
        where names are listed.

        Raises:
            Refusal: the name is none of ours.
        """
        name = host_name(request.headers.get("Host", ""))
        if (strict or self._listed) and name not in self._names and not (name and is_loopback(name.strip("[]"))):
            way_out = "ask for it by a loopback name, or add yours to API_ALLOWED_HOSTS"
            raise Refusal("wrong-host", f"this server does not answer to the name {name[:100]!r}: {way_out}")


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")


def refuse_other_sites(request: web.Request, *, by_cookie: bool) -> None:
    """Refuse changes that a page of another site asks for with the browser's own rights.

    A browser says where a page is from; a program that says nothing is let through, but not with a cookie.

    Raises:
        Refusal: it comes from another site.
    """
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    told = site is not None or origin is not None
    ours = site in (None, "same-origin", "none") and (origin is None or _same(origin, request))
    if not ours or (by_cookie and not told):
        raise Refusal("forbidden", "this change was asked for by a page of another site")


def _same(origin: str, request: web.Request) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers.get("Host", "").lower()


def preflight(request: web.Request, allowed: Sequence[str]) -> web.Response | None:
    """The answer to a browser that asks whether a page of a listed site may call; None for any other request."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    if not _listed(request, allowed):
        return None
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": _CORS_METHODS,
            "Access-Control-Allow-Headers": _CORS_HEADERS,
            "Access-Control-Max-Age": "600",
        },
    )


def share(request: web.Request, response: web.StreamResponse, allowed: Sequence[str]) -> None:
    """Let a page of a listed site read the answer. Never with credentials: it must send a key."""
    if not allowed:
        return
    response.headers.add("Vary", "Origin")
    if _listed(request, allowed):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def _listed(request: web.Request, allowed: Sequence[str]) -> bool:
    return request.headers.get("Origin", "").lower() in allowed
