"""Real worker and scheduler processes on one namespace, some of them armed to die at a crash point.

Whatever a test does, `close` holds the namespace to the promise: every counter balances, every queue is clean, no
consumer of a dead process is left, and Postgres has every attempt and every death exactly once.
"""

import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobqueue import crash
from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats
from jobqueue.broker.invariants import check_queue
from jobqueue.config import Settings
from jobqueue.job import Job
from jobqueue.record import Execution
from jobqueue.repository.base import LetterFilter
from testutil.eventually import eventually

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[bytes]
# Lease 1 s, and one more after a gap in reaping; the rest is for processes that start on a busy machine.
WITHIN_S = 45
BRIEF = {"JOBQUEUE_LEASE": "1s"}
"""For a worker that is to die. One that stands still for so long on a busy machine counts as dead, too."""
LONG = {"JOBQUEUE_LEASE": "10m"}
APP = "tests.faults.crash_app:registry"
TERMINAL = ("completed", "dead", "cancelled", "expired")


@dataclass(frozen=True, slots=True)
class Start:
    """A handler began: in which process, at which attempt."""

    job_id: str
    pid: int
    attempt: int


class CrashScene:
    """A namespace with history, the processes on it, and what their handlers have told."""

    def __init__(self, redis_url: str, namespace: str, database_url: str, folder: Path) -> None:
        self.folder = folder
        self._told = folder / "told"
        self._told.touch()
        settings = {
            "REDIS_URL": redis_url,
            "JOBQUEUE_NAMESPACE": namespace,
            "DATABASE_URL": database_url,
            **BRIEF,
            "JOBQUEUE_REAP_INTERVAL": "200ms",
            "JOBQUEUE_MAX_CRASHES": "100",
            "LOG_LEVEL": "warning",
        }
        others = {name: value for name, value in os.environ.items() if name != crash.VARIABLE}
        self._environment = {**others, **settings, "ACCEPTANCE_LOG": str(self._told)}
        self.queue = JobQueue.from_settings(Settings.load({}, overrides=settings))
        self.jobs: list[Job] = []
        self._processes: list[Process] = []

    # Processes

    def worker(self, *queues: str, crash_at: str = "", concurrency: int = 4, **environment: str) -> Process:
        """With a lease that it cannot lose, unless it is armed."""
        program = ["worker", "-A", APP, "-c", str(concurrency), "-q", ",".join(queues)]
        lease = BRIEF if crash_at else LONG
        return self.run(*program, crash_at=crash_at, **{**lease, **environment})

    def worker_until_empty(self, queue: str) -> Process:
        return self.run("worker", "-A", APP, "-q", queue, "--burst")

    def scheduler(self, *, crash_at: str = "", **environment: str) -> Process:
        return self.run("scheduler", crash_at=crash_at, **environment)

    def run(self, *program: str, module: str = "jobqueue", crash_at: str = "", **environment: str) -> Process:
        """Start `jobqueue ...`, or another module; its stderr is the file `<number of the process>.err`."""
        with (self.folder / f"{len(self._processes)}.err").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *program],
                cwd=ROOT,
                env={**self._environment, **environment, crash.VARIABLE: crash_at},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        self._processes.append(process)
        return process

    async def died(self, process: Process, point: str) -> None:
        """Wait until *process* has killed itself at *point*, and nowhere else."""
        await eventually(lambda: process.poll() is not None, within_s=WITHIN_S)
        said = self.said(process)
        assert process.returncode == -signal.SIGKILL, said
        assert f"jobqueue: killed at crash point {point}\n" in said

    async def ended(self, process: Process) -> None:
        """Wait until *process* has ended in order."""
        await eventually(lambda: process.poll() is not None, within_s=WITHIN_S)
        assert process.returncode == 0, self.said(process)

    def said(self, process: Process) -> str:
        return (self.folder / f"{self._processes.index(process)}.err").read_text()

    # Jobs

    async def enqueue(self, queue: str, *jobs: Job, **options: Any) -> list[Job]:
        mine = [job.replace(queue=queue) for job in jobs]
        self.jobs += mine
        await self.queue.enqueue_many(mine, **options)
        return mine

    async def all_over(self, *queues: str) -> dict[str, QueueStats]:
        """Wait until every job of these queues has ended and Postgres has its history."""

        async def look() -> dict[str, QueueStats]:
            found = {name: await self.queue.stats(name) for name in queues}
            assert all((each.live, each.journal, each.dead) == (0, 0, 0) for each in found.values()), found
            return found

        return await eventually(look, within_s=WITHIN_S, poll_s=0.05)

    def starts(self, *jobs: Job) -> list[Start]:
        """Handlers that began, in the order of time; of *jobs*, or all."""
        ids = {job.id for job in jobs}
        # A line that is being written may be there in part.
        lines = [line.split() for line in self._told.read_text().split("\n")[:-1]]
        told = [Start(job_id, int(pid), int(attempt)) for event, job_id, pid, attempt, *_ in lines if event == "start"]
        return [each for each in told if not ids or each.job_id in ids]

    async def history(self, job: Job) -> list[str]:
        """The outcomes of a job's attempts, as Postgres has them."""
        return [row.outcome for row in await self.queue.executions.of_job(job.id)]

    # The promise

    async def close(self) -> None:
        try:
            await self._audit()
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            await self.queue.close()

    async def _audit(self) -> None:
        if not self.jobs:
            return
        queues = sorted({job.queue for job in self.jobs})
        stats = await self.all_over(*queues)
        await self._no_dead_consumers(queues)
        rows = await self.queue.executions.recent(queue=None, type=None, outcome=None, limit=100_000)
        self._each_attempt_is_explained(rows)
        for name in queues:
            ended = Counter(row.outcome for row in rows if row.queue == name)
            assert stats[name].drift == 0
            assert stats[name].completed == ended["completed"]
            assert stats[name].died == ended["dead"] == await self._deaths(name)
            assert stats[name].cancelled == ended["cancelled"]
            assert stats[name].journal_dropped == 0
            await self._clean(name)

    async def _clean(self, name: str) -> None:
        broker, shipping = self.queue.parts.redis, self.queue.parts.shipping
        assert broker is not None
        assert shipping is not None
        letters = await shipping.dead_letters.accounted(name)  # type: ignore[attr-defined]
        assert await check_queue(broker, name, letters=letters) == []

    async def _no_dead_consumers(self, queues: list[str]) -> None:
        dead = [f":{process.pid}:" for process in self._processes if process.poll() is not None]

        async def none_left() -> bool:
            names = [each.name for name in queues for each in await self.queue.workers(name)]
            return not any(pid in name for name in names for pid in dead)

        assert await eventually(none_left, within_s=WITHIN_S, poll_s=0.05)

    async def _deaths(self, queue: str) -> int:
        return await self.queue.dead_letters.count(LetterFilter(queue=queue, state=None))

    def _each_attempt_is_explained(self, rows: Sequence[Execution]) -> None:
        """One row per attempt, one end per generation, and no start without its row."""
        counted: dict[tuple[str, int], list[int]] = defaultdict(list)
        ends: Counter[tuple[str, int]] = Counter()
        known: Counter[tuple[str, int]] = Counter()
        for row in rows:
            known[row.job_id, row.attempt] += 1
            ends[row.job_id, row.generation] += row.outcome in TERMINAL
            if row.outcome not in ("released", "snoozed"):  # what is given back is no attempt: its number comes again
                counted[row.job_id, row.generation].append(row.attempt)
        assert {job_id for job_id, _ in ends} == {job.id for job in self.jobs}
        assert set(ends.values()) == {1}
        assert [each for each in counted.values() if sorted(each) != list(range(1, len(each) + 1))] == []
        assert Counter((each.job_id, each.attempt) for each in self.starts()) - known == Counter()
