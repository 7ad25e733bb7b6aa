"""Who asks: somebody with a key, a dashboard session, or anybody on this machine while there are no keys."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from jobqueue.access.base import Access, ApiKey
from jobqueue.access.gate import Gate
from jobqueue.access.scope import Scope, covers
from jobqueue.api.problem import Refusal
from jobqueue.clock import Clock
from jobqueue.errors import Denied, JobQueueError, TooMany

COOKIE: Final = "__Host-jobqueue"
EVERYTHING: Final = ("*",)
_LOOK_AGAIN_S: Final = 2.0
# A proxy on this machine speaks for others, who are not on it.
_PROXIED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who may do *scopes* on the queues of the patterns *queues*."""

    actor: str
    """A key's id, or `local`."""
    name: str | None
    scopes: frozenset[Scope]
    queues: Sequence[str]
    key: ApiKey | None = None
    by_cookie: bool = False

    def sees(self, queue: str) -> bool:
        """Whether *queue* is one of its queues."""
        return covers(self.queues, queue)

    @classmethod
    def with_key(cls, key: ApiKey, *, by_cookie: bool = False) -> "Caller":
        """Who holds *key*."""
        return cls(actor=key.id, name=key.name, scopes=key.scopes, queues=key.queues, key=key, by_cookie=by_cookie)

    @property
    def sees_all(self) -> bool:
        """Whether every queue is."""
        return "*" in self.queues


LOCAL: Final = Caller(actor="local", name=None, scopes=frozenset(Scope), queues=EVERYTHING)
NOBODY: Final = Caller(actor="nobody", name=None, scopes=frozenset(), queues=())


class Callers:
    """Tells who sent a request, by the header first, then by the session's cookie."""

    def __init__(self, access: Access | None, gate: Gate | None, *, require_keys: bool, clock: Clock) -> None:
        self._access = access
        self._gate = gate
        self._require_keys = require_keys
        self._clock = clock
        self._there_are_keys = False
        self._looked = -_LOOK_AGAIN_S

    async def open(self) -> bool:
        """Whether no key is needed: none is required, and none was ever made."""
        if self._require_keys or self._there_are_keys:
            return False
        now = self._clock.monotonic()
        if self._access is not None and now - self._looked >= _LOOK_AGAIN_S:
            self._there_are_keys = await self._access.keys.any()
            self._looked = now
        return not self._there_are_keys

    def look_again(self) -> None:
        """A key was made here: the next request is asked for one."""
        self._looked = -_LOOK_AGAIN_S

    async def of(self, request: web.Request) -> Caller:
        """Who sent it.

        Raises:
            Refusal: nobody whom we know; or too many tries.
        """
        secret = _secret(request)
        token = request.cookies.get(COOKIE)
        if secret is None and await self.open():
            if any(header in request.headers for header in _PROXIED):
                raise unauthenticated("behind a proxy a key is needed, which `jobqueue keys create` makes")
            if not is_loopback(request.remote or ""):
                raise unauthenticated("without a key, this server answers only to the machine that it runs on")
            return LOCAL
        if self._gate is None:
            raise unauthenticated("this server needs API keys, and has no place to keep them")
        try:
            if secret is not None:
                return Caller.with_key(await self._gate.authenticate(secret, request.remote or ""))
            if token is not None:
                return await self._of_session(self._gate, token)
        except Denied as error:
            raise unauthenticated("the key or the session is unknown, expired or revoked") from error
        except TooMany as error:
            raise too_many(error) from error
        raise unauthenticated("send a key, as `Authorization: Bearer jq_...` or `X-API-Key: jq_...`")

    async def _of_session(self, gate: Gate, token: str) -> Caller:
        key_id = None if self._access is None else await self._access.sessions.key_of(token)
        if key_id is None:
            raise unauthenticated("the session has ended; sign in again")
        return Caller.with_key(await gate.resolve(key_id), by_cookie=True)

    async def still(self, request: web.Request, scope: Scope) -> bool:
        """Whether who sent *request* may go on to do *scope*: the key may be void by now."""
        try:
            return scope in (await self.of(request)).scopes
        except (Refusal, JobQueueError):
            return False

    async def limit(self, caller: Caller) -> None:
        """Count a request against the rate of the caller's key.

        Raises:
            Refusal: it is used up.
        """
        if self._gate is None or caller.key is None:
            return
        try:
            await self._gate.limit(caller.key)
        except TooMany as error:
            raise too_many(error) from error


def unauthenticated(detail: str) -> Refusal:
    return Refusal("unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="jobqueue"'})


def too_many(error: TooMany) -> Refusal:
    return Refusal("too-many-requests", "too many requests, or too many wrong keys; wait", retry_after=error.after)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own; also that of a Unix socket, which has none."""
    if not address:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _secret(request: web.Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        # Another scheme is none of ours, and no key either: refused, not passed over.
        return secret.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("X-API-Key")
