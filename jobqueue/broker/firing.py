"""Where schedules stand in Redis, and how their ticks become jobs: one script a call, in the slot of the queue."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from redis.exceptions import ResponseError

from jobqueue import crash
from jobqueue.broker import scripts
from jobqueue.broker.connection import Line, refused
from jobqueue.broker.keys import QueueKeys
from jobqueue.broker.scripts import Value
from jobqueue.broker.standing import (
    NONE,
    RECORDS_KEPT,
    check_cursor,
    check_steps,
    read_entry,
    read_left,
    read_record,
    read_standing,
    record_text,
    waiting_text,
)
from jobqueue.broker.submit import MAX_BATCH_BYTES, declare
from jobqueue.broker.timetable import Fired, Look, Standing
from jobqueue.clock import to_ms
from jobqueue.errors import BrokerError
from jobqueue.schedule import Schedule
from jobqueue.tick import Reason, Step, TickRecord

_LOOKED_AT_ONCE: Final = 500
_NOTED_AT_ONCE: Final = 500
_NOTED_MS: Final = 600_000
_PAGE: Final = 500
_MOST_READ: Final = 2_000
_UNDECLARED: Final = b"UNDECLARED"
_SKIPPED: Final = ("", "", "")


class RedisTimetable:
    """See `jobqueue.broker.timetable.Timetable`. Schedules fire on the line *firing*; operators use *operating*."""

    def __init__(self, firing: Line, operating: Line, namespace: str, keys: Callable[[str], QueueKeys]) -> None:
        self._firing = firing
        self._operating = operating
        self._namespace = namespace
        self._keys = keys

    async def look(self, queue: str, names: Sequence[str]) -> Look:
        keys = self._keys(queue)
        shares = [names[start : start + _LOOKED_AT_ONCE] for start in range(0, max(1, len(names)), _LOOKED_AT_ONCE)]
        answers = await self._firing.exchange([scripts.LOOK.command(keys, more_args=list(share)) for share in shares])
        standings: dict[str, Standing] = {}
        now_ms = 0
        for share, answer in zip(shares, answers, strict=True):
            if isinstance(answer, ResponseError):
                raise refused(answer) from answer
            now_ms = int(answer[0])
            for name, text, busy in zip(share, answer[1::2], answer[2::2], strict=True):
                standing = read_standing(text, busy=busy)
                if standing is not None:
                    standings[name] = standing
        return Look(now_ms=now_ms, standings=standings)

    async def begin(
        self,
        queue: str,
        name: str,
        *,
        version: int,
        at_ms: int,
        waiting: Sequence[int] = (),
        job_id: str | None = None,
    ) -> Standing:
        command = scripts.BEGIN.command(
            self._keys(queue),
            name=name,
            version=version,
            at_ms=at_ms,
            waiting=waiting_text(waiting),
            job=job_id or NONE,
        )
        text, busy = await self._declared(self._firing, queue, command)
        standing = read_standing(text, busy=busy)
        assert standing is not None
        return standing

    async def end(self, queue: str, name: str, *, version: int) -> Look:
        command = scripts.END.command(self._keys(queue), name=name, version=version)
        now_ms, text, busy = await self._firing.call(command)
        left = read_left(text, busy=busy)
        return Look(now_ms=int(now_ms), standings={} if left is None else {name: left})

    async def drop(self, queue: str, name: str, *, version: int) -> int:
        command = scripts.UNWAIT.command(self._keys(queue), name=name, version=version, kept=RECORDS_KEPT)
        return int(await self._firing.call(command))

    async def fire(self, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> Fired:
        check_steps(seen.last_ms, steps)
        command = self._fire(schedule, seen, steps)
        crash.point("before_fire_send")
        done, now_ms, text, busy, *records = await self._declared(self._firing, schedule.queue, command)
        crash.point("after_fire_send")
        return Fired(
            done=bool(done),
            now_ms=int(now_ms),
            standing=read_standing(text, busy=busy),
            records=[
                read_record(schedule.queue, schedule.name, entry_id, record)
                for entry_id, record in zip(records[::2], records[1::2], strict=True)
            ],
        )

    def _fire(self, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> list[Value]:
        args = _waited(schedule, seen.waiting[0]) if seen.waiting else []
        args += _steps(schedule, steps)
        return scripts.FIRE.command(
            self._keys(schedule.queue),
            name=schedule.name,
            seen=f"{seen.version} {seen.last_ms}",
            seen_first=seen.waiting[0] if seen.waiting else NONE,
            overlap=schedule.overlap,
            max_waiting=schedule.max_catchup,
            rank=schedule.priority.rank,
            ttl_ms=0 if schedule.expires is None else to_ms(schedule.expires),
            kept=RECORDS_KEPT,
            more_args=args,
        )

    async def note(self, records: Sequence[TickRecord]) -> None:
        by_queue: dict[str, list[Value]] = {}
        for record in records:
            by_queue.setdefault(record.queue, []).extend((record.name, record_text(record)))
        for queue, told in by_queue.items():
            for start in range(0, len(told), 2 * _NOTED_AT_ONCE):
                await self._note(queue, told[start : start + 2 * _NOTED_AT_ONCE])

    async def _note(self, queue: str, told: Sequence[Value]) -> None:
        keys = self._keys(queue)
        digest = sha256("\n".join(map(str, told)).encode()).hexdigest()
        command = scripts.NOTE.command(
            keys, noted=keys.noted(digest), kept=RECORDS_KEPT, known_ms=_NOTED_MS, more_args=told
        )
        await self._declared(self._operating, queue, command)

    async def _declared(self, line: Line, queue: str, command: list[Value]) -> Any:
        """Carry a command out on a queue that is there, or is made."""
        answer = await line.call(command)
        if answer == _UNDECLARED:
            await declare(line, self._namespace, [queue])
            answer = await line.call(command)
        if answer == _UNDECLARED:
            raise BrokerError(f"queue {queue!r} was deleted as soon as it was made")
        return answer

    async def records(
        self, queue: str, *, name: str | None = None, limit: int, after: str | None = None
    ) -> tuple[list[TickRecord], str | None]:
        before = "+" if after is None else f"({check_cursor(after)}"
        found: list[TickRecord] = []
        for _ in range(_MOST_READ // _PAGE):
            page = await self._operating.call(["XREVRANGE", self._keys(queue).ticks, before, "-", "COUNT", _PAGE])
            for n, (entry_id, fields) in enumerate(page, 1):
                before = f"({entry_id.decode()}"
                if name is None or fields[1] == name.encode():
                    found.append(read_entry(queue, entry_id, fields))
                if len(found) == limit:
                    return found, before[1:] if n < len(page) or len(page) == _PAGE else None
            if len(page) < _PAGE:
                return found, None
        return found, before[1:]


def _waited(schedule: Schedule, tick_ms: int) -> list[Value]:
    """The first of the ticks that wait, as fire.lua takes it."""
    return ["waited", Reason.WAITED, tick_ms, tick_ms, 1, *_job(schedule, tick_ms)]


def _steps(schedule: Schedule, steps: Sequence[Step]) -> list[Value]:
    """The steps as fire.lua takes them; as many as fit into a call, and one at least."""
    args: list[Value] = []
    size = 0
    for step in steps:
        job = _job(schedule, step.tick_ms) if step.fires else _SKIPPED
        size += len(job[2])
        if args and size > MAX_BATCH_BYTES:
            break
        args += ["step", step.reason, step.tick_ms, step.first_ms, NONE if step.count is None else step.count, *job]
    return args


def _job(schedule: Schedule, tick_ms: int) -> tuple[str, int, bytes]:
    """The job of a tick: id, when it is due, body."""
    job = schedule.tick_job(tick_ms)
    return job.id, schedule.due_ms(tick_ms), job.to_wire()
