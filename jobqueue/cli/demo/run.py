"""The demo from its servers to its account: real servers, real worker processes, real failures."""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats
from jobqueue.broker.invariants import Violation
from jobqueue.cli.crew import Crew, Member
from jobqueue.cli.demo.tasks import QUEUE, analyse
from jobqueue.cli.inspection import violations
from jobqueue.cli.progress import Progress
from jobqueue.config import FILE_VARIABLE, SETTINGS, Settings
from jobqueue.embedded import Servers, embedded_servers
from jobqueue.errors import JobQueueError
from jobqueue.repository.base import LetterFilter, StoredLetter

_APP: Final = "jobqueue.cli.demo.tasks:registry"
_PATIENCE_S: Final = 60.0
_SHIPPING_S: Final = 20.0
_LOOK_S: Final = 0.1
_LOG_LINES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What became of every file."""

    paths: Mapping[str, str]
    """Job id → file."""
    counts: Mapping[str, Mapping[str, int]]
    """Job id → what its handler returned, of the completed ones."""
    letters: Sequence[StoredLetter]
    """The dead ones, as read back from Postgres."""
    outcomes: Mapping[str, int]
    """Attempts by what they came to, from the history in Postgres."""
    stats: QueueStats
    violations: Sequence[Violation]
    seconds: float

    @property
    def missing(self) -> list[str]:
        """Files that are neither completed nor dead; there must be none."""
        dead = {stored.letter.job_id for stored in self.letters}
        return sorted(path for job_id, path in self.paths.items() if job_id not in self.counts and job_id not in dead)

    @property
    def twice(self) -> list[str]:
        """Files that are both; there must be none."""
        return sorted(
            self.paths[stored.letter.job_id] for stored in self.letters if stored.letter.job_id in self.counts
        )

    @property
    def settled(self) -> bool:
        """Whether every file is accounted for, once, and the counters agree."""
        return not (
            self.missing
            or self.twice
            or self.violations
            or self.stats.live
            or self.stats.completed != len(self.counts)
            or self.stats.died != len(self.letters)
        )


@asynccontextmanager
async def stage(processes: int) -> AsyncIterator[tuple[JobQueue, Servers]]:
    """Private servers, migrated, with workers and a scheduler at work; all ended with the context."""
    async with embedded_servers() as servers:
        environment = {
            "REDIS_URL": servers.redis.url,
            "DATABASE_URL": servers.postgres.url,
            FILE_VARIABLE: os.devnull,  # a jobqueue.toml that lies here is not about the demo
        }
        await _migrate(servers.postgres.url)
        lines: deque[str] = deque(maxlen=_LOG_LINES)
        async with (
            _crew(processes, environment, lines) as working,
            JobQueue.from_settings(Settings.load(environment)) as queue,
        ):
            body = asyncio.current_task()
            assert body is not None
            interrupt = partial(_interrupt, body)
            working.add_done_callback(interrupt)
            try:
                yield queue, servers
            except asyncio.CancelledError:
                if not working.done():
                    raise
                raise JobQueueError("the worker processes ended; they said: " + " | ".join(lines)) from None
            finally:
                working.remove_done_callback(interrupt)


def _interrupt(body: "asyncio.Task[Any]", _working: object) -> None:
    body.cancel()


async def _migrate(url: str) -> None:
    from jobqueue.repository.postgres.migrate import migrate_up

    await migrate_up(url)


@asynccontextmanager
async def _crew(processes: int, environment: dict[str, str], lines: deque[str]) -> AsyncIterator["asyncio.Task[int]"]:
    cleared = {setting.env: "" for setting in SETTINGS}
    quiet = {"PYTHONWARNINGS": "ignore", "LOG_LEVEL": "warning", "NO_COLOR": "1"}
    worker = ["worker", f"--app={_APP}", f"--queues={QUEUE}", "--concurrency=2"]
    crew = Crew(
        members=[
            *(Member(name=f"worker-{n}", arguments=worker) for n in range(1, processes + 1)),
            Member(name="scheduler", arguments=["scheduler", f"--app={_APP}"]),
        ],
        environment={**cleared, **quiet, **environment},
        grace_s=1.0,
        pass_on=lambda name, line: lines.append(f"{name}: {line}"),
    )
    working = asyncio.create_task(crew.run())
    try:
        yield working
    finally:
        crew.stop()
        with suppress(asyncio.CancelledError):
            await working


async def analyse_all(queue: JobQueue, files: Sequence[str], show: Progress) -> Account:
    """Queue a job per file, wait until each has ended, and gather what is known of them."""
    jobs = [analyse.job(path=path) for path in files]
    started = time.monotonic()
    await queue.enqueue_many(jobs)
    await _until_ended(queue, len(jobs), show)
    seconds = time.monotonic() - started
    await _until_shipped(queue)
    paths = {job.id: path for job, path in zip(jobs, files, strict=True)}
    return Account(
        paths=paths,
        counts=await _counts(queue, list(paths)),
        letters=await _letters(queue),
        outcomes=await queue.executions.count_by_outcome(queue=QUEUE, since=None),
        stats=await queue.stats(QUEUE),
        violations=await violations(queue, QUEUE),
        seconds=seconds,
    )


async def _until_ended(queue: JobQueue, total: int, show: Progress) -> None:
    done, moved = 0, time.monotonic()
    while done < total:
        await asyncio.sleep(_LOOK_S)
        stats = await queue.stats(QUEUE)
        before, done = done, stats.completed + stats.died
        show(done)
        if done != before:
            moved = time.monotonic()
        elif time.monotonic() - moved > _PATIENCE_S:
            raise JobQueueError(f"nothing has moved for {_PATIENCE_S:g} s: {done} of {total} files have ended")


async def _until_shipped(queue: JobQueue) -> None:
    deadline = time.monotonic() + _SHIPPING_S
    while time.monotonic() < deadline:
        stats = await queue.stats(QUEUE)
        if not stats.journal and not stats.dead:
            return
        await asyncio.sleep(_LOOK_S)
    raise JobQueueError(f"history has not reached Postgres within {_SHIPPING_S:g} s")


async def _counts(queue: JobQueue, job_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    kept = await asyncio.gather(*(queue.parts.broker.result(QUEUE, job_id) for job_id in job_ids))
    ended: dict[str, dict[str, Any]] = {
        job_id: msgspec.json.decode(each) for job_id, each in zip(job_ids, kept, strict=True) if each is not None
    }
    return {job_id: each["result"] for job_id, each in ended.items() if each["outcome"] == "completed"}


async def _letters(queue: JobQueue) -> list[StoredLetter]:
    letters: list[StoredLetter] = []
    after: str | None = None
    while True:
        page, after = await queue.dead_letters.list(LetterFilter(queue=QUEUE), limit=200, after=after)
        letters += page
        if after is None:
            return letters
