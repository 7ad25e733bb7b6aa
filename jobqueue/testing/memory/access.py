"""The ports of access in memory, in the same contract suite as Redis and Postgres."""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from jobqueue.access.base import Access, Answer, ApiKey, AuditEntry
from jobqueue.access.trail import fit, text
from jobqueue.clock import Clock
from jobqueue.errors import BrokerError, ConfigError


def memory_access(clock: Clock) -> Access:
    """All of them, empty."""
    return Access(
        keys=MemoryApiKeys(),
        audit=MemoryAuditLog(),
        sessions=MemorySessions(clock),
        limiter=MemoryLimiter(clock),
        answers=MemoryAnswers(clock),
    )


class MemoryApiKeys:
    """See `jobqueue.access.base.ApiKeys`."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    async def add(self, key: ApiKey) -> None:
        if key.id in self._keys:
            raise BrokerError(f"there is a key with the id {key.id} already; make another one")
        self._keys[key.id] = key

    async def get(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    async def list(self) -> Sequence[ApiKey]:
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id), reverse=True)

    async def any(self) -> bool:
        return bool(self._keys)

    async def revoke(self, key_id: str, *, at: datetime) -> bool:
        key = self._keys.get(key_id)
        if key is None:
            return False
        if key.revoked_at is None or at < key.revoked_at:
            self._keys[key_id] = msgspec.structs.replace(key, revoked_at=at)
        return True

    async def used(self, last_used: Mapping[str, datetime]) -> None:
        for key_id, at in last_used.items():
            key = self._keys.get(key_id)
            if key is not None and (key.last_used_at is None or key.last_used_at < at):
                self._keys[key_id] = msgspec.structs.replace(key, last_used_at=at)


class MemoryAuditLog:
    """See `jobqueue.access.base.AuditLog`."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []

    async def append(self, entry: AuditEntry) -> None:
        self._entries.append(fit(entry))

    async def list(
        self, *, actor: str | None, action: str | None, target: str | None, limit: int, after: str | None
    ) -> tuple[Sequence[AuditEntry], str | None]:
        """See the port.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        if after is not None and not re.fullmatch(r"[0-9]{1,18}", after):
            raise ConfigError(f"cursor must be one that the page before returned, got {after[:64]!r}")
        wanted = {"actor": actor, "action": action, "target": target}
        found = [
            (n, entry)
            for n, entry in enumerate(self._entries)
            if (after is None or n < int(after))
            and all(value is None or getattr(entry, name) == text(value) for name, value in wanted.items())
        ][::-1]
        more = str(found[limit - 1][0]) if len(found) > limit else None
        return [entry for _, entry in found[:limit]], more


class MemorySessions:
    """See `jobqueue.access.base.Sessions`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, tuple[str, float]] = {}

    async def open(self, key_id: str, *, ttl: timedelta) -> str:
        token = secrets.token_urlsafe(32)
        self._sessions[token] = (key_id, self._clock.monotonic() + ttl.total_seconds())
        return token

    async def key_of(self, token: str) -> str | None:
        key_id, until_s = self._sessions.get(token, (None, 0.0))
        return key_id if until_s > self._clock.monotonic() else None

    async def close(self, token: str) -> None:
        self._sessions.pop(token, None)


class MemoryLimiter:
    """See `jobqueue.access.base.Limiter`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    async def take(self, bucket: str, *, rate: float, burst: float, cost: float = 1.0) -> timedelta:
        if not (rate > 0 and 0 < cost <= burst):
            raise ValueError(f"a bucket needs rate > 0 and 0 < cost <= burst, got {rate=}, {burst=}, {cost=}")
        now_s = self._clock.monotonic()
        full_at = max(self._full_at.get(bucket, now_s), now_s) + cost / rate
        wait_s = full_at - now_s - burst / rate
        if wait_s > 1e-6:
            return timedelta(seconds=wait_s)
        self._full_at[bucket] = full_at
        return timedelta(0)


class MemoryAnswers:
    """See `jobqueue.access.base.Answers`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, Answer, float]] = {}

    async def begin(self, key: str, *, digest: str, patience: timedelta) -> Answer:
        held = self._living(key)
        if held is None:
            self._hold(key, digest, Answer("busy"), patience)
            return Answer("new")
        return held[1] if held[0] == digest else Answer("conflict")

    async def finish(self, key: str, *, digest: str, status: int, body: bytes, ttl: timedelta) -> None:
        held = self._living(key)
        if held is None or (held[0] == digest and held[1].state == "busy"):
            self._hold(key, digest, Answer("done", status, body), ttl)

    async def abandon(self, key: str, *, digest: str) -> None:
        held = self._living(key)
        if held is not None and held[0] == digest and held[1].state == "busy":
            del self._held[key]

    def _living(self, key: str) -> tuple[str, Answer, float] | None:
        held = self._held.get(key)
        return held if held is not None and held[2] > self._clock.monotonic() else None

    def _hold(self, key: str, digest: str, answer: Answer, ttl: timedelta) -> None:
        self._held[key] = (digest, answer, self._clock.monotonic() + ttl.total_seconds())
