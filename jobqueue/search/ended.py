"""Jobs that ended: from the history in Postgres, or, without it, the dead ones from the dead letters."""

import asyncio
from collections.abc import Sequence
from typing import Final

from jobqueue.bootstrap import Parts
from jobqueue.record import Execution
from jobqueue.repository.base import ExecutionFilter, Executions, LetterFilter, StoredLetter
from jobqueue.search import account
from jobqueue.search.choice import JobFilter
from jobqueue.search.look import Look
from jobqueue.search.lookup import Lookup

_CHUNK: Final = 200
_AT_ONCE: Final = 16


class EndedJobs:
    """Looks among the jobs that ended, newest end first."""

    def __init__(self, parts: Parts, lookup: Lookup) -> None:
        self._parts = parts
        self._lookup = lookup

    async def look(self, where: JobFilter, queues: Sequence[str], *, limit: int, after: str | None) -> Look:
        """Up to *limit* jobs of *where* behind *after*; *queues* are those that the broker knows of."""
        if self._parts.executions is None:
            return await self._look_at_letters(where, limit, after)
        if after is None:
            await self._lookup.ship(queues)
        return await self._look_at_history(self._parts.executions, where, limit, after)

    async def _look_at_history(self, executions: Executions, where: JobFilter, limit: int, after: str | None) -> Look:
        wanted = ExecutionFilter(
            queue=where.queue,
            queues=where.queues,
            type=where.type,
            outcome=None if where.state is None else where.state.value,
            ended=True,
            q=where.q,
        )
        rows, more = await executions.search(wanted, limit=limit, after=after)
        wanted_rows = [row for row in rows if row.job_id != where.job_id]
        gone = await self._only_gone(await _only_newest(executions, wanted_rows))
        return Look(jobs=[account.of_end(row) for row in gone], more=more, looked_at=0)

    async def _only_gone(self, rows: Sequence[Execution]) -> Sequence[Execution]:
        """Without those whose job lives again: it is found where it is now."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def is_live(row: Execution) -> bool:
            async with gate:
                return await self._lookup.live(row.job_id, [row.queue]) is not None

        live = await asyncio.gather(*map(is_live, rows))
        return [row for row, is_live in zip(rows, live, strict=True) if not is_live]

    async def _look_at_letters(self, where: JobFilter, limit: int, after: str | None) -> Look:
        wanted = LetterFilter(queue=where.queue, queues=where.queues, type=where.type)
        size = max(limit, _CHUNK) if where.q else limit
        while True:
            letters, more = await self._parts.dead_letters.list(wanted, limit=size, after=after)
            chosen = [n for n, each in enumerate(letters) if admits(where, each)]
            if len(chosen) <= limit:
                break
            size = chosen[limit - 1] + 1
        return Look(jobs=[account.of_letter(letters[n]) for n in chosen], more=more, looked_at=len(letters))


async def _only_newest(executions: Executions, rows: Sequence[Execution]) -> Sequence[Execution]:
    """Without those whose job has ended again, after it was requeued."""
    newest = {_named(row) for row in await executions.newest_of([row.job_id for row in rows])} if rows else set()
    return [row for row in rows if _named(row) in newest]


def _named(row: Execution) -> tuple[str, int, int, int, str]:
    return (row.job_id, row.generation, row.attempt, row.started_ms, row.outcome)


def admits(where: JobFilter, stored: StoredLetter) -> bool:
    """Whether a dead letter of the right queue and type is one of the filter."""
    letter = stored.letter
    if letter.job_id == where.job_id:
        return False
    if not where.q:
        return True
    _, payload = account.read_body(letter.body)
    return where.is_in(payload, letter.error_class, letter.error_message)
