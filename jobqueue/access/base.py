"""The ports of access: keys, sessions, audit, limits, and the first answers of repeated requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec

from jobqueue.access.scope import Kind, Scope, covers


class ApiKey(msgspec.Struct, kw_only=True, frozen=True):
    """A key as it is kept: never its secret, only the SHA-256 of it."""

    id: str
    name: str
    kind: Kind
    scopes: frozenset[Scope]
    queues: tuple[str, ...]
    """Patterns: `mail`, `mail.*`, `*`."""
    digest: bytes
    """SHA-256 of the secret, 32 bytes."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    rate: float | None = None
    """Requests a second, in the long run; None: not limited."""

    def allows(self, scope: Scope) -> bool:
        """Whether it may do this somewhere."""
        return scope in self.scopes

    def sees(self, queue: str) -> bool:
        """Whether *queue* is one of its queues."""
        return covers(self.queues, queue)


class ApiKeys(Protocol):
    """The kept keys: in Postgres, or in Redis when there is no Postgres."""

    async def add(self, key: ApiKey) -> None: ...

    async def get(self, key_id: str) -> ApiKey | None: ...

    async def list(self) -> Sequence[ApiKey]:
        """Newest first, revoked ones too."""
        ...

    async def any(self) -> bool:
        """Whether a key was ever made."""
        ...

    async def revoke(self, key_id: str, *, at: datetime) -> bool:
        """From *at* on the key is void; an earlier revocation stays. False: there is no such key."""
        ...

    async def used(self, last_used: Mapping[str, datetime]) -> None:
        """Note when keys were last used: key id → instant. Older than what is noted changes nothing."""
        ...


class AuditEntry(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody changed something."""

    at: datetime
    actor: str
    """A key's id, `local` without keys, or `cli:<user>`."""
    action: str
    """Such as `queue.purge`."""
    target: str
    """What was changed: a job's id, a queue's name, a key's id."""
    detail: Mapping[str, object] = msgspec.field(default_factory=dict)
    address: str = ""
    request_id: str = ""


class AuditLog(Protocol):
    """Append-only."""

    async def append(self, entry: AuditEntry) -> None: ...

    async def list(
        self, *, actor: str | None, action: str | None, target: str | None, limit: int, after: str | None
    ) -> tuple[Sequence[AuditEntry], str | None]:
        """A page, newest first, and the cursor of the next one."""
        ...


class Sessions(Protocol):
    """Dashboard sessions: a random token in a cookie stands for a key. Kept in Redis, by the token's SHA-256."""

    async def open(self, key_id: str, *, ttl: timedelta) -> str:
        """Returns the token."""
        ...

    async def key_of(self, token: str) -> str | None: ...

    async def close(self, token: str) -> None: ...


class Limiter(Protocol):
    """Token buckets in Redis, by its clock; shared by all API processes."""

    async def take(self, bucket: str, *, rate: float, burst: float, cost: float = 1.0) -> timedelta:
        """Zero when *cost* tokens were taken, else how long until they are there; then nothing was taken."""
        ...


class Answer(msgspec.Struct, frozen=True):
    """What is known of a request that came before under the same idempotency key.

    `new`: it is the first, and ours to answer; `busy`: the first is being answered; `conflict`: the first had
    another body; `done`: *body* and *status* are its answer.
    """

    state: Literal["new", "busy", "conflict", "done"]
    status: int = 0
    body: bytes = b""


class Answers(Protocol):
    """First answers by idempotency key. Kept in Redis."""

    async def begin(self, key: str, *, digest: str, patience: timedelta) -> Answer:
        """Claim *key* for a request of this *digest*. A claim not finished within *patience* is void."""
        ...

    async def finish(self, key: str, *, digest: str, status: int, body: bytes, ttl: timedelta) -> None:
        """Keep the answer for *ttl*."""
        ...

    async def abandon(self, key: str, *, digest: str) -> None:
        """Give the claim up: nothing was done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All ports of access, wired."""

    keys: ApiKeys
    audit: AuditLog
    sessions: Sessions
    limiter: Limiter
    answers: Answers
