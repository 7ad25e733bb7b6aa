"""History, dead letters and the record of ticks, from Redis to Postgres, exactly once.

The cursor lives in Postgres and moves in the transaction that writes the rows; the stream is trimmed
after the commit. A crash anywhere leaves either nothing written, or written rows with a cursor that
says so; the trim is repeated. Any number of shippers may run: the cursor's lock lets one at a time in.

After a failover two servers may call themselves primary for a while, each with entries of its own, even
under the same ids. So a page, a cursor and a trim all name the primary that they belong to.
"""

from collections.abc import Sequence

from jobqueue import crash
from jobqueue.broker.base import Journal, JournalPage
from jobqueue.record import JournalKind
from jobqueue.repository.base import Archive

PAGE = 200
"""Entries of a stream in one transaction; an entry of the journal holds a batch of executions."""
TICKS_PAGE = 2_000
"""Records of ticks are small, and each transaction costs as much as some hundred of them."""
_MOST_PAGES = 1_000
_WORTH_A_LOOK = 5_000
"""A page costs as much as shipping some 500 executions, so that small ones should wait and grow."""
_KINDS: tuple[JournalKind, ...] = ("dead", "journal", "ticks")


async def ship_queue(journal: Journal, archive: Archive, queue: str) -> int:
    """Ship everything that waits on *queue*. Returns how many rows went.

    Raises:
        RepositoryUnavailable: Postgres is away; everything stays where it is.
        BrokerUnavailable: Redis is away.
    """
    return await ship_waiting(journal, archive, [queue])


async def ship_waiting(
    journal: Journal, archive: Archive, queues: Sequence[str], kind: JournalKind | None = None
) -> int:
    """Ship what waits on those of *queues* where something does, of one kind or of all. Returns how many rows went.

    A stream in which nothing waits costs no transaction.
    """
    total = 0
    for queue in await journal.waiting_in(queues, kind):
        epoch = await journal.epoch(queue)
        if epoch is not None:
            kinds: list[JournalKind] = await _waiting_kinds(journal, queue) if kind is None else [kind]
            total += sum([await ship_stream(journal, archive, queue, each, epoch) for each in kinds])
    return total


async def _waiting_kinds(journal: Journal, queue: str) -> list[JournalKind]:
    return [kind for kind in _KINDS if await journal.waiting_in([queue], kind)]


async def ship_stream(journal: Journal, archive: Archive, queue: str, kind: JournalKind, epoch: str) -> int:
    """Ship what waits in one stream. Returns how many rows went."""
    total = 0
    primary = await journal.primary(queue)
    for _ in range(_MOST_PAGES):
        page = await _ship_page(journal, archive, queue, kind, epoch, primary)
        if page is None:
            break
        total += len(page.executions) + len(page.dead_letters) + len(page.ticks)
        if not page.full and len(page.executions) < _WORTH_A_LOOK:
            break  # what has come meanwhile goes with the next look
    return total


async def _ship_page(
    journal: Journal, archive: Archive, queue: str, kind: JournalKind, epoch: str, primary: str
) -> JournalPage | None:
    """One transaction. None when there was nothing left, another shipper is at it, or another server the primary."""
    async with archive.cursor(queue, kind, epoch, primary) as cursor:
        if cursor is None:
            return None
        upto = cursor.position
        page = await journal.read(queue, kind, after=upto, count=TICKS_PAGE if kind == "ticks" else PAGE)
        if page is not None and page.primary != primary:
            return None  # a failover between the two: the next look knows who it is
        if page is not None:
            crash.point("after_journal_read")
            await cursor.ship(
                executions=page.executions, dead_letters=page.dead_letters, ticks=page.ticks, upto=page.last
            )
            upto = page.last
            crash.point("before_commit")
    if page is not None:
        crash.point("after_commit")
    if upto != "0-0":
        await journal.trim(queue, kind, upto=upto, primary=primary)
    if page is None:
        return None
    crash.point("after_trim")
    return page
