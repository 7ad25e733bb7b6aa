"""Whoever edits schedules: each call written down before it is sent and after it was answered."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jobqueue.app import JobQueue
from jobqueue.errors import InvalidSchedule, JobQueueError, ScheduleConflict, ScheduleNotFound
from jobqueue.job import Job
from testutil.chaos.crew import NAMESPACE
from testutil.chaos.history import Edited, Editing, Writer, now
from testutil.chaos.timetable import (
    BACKFILLED,
    DECLARED_RULING,
    GRACE,
    MAX_CATCHUP,
    RULINGS,
    TASK,
    Edit,
    beginnings,
    edits,
    endings,
    expression,
)

_EVERY_S: Final = 1.2
_RETRY_S: Final = 0.5
_LIMIT_S: Final = 30.0


class Editor:
    """*name* says who it is, so that no two edits have the same mark."""

    def __init__(self, queue: JobQueue, writer: Writer, name: str) -> None:
        self._queue = queue
        self._writer = writer
        self._name = name
        self._numbers = itertools.count(1)

    async def carry_out(self, edit: Edit) -> str:
        """Do it; the answer: done, refused, uncertain."""
        number = next(self._numbers)
        mark = f"{self._name}/{number}"
        self._writer.write(Editing(at=now(), n=number, op=edit.op, name=edit.name, mark=mark))
        version, jobs, answer, note = 0, (), "done", ""
        try:
            version, jobs = await self._do(edit, mark)
        except (ScheduleConflict, ScheduleNotFound, InvalidSchedule) as error:
            answer, note = "refused", str(error)[:200]
        except JobQueueError as error:
            answer, note = "uncertain", str(error)[:200]
        self._writer.write(
            Edited(
                at=now(),
                n=number,
                op=edit.op,
                name=edit.name,
                mark=mark,
                answer=answer,
                version=version,
                jobs=list(jobs),
                note=note,
            )
        )
        return answer

    async def _do(self, edit: Edit, mark: str) -> tuple[int, Sequence[str]]:
        """The version after it, and the jobs it made."""
        schedules = self._queue.schedules
        match edit.op:
            case "upsert":
                return (await self._upsert(edit, mark)), ()
            case "pause":
                return (await schedules.pause(edit.name)).version, ()
            case "resume":
                return (await schedules.resume(edit.name)).version, ()
            case "remove":
                return (await schedules.remove(edit.name)).version, ()
            case "run":
                return 0, [(await schedules.run(edit.name)).id]
            case "backfill":
                until = datetime.now(UTC) - timedelta(seconds=1)
                filled = await schedules.backfill(edit.name, since=until - BACKFILLED, until=until)
                return 0, [tick.job_id for tick in filled.ticks if tick.new]

    async def _upsert(self, edit: Edit, mark: str) -> int:
        ruling = RULINGS.get(edit.name, DECLARED_RULING)
        status = await self._queue.schedules.upsert(
            edit.name,
            expression(edit.period_s),
            Job(TASK, {"mark": mark, "ms": edit.ms}, queue=edit.queue),
            seconds=True,
            misfire=ruling.misfire,
            max_catchup=MAX_CATCHUP,
            grace=GRACE,
            overlap=ruling.overlap,
        )
        return status.version


async def edit_now_and_then(editor: Editor, seed: str, names: Sequence[str]) -> None:
    """Until cancelled; returns at once where there are no schedules."""
    if not names:
        return
    rng = random.Random(f"{seed}/pauses")
    for edit in edits(seed, names):
        await asyncio.sleep(_EVERY_S * rng.uniform(0.3, 1.7))
        await editor.carry_out(edit)


async def begin_schedules(url: str, database_url: str, folder: Path, names: Sequence[str]) -> None:
    """Make the plant's schedules, before anything is broken."""
    await _each(url, database_url, folder / "planner-0.1.jsonl", beginnings(names), ("done",))


async def end_schedules(url: str, database_url: str, folder: Path, names: Sequence[str]) -> None:
    """Let them have no more ticks, when all is whole again; a schedule that somebody has removed is not there."""
    await _each(url, database_url, folder / "planner-0.2.jsonl", endings(names), ("done", "refused"))


async def _each(url: str, database_url: str, file: Path, wanted: Sequence[Edit], enough: Sequence[str]) -> None:
    """Carry out every edit, again until it was answered."""
    if not wanted:
        return
    writer, deadline = Writer(file), time.monotonic() + _LIMIT_S
    async with JobQueue.connect(url, database_url=database_url, namespace=NAMESPACE) as queue:
        editor = Editor(queue, writer, file.stem)
        for edit in wanted:
            while await editor.carry_out(edit) not in enough:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{edit} could not be done within {_LIMIT_S:g} s; see {file}")
                await asyncio.sleep(_RETRY_S)
    writer.close()
