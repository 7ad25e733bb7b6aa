"""The definitions of schedules in Redis, where there is no Postgres."""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from jobqueue.broker import scripts
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import ScheduleKeys
from jobqueue.errors import BrokerError, ScheduleConflict
from jobqueue.schedule import MAX_SCHEDULES, REMOVED_COUNT, Definition

_log = structlog.get_logger("jobqueue.schedules")

_READ_AT_ONCE: Final = 500


class RedisScheduleStore:
    """See `jobqueue.repository.schedules.ScheduleStore`. The payloads' text is kept as it is."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._keys = ScheduleKeys.of(namespace)

    async def get(self, name: str) -> Definition | None:
        known = name.encode(errors="backslashreplace")
        kept: bytes | None = await self._line.call(["HGET", self._keys.definitions, known])
        return None if kept is None else _read(known, kept)

    async def list(self) -> Sequence[Definition]:
        """See the port. One that cannot be read is logged and left out: the others must go on."""
        found: list[Definition] = []
        for name, kept in sorted((await self._all()).items()):
            try:
                found.append(_read(name, kept))
            except BrokerError as error:
                _log.error("schedule.unreadable", name=name.decode(errors="replace"), error=str(error))
        return found

    async def revision(self) -> int:
        return int(await self._line.call(["GET", self._keys.revision]) or 0)

    async def put(self, definition: Definition, *, expected: int) -> bool:
        command = scripts.DEFINE.command(
            definitions=self._keys.definitions,
            revision=self._keys.revision,
            name=definition.name,
            expected=expected,
            definition=b"%d\n%b" % (definition.version, msgspec.json.encode(definition)),
            most=MAX_SCHEDULES,
        )
        answer: int = await self._line.call(command)
        if answer < 0:
            raise ScheduleConflict(
                f"schedule {definition.name!r} would be one more than {MAX_SCHEDULES}; {REMOVED_COUNT}"
            )
        return answer == 1

    async def forget(self, name: str, *, version: int) -> bool:
        command = scripts.UNDEFINE.command(
            definitions=self._keys.definitions, revision=self._keys.revision, name=name, expected=version
        )
        return bool(await self._line.call(command))

    async def _all(self) -> dict[bytes, bytes]:
        """In pages: one reply with all of them would hold up everybody else."""
        kept: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            cursor, flat = await self._line.call(
                ["HSCAN", self._keys.definitions, cursor, "COUNT", _READ_AT_ONCE],
            )
            kept.update(zip(flat[::2], flat[1::2], strict=True))
            if cursor == b"0":
                return kept


def _read(name: bytes, kept: bytes) -> Definition:
    try:
        return msgspec.json.decode(kept.partition(b"\n")[2], type=Definition)
    except msgspec.MsgspecError as error:
        raise BrokerError(
            f"the schedule {name.decode(errors='replace')!r} in Redis cannot be read: {error}; was it edited by hand, "
            f"or written by a newer version?"
        ) from error
