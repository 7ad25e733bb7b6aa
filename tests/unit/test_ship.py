"""How long a look at a stream goes on; that nothing is lost or doubled stands in tests/integration."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from jobqueue.broker.base import JournalPage
from jobqueue.job import Priority
from jobqueue.record import Execution, JournalKind
from jobqueue.scheduler.ship import PAGE, ship_stream


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
