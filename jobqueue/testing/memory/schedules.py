"""The definitions of schedules in memory."""

from collections.abc import Sequence

from jobqueue.errors import ScheduleConflict
from jobqueue.schedule import MAX_SCHEDULES, REMOVED_COUNT, Definition


class MemoryScheduleStore:
    """See `jobqueue.repository.schedules.ScheduleStore`."""

    def __init__(self) -> None:
        self._kept: dict[str, Definition] = {}
        self._revision = 0

    async def get(self, name: str) -> Definition | None:
        return self._kept.get(name)

    async def list(self) -> Sequence[Definition]:
        return [self._kept[name] for name in sorted(self._kept)]

    async def revision(self) -> int:
        return self._revision

    async def put(self, definition: Definition, *, expected: int) -> bool:
        kept = self._kept.get(definition.name)
        if (kept.version if kept is not None else 0) != expected:
            return False
        if kept is None and len(self._kept) >= MAX_SCHEDULES:
            raise ScheduleConflict(
                f"schedule {definition.name!r} would be one more than {MAX_SCHEDULES}; {REMOVED_COUNT}"
            )
        self._kept[definition.name] = definition
        self._revision += 1
        return True

    async def forget(self, name: str, *, version: int) -> bool:
        kept = self._kept.get(name)
        if kept is None or kept.version != version:
            return False
        del self._kept[name]
        self._revision += 1
        return True
