"""How long a look at a stream goes on; that nothing is lost or doubled stands in tests/integration."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from jobqueue.broker.base import JournalPage
from jobqueue.job import Priority
from jobqueue.record import Execution, JournalKind
from jobqueue.scheduler.ship import PAGE, TICKS_PAGE, ship_queue, ship_stream
from tests.integration.postgres.journal import tick


def executions(count: int) -> list[Execution]:
    one = Execution(
        job_id="j", queue="q", type="t", priority=Priority.LOW, generation=0, attempt=1, outcome="completed",
        worker="w", queued_ms=1, started_ms=1, duration_ms=1.0,
    )  # fmt: skip
    return [one] * count


class Shelf:
    """A journal of these pages, an archive that takes them, and its cursor."""

    position = "0-0"

    def __init__(self, pages: Sequence[JournalPage]) -> None:
        self.left = list(pages)
        self.trimmed: list[str] = []

    async def primary(self, queue: str) -> str:
        return ""

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        assert count == PAGE
        return self.left.pop(0) if self.left else None

    async def trim(self, queue: str, kind: JournalKind, *, upto: str, primary: str) -> None:
        self.trimmed.append(upto)

    @asynccontextmanager
    async def cursor(self, queue: str, kind: JournalKind, epoch: str, primary: str = "") -> AsyncIterator["Shelf"]:
        yield self

    async def ship(
        self, *, executions: Sequence[Execution], dead_letters: Sequence[object], ticks: Sequence[object], upto: str
    ) -> None:
        self.position = upto


@pytest.mark.parametrize(
    ("count", "full", "goes_on"),
    [(3, False, False), (3, True, True), (5_000, False, True), (4_999, False, False)],
    ids=["few", "a full page", "many in few entries", "not many"],
)
async def test_a_look_ends_with_a_page_that_had_better_grow(count: int, full: bool, goes_on: bool) -> None:
    """Each page is a transaction: to chase a busy worker page by page costs more than what is shipped."""
    first = JournalPage(last="1-0", full=full, executions=executions(count))
    shelf = Shelf([first, JournalPage(last="2-0", executions=executions(1))])

    shipped = await ship_stream(shelf, shelf, "q", "journal", "e")  # type: ignore[arg-type]

    assert shipped == count + goes_on
    assert shelf.trimmed == ["1-0", "2-0"][: 1 + goes_on]


class ThreeStreams(Shelf):
    """A queue whose streams hold these; what is shipped is noted with the kind of the cursor that it came through."""

    def __init__(self, **waiting: JournalPage) -> None:
        super().__init__([])
        self.waiting = waiting
        self.opened: list[str] = []

    async def waiting_in(self, queues: Sequence[str], kind: JournalKind | None = None) -> list[str]:
        return list(queues) if self.waiting and kind in (None, *self.waiting) else []

    async def epoch(self, queue: str) -> str:
        return "e"

    async def read(self, queue: str, kind: JournalKind, *, after: str, count: int) -> JournalPage | None:
        assert count == (TICKS_PAGE if kind == "ticks" else PAGE)
        return self.waiting.pop(kind, None)

    @asynccontextmanager
    async def cursor(self, queue: str, kind: JournalKind, epoch: str, primary: str = "") -> AsyncIterator["Shelf"]:
        self.opened.append(kind)
        yield self


async def test_every_kind_is_shipped_and_counted_and_a_stream_with_nothing_costs_no_transaction() -> None:
    ticks = JournalPage(last="1-0", ticks=[tick(1), tick(2)])
    streams = ThreeStreams(journal=JournalPage(last="1-0", executions=executions(3)), ticks=ticks)

    assert await ship_queue(streams, streams, "q") == 5  # type: ignore[arg-type]
    assert streams.opened == ["journal", "ticks"]
    assert await ship_queue(streams, streams, "q") == 0  # type: ignore[arg-type]
    assert streams.opened == ["journal", "ticks"]
