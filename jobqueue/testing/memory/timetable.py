"""Where schedules stand in memory, and how their ticks become jobs. The clock of the memory decides."""

from collections.abc import Sequence

import msgspec

from jobqueue.broker.base import Submission
from jobqueue.broker.standing import RECORDS_KEPT, check_cursor, check_steps
from jobqueue.broker.timetable import AHEAD, Fired, Look, Standing
from jobqueue.clock import to_ms
from jobqueue.record import entry_order
from jobqueue.schedule import Overlap, Schedule
from jobqueue.testing.memory.store import MemoryQueue, Store
from jobqueue.testing.memory.submit import submit
from jobqueue.tick import Decision, Reason, Step, TickRecord


class MemoryTimetable:
    """See `jobqueue.broker.timetable.Timetable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, queue: str, names: Sequence[str]) -> Look:
        of = self._store.existing(queue)
        found = {name: self._standing(of, name) for name in names} if of is not None else {}
        return Look(now_ms=self._now(), standings={name: each for name, each in found.items() if each is not None})

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
        of = self._store.queue(queue)
        own, ended = of.standings.get(name), of.ended.get(name)
        if version > (own.version if own else 0) and version > (ended or 0):
            if own is not None and ended is None:
                waiting, job_id = own.waiting, own.job_id
            last_ms = max(at_ms, own.last_ms if own else 0)
            if own is not None and own.last_ms > self._now() + to_ms(AHEAD):
                last_ms, waiting = at_ms, ()
            of.standings[name] = Standing(version=version, last_ms=last_ms, waiting=tuple(waiting), job_id=job_id)
            of.ended.pop(name, None)
        standing = self._standing(of, name)
        assert standing is not None
        return standing

    async def end(self, queue: str, name: str, *, version: int) -> Look:
        of = self._store.queue(queue)
        own = of.standings.get(name)
        if version > (own.version if own else 0):
            of.ended[name] = max(version, of.ended.get(name, 0))
        return Look(now_ms=self._now(), standings={} if own is None else {name: _told(of, own)})

    async def drop(self, queue: str, name: str, *, version: int) -> int:
        of = self._store.queue(queue)
        own = of.standings.get(name)
        if own is None or own.version != version or name in of.ended:
            return 0
        of.standings[name] = msgspec.structs.replace(own, waiting=())
        for tick_ms in own.waiting:
            self._record(of, _record(own, name, queue, Decision.SKIPPED, Reason.ENDED, tick_ms))
        return len(own.waiting)

    async def fire(self, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> Fired:
        check_steps(seen.last_ms, steps)
        of, now = self._store.queue(schedule.queue), self._now()
        own = self._standing(of, schedule.name)
        at = (seen.version, seen.last_ms, seen.waiting[:1])
        if (
            own is None
            or schedule.name in of.ended
            or (own.version, own.last_ms, own.waiting[:1]) != at
            or any(step.tick_ms > now for step in steps)
        ):
            return Fired(done=False, now_ms=now, standing=own)
        firing = _Firing(self._store, of, schedule, own)
        if own.waiting:
            firing.look_after_waiting()
        for step in steps:
            firing.decide(step)
        of.standings[schedule.name] = firing.standing
        told = [self._record(of, record) for record in firing.records]
        return Fired(done=True, now_ms=now, standing=self._standing(of, schedule.name), records=told)

    async def note(self, records: Sequence[TickRecord]) -> None:
        for queue in {record.queue: None for record in records}:
            told = tuple(msgspec.structs.replace(each, at_ms=0) for each in records if each.queue == queue)
            of = self._store.queue(queue)
            if told not in of.noted:
                of.noted.add(told)
                for record in told:
                    self._record(of, record)

    async def records(
        self, queue: str, *, name: str | None = None, limit: int, after: str | None = None
    ) -> tuple[list[TickRecord], str | None]:
        of = self._store.existing(queue)
        before = entry_order(check_cursor(after)) if after is not None else None
        found: list[TickRecord] = []
        newest_first = (
            [each for each in reversed(of.ticks) if before is None or entry_order(each) < before] if of else []
        )
        for n, entry_id in enumerate(newest_first, 1):
            assert of is not None
            if name is None or of.ticks[entry_id].name == name:
                found.append(of.ticks[entry_id])
            if len(found) == limit:
                return found, entry_id if n < len(newest_first) else None
        return found, None

    def _now(self) -> int:
        return self._store.clock.now_ms()

    def _standing(self, of: MemoryQueue, name: str) -> Standing | None:
        own = of.standings.get(name)
        if name in of.ended:
            return Standing(version=of.ended[name], last_ms=own.last_ms if own else 0)
        return None if own is None else _told(of, own)

    def _record(self, of: MemoryQueue, record: TickRecord) -> TickRecord:
        entry_id = self._store.entry_id().decode()
        told = of.ticks[entry_id] = msgspec.structs.replace(record, at_ms=entry_order(entry_id)[0])
        if len(of.ticks) > RECORDS_KEPT:
            del of.ticks[next(iter(of.ticks))]
        return told


class _Firing:
    """One call of `fire`: each decision stands on those before it."""

    def __init__(self, store: Store, of: MemoryQueue, schedule: Schedule, own: Standing) -> None:
        self._store = store
        self._of = of
        self._schedule = schedule
        self.standing = own
        self.records: list[TickRecord] = []

    @property
    def _busy(self) -> bool:
        return self.standing.job_id in self._of.live

    def look_after_waiting(self) -> None:
        """Fire the first of the ticks that wait, if the job before it has ended."""
        if not self._busy:
            first_ms, *others = self.standing.waiting
            self._change(waiting=tuple(others))
            self._fire(first_ms, Reason.WAITED)

    def decide(self, step: Step) -> None:
        """Carry out one step."""
        self._change(last_ms=step.tick_ms)
        overlap, waiting = self._schedule.overlap, self.standing.waiting
        if not step.fires:
            self._tell(Decision.SKIPPED, step.reason, step.tick_ms, first_ms=step.first_ms, count=step.count)
        elif overlap is Overlap.SKIP and self._busy:
            self._tell(Decision.SKIPPED, Reason.OVERLAP, step.tick_ms, job_id=self.standing.job_id)
        elif overlap is Overlap.QUEUE and (self._busy or waiting):
            if len(waiting) < self._schedule.max_catchup:
                self._change(waiting=(*waiting, step.tick_ms))
                self._tell(Decision.WAITING, Reason.OVERLAP, step.tick_ms, job_id=self.standing.job_id)
            else:
                self._tell(Decision.SKIPPED, Reason.MAX_CATCHUP, step.tick_ms, job_id=self.standing.job_id)
        else:
            self._fire(step.tick_ms, step.reason)

    def _fire(self, tick_ms: int, reason: Reason) -> None:
        job = self._schedule.tick_job(tick_ms)
        submit(self._store, Submission(job=job, run_at_ms=self._schedule.due_ms(tick_ms)))
        self._change(job_id=job.id)
        self._tell(Decision.FIRED, reason, tick_ms, job_id=job.id)

    def _change(self, **facts: object) -> None:
        self.standing = msgspec.structs.replace(self.standing, **facts)

    def _tell(
        self,
        decision: Decision,
        reason: Reason,
        tick_ms: int,
        *,
        first_ms: int | None = None,
        count: int | None = 1,
        job_id: str | None = None,
    ) -> None:
        record = TickRecord(
            name=self._schedule.name,
            queue=self._of.name,
            version=self.standing.version,
            decision=decision,
            reason=reason,
            tick_ms=tick_ms,
            first_ms=tick_ms if first_ms is None else first_ms,
            count=count,
            job_id=job_id,
            at_ms=0,
        )
        self.records.append(record)


def _told(of: MemoryQueue, own: Standing) -> Standing:
    return msgspec.structs.replace(own, busy=own.job_id in of.live)


def _record(own: Standing, name: str, queue: str, decision: Decision, reason: Reason, tick_ms: int) -> TickRecord:
    return TickRecord(
        name=name,
        queue=queue,
        version=own.version,
        decision=decision,
        reason=reason,
        tick_ms=tick_ms,
        first_ms=tick_ms,
        at_ms=0,
    )
