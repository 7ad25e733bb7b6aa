"""First answers by idempotency key, in Redis."""

from datetime import timedelta
from typing import Any

from jobqueue.access.base import Answer
from jobqueue.broker import scripts
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import AccessKeys
from jobqueue.clock import to_ms


class RedisAnswers:
    """See `jobqueue.access.base.Answers`."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._keys = AccessKeys.of(namespace)

    async def begin(self, key: str, *, digest: str, patience: timedelta) -> Answer:
        command = scripts.CLAIM.command(answer=self._keys.answer(key), digest=digest, patience_ms=to_ms(patience))
        state, *known = await self._line.call(command)
        return _read(state, known)

    async def finish(self, key: str, *, digest: str, status: int, body: bytes, ttl: timedelta) -> None:
        command = scripts.ANSWER.command(
            answer=self._keys.answer(key), digest=digest, status=status, body=body, ttl_ms=to_ms(ttl)
        )
        await self._line.call(command)

    async def abandon(self, key: str, *, digest: str) -> None:
        await self._line.call(scripts.ABANDON.command(answer=self._keys.answer(key), digest=digest))


def _read(state: bytes, known: list[Any]) -> Answer:
    match state:
        case b"done":
            return Answer("done", int(known[0]), known[1])
        case b"conflict":
            return Answer("conflict")
        case b"busy":
            return Answer("busy")
        case _:
            return Answer("new")
