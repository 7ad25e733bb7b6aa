"""Real schedulers and workers on one namespace, some armed, some with a wrong clock, and what must be true of ticks.

Times are by the broker's clock, in ms. Whatever a test does, `close` audits every queue, as `CrashScene` does.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobqueue.job import Job
from jobqueue.schedule import tick_id
from jobqueue.status import ScheduleStatus
from jobqueue.tick import Decision, TickRecord
from tests.faults.crash_scene import LONG, WITHIN_S, CrashScene, Process
from testutil.eventually import eventually
from testutil.topology.clock import FakeClock

QUEUE = "ticks"
EACH_SECOND = "* * * * * *"
_PAGE = 1_000
MADE = (Decision.FIRED, Decision.BACKFILLED, Decision.RUN)


class CronScene(CrashScene):
    """Schedules of six fields, whose jobs go to the queue `ticks`."""

    def __init__(self, redis_url: str, namespace: str, database_url: str, folder: Path) -> None:
        super().__init__(redis_url, namespace, database_url, folder)
        self.queues = {QUEUE}
        self.answered_ms = 0
        """When the newest removal had been carried out."""

    # Processes

    async def start_schedulers(
        self, count: int, *, clock: FakeClock | None = None, **environment: str
    ) -> list[Process]:
        """Some scheduler processes, at work."""
        processes = [self.begin_scheduler(**(clock.env if clock else {}), **environment) for _ in range(count)]
        for process in processes:
            await self.at_work(process)
        return processes

    def begin_scheduler(self, *, crash_at: str = "", **environment: str) -> Process:
        """One that says when it is at work."""
        return self.scheduler(crash_at=crash_at, LOG_LEVEL="info", **environment)

    async def at_work(self, process: Process) -> None:
        """Wait until a scheduler or worker says that it has started."""
        await eventually(lambda: "started" in self.said(process), within_s=WITHIN_S, poll_s=0.05)

    def ticker(self, **environment: str) -> Process:
        """A worker for the jobs of ticks."""
        program = ["worker", "-A", "tests.faults.cron_app:registry", "-q", ",".join(self.queues)]
        return self.run(*program, **{**LONG, **environment})

    # Schedules

    async def upsert(self, name: str, expression: str = EACH_SECOND, *, mark: int = 0, **rules: Any) -> ScheduleStatus:
        """Its jobs carry the *mark*; *rules* as in `queue.schedules.upsert`, and `queue`."""
        queue = rules.pop("queue", QUEUE)
        self.queues.add(queue)
        return await self.queue.schedules.upsert(
            name, expression, Job("tick", {"mark": mark}, queue=queue), seconds=True, **rules
        )

    async def put_back(self, name: str, by: timedelta) -> int:
        """Let a schedule stand where it would if nobody had looked after it for so long. Returns where that is."""
        broker = self.queue.parts.redis
        assert broker is not None
        key = broker.keys(QUEUE).cron
        version, last_ms, *rest = (await broker.call(["HGET", key, name])).split(b" ")
        stands_ms = int(last_ms) - int(by.total_seconds() * 1000)
        await broker.call(["HSET", key, name, b" ".join([version, b"%d" % stands_ms, *rest])])
        return stands_ms

    async def last_ms(self, name: str, queue: str = QUEUE) -> int:
        """Its newest decided tick; 0: it does not stand there."""
        standing = (await self.queue.parts.broker.timetable.look(queue, [name])).standings.get(name)
        return standing.last_ms if standing is not None else 0

    async def decided(self, name: str, until_ms: int, queue: str = QUEUE) -> None:
        """Wait until its ticks up to then are decided."""

        async def look() -> bool:
            return await self.last_ms(name, queue) >= until_ms

        await eventually(look, within_s=WITHIN_S, poll_s=0.05)

    async def for_seconds(self, seconds: float) -> None:
        """Let so much of the broker's time go by."""
        until_ms = await self.now_ms() + int(seconds * 1000)

        async def passed() -> bool:
            return await self.now_ms() >= until_ms

        await eventually(passed, within_s=WITHIN_S + seconds, poll_s=0.05)

    async def now_ms(self) -> int:
        return (await self.queue.parts.broker.timetable.look(QUEUE, [])).now_ms

    async def remove(self, *names: str) -> int:
        """Remove schedules; what is due is decided before. Returns when the last of them ended."""
        ended = [await self.queue.schedules.remove(name) for name in names]
        self.answered_ms = await self.now_ms()
        return int(ended[-1].changed_at.timestamp() * 1000)

    async def over(self) -> list[TickRecord]:
        """Wait until every job has ended; then every record, in the order of the ticks."""
        self.ticker()
        await self.all_over(*self.queues)
        await eventually(self._shipped, within_s=WITHIN_S, poll_s=0.05)
        return sorted(await self._records(), key=lambda record: (record.tick_ms, record.at_ms))

    async def _shipped(self) -> bool:
        """Nothing waits in Redis for its way to Postgres."""
        broker = self.queue.parts.redis
        assert broker is not None
        return not any([await broker.call(["XLEN", broker.keys(queue).ticks]) for queue in self.queues])

    async def _records(self) -> list[TickRecord]:
        found: list[TickRecord] = []
        after: str | None = None
        while True:
            page, after = await self.queue.schedules.ticks(limit=_PAGE, after=after)
            found += page
            if after is None:
                return found

    async def versions(self) -> set[int]:
        """Those by which something was decided."""
        return {record.version for record in await self._records()}

    def marks(self) -> dict[str, list[int]]:
        """With which marks the handler ran, by job id."""
        found: dict[str, list[int]] = {}
        for line in self._told.read_text().split("\n")[:-1]:
            _, job_id, _, _, mark, _ = line.split()
            found.setdefault(job_id, []).append(int(mark))
        return found

    # The promise

    async def _audit(self) -> None:
        made = {record.job_id: record for record in await self._records() if record.decision in MADE and record.job_id}
        self.jobs += [Job("tick", id=record.job_id, queue=record.queue) for record in made.values()]
        await super()._audit()


def each_second(since_ms: int, until_ms: int) -> list[int]:
    """The ticks of every second after the one instant up to the other."""
    return [second * 1000 for second in range(since_ms // 1000 + 1, until_ms // 1000 + 1)]


def assert_each_fired_once(
    name: str, began_ms: int, ended_ms: int, records: Sequence[TickRecord], scene: CronScene
) -> None:
    """One record, one job, one run for each second; the job has the tick's own id.

    A tick that comes while the removal is under way may fire, and none after it was answered.
    """
    mine = [record for record in records if record.name == name]
    assert all(record.at_ms <= scene.answered_ms for record in mine)
    ticks = each_second(began_ms, max(ended_ms, *(record.tick_ms for record in mine)))
    fired = Counter(record.tick_ms for record in mine)
    assert fired == Counter(ticks), f"twice: {fired - Counter(ticks)}, missing: {Counter(ticks) - fired}"
    assert {record.decision for record in mine} == {Decision.FIRED}
    assert [record.job_id for record in mine] == [tick_id(name, tick_ms) for tick_ms in ticks]
    assert all(record.at_ms >= record.tick_ms for record in mine)
    runs = Counter(start.job_id for start in scene.starts())
    assert {record.job_id: runs[record.job_id] for record in mine if record.job_id} == dict.fromkeys(
        (tick_id(name, tick_ms) for tick_ms in ticks), 1
    )
