"""The gate: which key is calling, and is it good?

A key's record is believed for 5 s from the moment at which it was asked for: that is how long a revocation takes
at most, how long a good key goes on when the store is away, and why the store does not see every request. Without
a record that is fresh the gate stays closed: it raises what the store raised.

Refused keys are counted by address and by key id, in buckets that all API processes share. When one is empty, a
wrong key is answered `TooMany` instead of `Denied`, and neither counted nor logged again. **A right key passes all
the same**: nobody is locked out because somebody else, behind the same address or with the same id, guesses. A
guesser gains nothing by that, since a secret has 256 bits; what the limit bounds is work and log. For the same
reason, records that are not fresh are looked up one at a time for a locked address, with 16 in line: a neighbour of
a flood may hear `TooMany` for its first request in 5 s.
"""

import asyncio
import hmac
from collections.abc import Coroutine
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final, NamedTuple, NoReturn

import structlog

from jobqueue.access.base import Access, ApiKey
from jobqueue.access.key import is_id, read, void
from jobqueue.clock import Clock, from_ms
from jobqueue.errors import Denied, JobQueueError, TooMany

BELIEVED: Final = timedelta(seconds=5)
"""How long a key's record is used before it is read again."""

UNKNOWN_BELIEVED: Final = timedelta(seconds=1)
"""How long an id is taken to be nobody's."""

FAILURES: Final = 10
"""So many keys of one address, or of one id, may be refused at once ..."""

FAILURE_EVERY: Final = timedelta(seconds=6)
"""... and then one in this time."""

FLUSH_EVERY: Final = timedelta(seconds=30)
"""How often it is noted when keys were last used."""

_NOBODY: Final = bytes(32)
_LIMITER_AWAY: Final = timedelta(seconds=1)
_MOST_UNKNOWN: Final = 10_000
_MOST_LOCKS: Final = 10_000
_MOST_IN_LINE: Final = 16
_MESSAGE: Final = "no valid API key; send one as 'Authorization: Bearer jq_...' or 'X-API-Key: jq_...'"

_log = structlog.get_logger("jobqueue.access")


class _Record(NamedTuple):
    """What is known of a key id, until when, by the monotonic clock."""

    key: ApiKey | None
    until_s: float


class _Lookup(NamedTuple):
    """A record that is being read."""

    task: "asyncio.Task[ApiKey | None]"
    since_s: float


class Gate:
    """One per API process. Used from one event loop; `close` it."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._known: dict[str, _Record] = {}
        self._unknown: dict[str, _Record] = {}
        self._lookups: dict[str, _Lookup] = {}
        self._locks: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()
        self._in_line = 0
        self._used: dict[str, datetime] = {}
        self._flushed_s = float("-inf")
        self._later: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def authenticate(self, secret: str, address: str) -> ApiKey:
        """The key with this secret. *address*: where the request comes from, as text.

        Raises:
            Denied: there is no such key, or it is revoked or has expired: the caller is not told which.
            TooMany: the same, and too often.
            BrokerUnavailable, RepositoryUnavailable: the key cannot be looked up.
        """
        presented = read(secret)
        if presented is None:
            await self._refuse("is not formed as a key", address, None)
        key = await self._find(presented.id, address)
        # Also without a key: how long it takes is not to tell whether there is one.
        right = hmac.compare_digest(presented.digest, _NOBODY if key is None else key.digest)
        if key is None:
            await self._refuse("is not known", address, presented.id)
        why = void(key, self._now()) if right else "has another secret"
        if why is not None:
            await self._refuse(why, address, presented.id)
        self._note_use(key)
        return key

    async def resolve(self, key_id: str) -> ApiKey:
        """The key with this id, for a session that was opened with it.

        Raises:
            Denied: there is none, or it is revoked or has expired.
            BrokerUnavailable, RepositoryUnavailable: the key cannot be looked up.
        """
        key = await self._look_up(key_id) if is_id(key_id) else None
        why = "is not known" if key is None else void(key, self._now())
        if key is None or why is not None:
            _log.warning("session.refused", key=key_id[:8], reason=why)
            raise Denied(_MESSAGE)
        self._note_use(key)
        return key

    async def limit(self, key: ApiKey) -> None:
        """Count a request of *key*: its rate in the long run, up to a second's worth at once.

        Raises:
            TooMany: it has had its share.
            BrokerUnavailable: its share is not known. A key without a rate is not counted and never hears this.
        """
        if key.rate is None:
            return
        after = await self._access.limiter.take(f"rate:{key.id}", rate=key.rate, burst=max(1.0, key.rate))
        if after:
            raise TooMany(after)

    def forget(self, key_id: str) -> None:
        """Read this key again at its next use: for who has just changed it."""
        self._known.pop(key_id, None)
        self._unknown.pop(key_id, None)
        self._lookups.pop(key_id, None)

    async def flush(self) -> None:
        """Note when keys were last used. What cannot be noted now is kept for the next time."""
        self._flushed_s = self._clock.monotonic()
        used, self._used = self._used, {}
        try:
            if used:
                await self._access.keys.used(used)
        except JobQueueError as error:
            self._used = used | self._used
            _log.warning("key.use_not_noted", keys=len(used), error=str(error))

    async def close(self) -> None:
        """End the lookups under way, and note when keys were last used."""
        if self._later is not None:
            self._later.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flush()

    # Looking up

    async def _find(self, key_id: str, address: str) -> ApiKey | None:
        after = timedelta(0) if self._fresh(key_id) else self._locked(_bucket_of(_source(address)))
        if not after:
            return await self._look_up(key_id)
        if self._in_line >= _MOST_IN_LINE:
            raise TooMany(after)
        self._in_line += 1
        try:
            async with self._one_at_a_time:
                return await self._look_up(key_id)
        finally:
            self._in_line -= 1

    async def _look_up(self, key_id: str) -> ApiKey | None:
        record = self._fresh(key_id)
        if record is not None:
            return record.key
        now_s = self._clock.monotonic()
        lookup = self._lookups.get(key_id)
        # Who comes while it is being read shares the answer, unless that is old already.
        if lookup is None or lookup.since_s + BELIEVED.total_seconds() <= now_s:
            lookup = self._lookups[key_id] = _Lookup(self._start(self._read(key_id, now_s)), now_s)
        return await asyncio.shield(lookup.task)

    async def _read(self, key_id: str, since_s: float) -> ApiKey | None:
        mine = asyncio.current_task()
        try:
            key = await self._access.keys.get(key_id)
            latest = self._lookups.get(key_id)
            if latest is not None and latest.task is mine:
                self._learn(key_id, key, since_s)
            return key
        finally:
            latest = self._lookups.get(key_id)
            if latest is not None and latest.task is mine:
                del self._lookups[key_id]

    def _learn(self, key_id: str, key: ApiKey | None, since_s: float) -> None:
        if key is not None:
            self._known[key_id] = _Record(key, since_s + BELIEVED.total_seconds())
            self._unknown.pop(key_id, None)
            return
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[key_id] = _Record(None, since_s + UNKNOWN_BELIEVED.total_seconds())

    def _fresh(self, key_id: str) -> _Record | None:
        record = self._known.get(key_id) or self._unknown.get(key_id)
        return record if record is not None and record.until_s > self._clock.monotonic() else None

    # Refusing

    async def _refuse(self, why: str, address: str, key_id: str | None) -> NoReturn:
        source = _source(address)
        buckets = [_bucket_of(source)] + ([f"refused:key:{key_id}"] if key_id else [])
        for bucket in buckets:
            after = self._locked(bucket) or await self._count(bucket)
            if after:
                raise TooMany(after)
        _log.warning("key.refused", key=key_id, address=source, reason=why)
        raise Denied(_MESSAGE)

    async def _count(self, bucket: str) -> timedelta:
        """Count a refusal; not zero: too many, and the bucket is locked for so long."""
        try:
            rate = 1 / FAILURE_EVERY.total_seconds()
            after = await self._access.limiter.take(bucket, rate=rate, burst=FAILURES)
            if after:
                _log.warning("key.locked_out", bucket=bucket, seconds=after.total_seconds())
        except JobQueueError as error:
            after = _LIMITER_AWAY
            _log.warning("key.not_counted", bucket=bucket, error=str(error))
        if after:
            if len(self._locks) >= _MOST_LOCKS:
                self._locks.clear()
            self._locks[bucket] = self._clock.monotonic() + after.total_seconds()
        return after

    def _locked(self, bucket: str) -> timedelta:
        """How long it is still locked."""
        return timedelta(seconds=max(0.0, self._locks.get(bucket, 0.0) - self._clock.monotonic()))

    # Noting

    def _note_use(self, key: ApiKey) -> None:
        self._used[key.id] = self._now()
        if self._clock.monotonic() - self._flushed_s >= FLUSH_EVERY.total_seconds():
            self._flushed_s = self._clock.monotonic()
            self._start(self.flush())
        elif self._later is None:  # perhaps nobody comes after this one
            self._later = asyncio.get_running_loop().call_later(FLUSH_EVERY.total_seconds(), self._flush_later)

    def _flush_later(self) -> None:
        self._later = None
        self._start(self.flush())

    def _now(self) -> datetime:
        return from_ms(self._clock.now_ms())

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task of the gate's own: a caller who goes away does not take it along."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its callers have heard it, if there are any left


def _bucket_of(source: str) -> str:
    return f"refused:address:{source}"


def _source(address: str) -> str:
    """Whom to count: an IPv4 address, or the /64 of an IPv6 address, which one caller has all of."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
