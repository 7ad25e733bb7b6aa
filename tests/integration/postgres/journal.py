"""A stand-in for the broker's journal, in a file so that a killed process can leave it behind; and a shipper."""

import asyncio
import functools
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from jobqueue.broker.base import JournalPage
from jobqueue.job import Job, Priority
from jobqueue.record import DeadLetter, Execution, JournalKind
from jobqueue.repository.base import Archive
from jobqueue.tick import Decision, Reason, TickRecord

EPOCH = "e1"


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


NOW_MS = now_ms()
"""When the tests began: a test that counts days asks for the time itself, since midnight may have come."""
Step = Callable[[str], Awaitable[None]]


class FileJournal:
    """Entries 1 to *entries*, each one record of its kind; remembers what was trimmed."""

    def __init__(self, path: Path, entries: int = 0) -> None:
        self._path = path
        if entries:
            self._write(trimmed=0, entries=entries)

    def remaining(self) -> int:
        state = self._read()
        return state["entries"] - state["trimmed"]

    async def epoch(self, queue: str) -> str | None:
        return EPOCH

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        state = self._read()
        first = max(number_of(after), state["trimmed"]) + 1
        numbers = range(first, min(state["entries"], first + count - 1) + 1)
        if not numbers:
            return None
        page = JournalPage(last=position_of(numbers[-1]))
        match kind:
            case "journal":
                page.executions = [execution(n, queue) for n in numbers]
            case "dead":
                page.dead_letters = [dead_letter(n, queue) for n in numbers]
            case "ticks":
                page.ticks = [tick(n, queue) for n in numbers]
        return page

    async def trim(self, queue: str, kind: JournalKind, *, upto: str) -> None:
        state = self._read()
        self._write(trimmed=max(state["trimmed"], number_of(upto)), entries=state["entries"])

    def _read(self) -> dict[str, int]:
        state: dict[str, int] = json.loads(self._path.read_text())
        return state

    def _write(self, *, trimmed: int, entries: int) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"trimmed": trimmed, "entries": entries}))
        fresh.rename(self._path)


async def ship_once(
    archive: Archive,
    journal: FileJournal,
    *,
    queue: str = "mail",
    kind: JournalKind = "journal",
    count: int = 10,
    step: Step | None = None,
) -> bool:
    """Ship one page as the scheduler does; *step* is called between every two steps."""
    pause = step or _go_on
    epoch = await journal.epoch(queue)
    assert epoch is not None
    async with archive.cursor(queue, kind, epoch) as cursor:
        if cursor is None:
            return False
        await pause("locked")
        await journal.trim(queue, kind, upto=cursor.position)
        page = await journal.read(queue, kind, after=cursor.position, count=count)
        if page is None:
            return False
        await pause("read")
        await cursor.ship(executions=page.executions, dead_letters=page.dead_letters, ticks=page.ticks, upto=page.last)
        await pause("shipped")
    await pause("committed")
    await journal.trim(queue, kind, upto=page.last)
    await pause("trimmed")
    return True


async def ship_all(
    archive: Archive, journal: FileJournal, *, queue: str = "mail", kind: JournalKind = "journal"
) -> None:
    """Ship until nothing is left, also while a dead shipper's lock still lingers."""
    async with asyncio.timeout(30):
        while journal.remaining():
            if not await ship_once(archive, journal, queue=queue, kind=kind):
                await asyncio.sleep(0.01)


async def _go_on(_: str) -> None:
    """No disturbance."""


def position_of(number: int) -> str:
    return f"{NOW_MS}-{number}" if number else "0-0"


def number_of(position: str) -> int:
    return int(position.rpartition("-")[2])


def job_id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


@functools.cache
def body_of(number: int) -> bytes:
    return Job("email.send", {"to": "ada@example.org", "number": number}, id=job_id_of(number)).to_wire()


def execution(number: int, queue: str = "mail", **changes: object) -> Execution:
    facts: dict[str, object] = {
        "job_id": job_id_of(number),
        "queue": queue,
        "type": "email.send",
        "priority": Priority.HIGH,
        "generation": 0,
        "attempt": 1,
        "outcome": "completed",
        "worker": "host:1:abcd",
        "queued_ms": NOW_MS - 30,
        "started_ms": NOW_MS - 20,
        "duration_ms": 12.5,
    }
    return Execution(**(facts | changes))  # type: ignore[arg-type]


def dead_letter(number: int, queue: str = "mail", **changes: object) -> DeadLetter:
    facts: dict[str, object] = {
        "entry_id": position_of(number),
        "queue": queue,
        "priority": Priority.HIGH,
        "job_id": job_id_of(number),
        "body": body_of(number),
        "reason": "exhausted",
        "error_class": "SMTPError",
        "error_message": "no route to host",
        "traceback": "Traceback ...",
        "attempts": 4,
        "crashes": 1,
        "generation": 0,
        "unique_key": None,
        "worker": "host:1:abcd",
        "died_ms": NOW_MS - 1000 + number,
    }
    return DeadLetter(**(facts | changes))  # type: ignore[arg-type]


def tick(number: int, queue: str = "mail", **changes: object) -> TickRecord:
    facts: dict[str, object] = {
        "name": f"digest{number % 3}",
        "queue": queue,
        "version": 1,
        "decision": Decision.FIRED,
        "reason": Reason.ON_TIME,
        "tick_ms": NOW_MS - 1000 + number,
        "first_ms": NOW_MS - 1000 + number,
        "job_id": job_id_of(number),
        "at_ms": NOW_MS,
    }
    return TickRecord(**(facts | changes))  # type: ignore[arg-type]
