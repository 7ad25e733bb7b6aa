"""Dashboard sessions in Redis: by the SHA-256 of a token that only the browser has."""

import secrets
from datetime import timedelta
from typing import Final

from jobqueue.broker import scripts
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import AccessKeys
from jobqueue.clock import to_ms

_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 100


class RedisSessions:
    """See `jobqueue.access.base.Sessions`."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._keys = AccessKeys.of(namespace)

    async def open(self, key_id: str, *, ttl: timedelta) -> str:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        command = scripts.LOGIN.command(session=self._keys.session(token), key_id=key_id, ttl_ms=to_ms(ttl))
        await self._line.call(command)
        return token

    async def key_of(self, token: str) -> str | None:
        if len(token) > _LONGEST_TOKEN:
            return None
        found: bytes | None = await self._line.call(["GET", self._keys.session(token)])
        return None if found is None else found.decode()

    async def close(self, token: str) -> None:
        if len(token) <= _LONGEST_TOKEN:
            # Deletes. DEL is not among the commands of the restricted user.
            await self._line.call(["PEXPIRE", self._keys.session(token), 0])
