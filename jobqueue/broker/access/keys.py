"""API keys in Redis, where there is no Postgres."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from jobqueue.access.base import ApiKey
from jobqueue.access.key import is_id, known_scopes
from jobqueue.access.scope import Kind
from jobqueue.broker import scripts
from jobqueue.broker.connection import Command, Line, refused
from jobqueue.broker.keys import AccessKeys
from jobqueue.clock import from_ms
from jobqueue.errors import BrokerError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What never changes of a key, as JSON."""

    name: str
    kind: str
    scopes: tuple[str, ...]
    queues: tuple[str, ...]
    digest: bytes
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    rate: float | None = None


class RedisApiKeys:
    """See `jobqueue.access.base.ApiKeys`. Instants are kept to the millisecond."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._keys = AccessKeys.of(namespace)

    async def add(self, key: ApiKey) -> None:
        if not await self._line.call(["HSETNX", self._keys.keys, key.id, _to_json(key)]):
            raise BrokerError(f"there is a key with the id {key.id} already; make another one")

    async def get(self, key_id: str) -> ApiKey | None:
        if not is_id(key_id):
            return None
        names = (self._keys.keys, self._keys.revoked, self._keys.used)
        kept, revoked, used = await self._replies([["HGET", name, key_id] for name in names])
        return None if kept is None else _from_json(key_id, kept, revoked, used)

    async def list(self) -> Sequence[ApiKey]:
        names = (self._keys.keys, self._keys.revoked, self._keys.used)
        all_kept, revoked, used = map(_pairs, await self._replies([["HGETALL", name] for name in names]))
        keys = [
            _from_json(key_id.decode(), kept, revoked.get(key_id), used.get(key_id))
            for key_id, kept in all_kept.items()
        ]
        return sorted(keys, key=lambda key: (key.created_at, key.id), reverse=True)

    async def any(self) -> bool:
        return bool(await self._line.call(["HLEN", self._keys.keys]))

    async def revoke(self, key_id: str, *, at: datetime) -> bool:
        if not is_id(key_id):
            return False
        command = scripts.REVOKE.command(known=self._keys.keys, revoked=self._keys.revoked, id=key_id, at_ms=_ms(at))
        return bool(await self._line.call(command))

    async def used(self, last_used: Mapping[str, datetime]) -> None:
        notes = [part for key_id, at in last_used.items() if is_id(key_id) for part in (key_id, _ms(at))]
        if notes:
            await self._line.call(scripts.TOUCH.command(known=self._keys.keys, used=self._keys.used, more_args=notes))

    async def _replies(self, commands: Sequence[Command]) -> Sequence[Any]:
        replies = await self._line.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise refused(reply) from reply
        return replies


def _to_json(key: ApiKey) -> bytes:
    kept = _Kept(
        name=key.name,
        kind=key.kind.value,
        scopes=tuple(sorted(key.scopes)),
        queues=key.queues,
        digest=key.digest,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        rate=key.rate,
    )
    return msgspec.json.encode(kept)


def _from_json(key_id: str, text: bytes, revoked: bytes | None, used: bytes | None) -> ApiKey:
    try:
        kept = msgspec.json.decode(text, type=_Kept)
        return ApiKey(
            id=key_id,
            name=kept.name,
            kind=Kind(kept.kind),
            scopes=known_scopes(kept.scopes),
            queues=kept.queues,
            digest=kept.digest,
            created_at=kept.created_at,
            created_by=kept.created_by,
            expires_at=kept.expires_at,
            revoked_at=None if revoked is None else from_ms(int(revoked)),
            last_used_at=None if used is None else from_ms(int(used)),
            rate=kept.rate,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokerError(f"the key {key_id} in Redis cannot be read: {error}; was it edited by hand?") from error


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
