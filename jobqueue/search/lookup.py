"""One job, wherever it is: live in the broker, then in the history, among the dead letters, or by its kept result."""

from collections.abc import Callable, Sequence

from jobqueue.bootstrap import Parts
from jobqueue.errors import DeadLetterNotFound, RepositoryUnavailable
from jobqueue.job import JobState, canonical_id
from jobqueue.scheduler.ship import ship_queue
from jobqueue.search import account
from jobqueue.status import JobStatus

Sees = Callable[[str], bool]
"""Whether a queue is one of those asked for. A job id is unique within a queue only."""


class Lookup:
    """Finds one job by its id."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def job(self, job_id: str, *, queue: str | None = None, sees: Sees | None = None) -> JobStatus | None:
        """Where a job is now, or what came of it; None when nothing is known of it in the queues asked for.

        Raises:
            InvalidJob: *job_id* is no job id.
            BrokerUnavailable, RepositoryUnavailable: they cannot be asked.
        """
        job_id = canonical_id(job_id)
        queues = [queue] if queue is not None else await self._parts.broker.queues()
        asked = sees or (lambda name: queue in (None, name))
        queues = [name for name in queues if asked(name)]
        return await self.live(job_id, queues) or await self._ended(job_id, queues, asked)

    async def live(self, job_id: str, queues: Sequence[str]) -> JobStatus | None:
        """A job that is live in one of *queues*."""
        for name in queues:
            found = await self._parts.broker.locate(name, job_id)
            if found is not None:
                return account.of_live(found, now_ms=self._parts.clock.now_ms())
        return None

    async def _ended(self, job_id: str, queues: Sequence[str], asked: Sees) -> JobStatus | None:
        kept = [(name, await self._parts.broker.result(name, job_id)) for name in queues]
        try:
            status = await self._recorded(job_id, queues, asked)
        except RepositoryUnavailable:
            if not any(result for _, result in kept):
                raise
            status = None
        for name, result in kept:
            if result is not None:
                return account.with_result(status, job_id, name, result)
        return status

    async def _recorded(self, job_id: str, queues: Sequence[str], asked: Sees) -> JobStatus | None:
        """From the history, once what still waits to be shipped has been, or from the dead letters."""
        status = await self._from_history(job_id, asked)
        if self._parts.shipping is not None:
            await self.ship(queues if status is None else [status.queue])
            status = await self._from_history(job_id, asked)
        if status is None:
            return await self._from_dead_letters(job_id, asked)
        if status.state is JobState.DEAD:
            await self._add_letter(status)
        return status

    async def ship(self, queues: Sequence[str]) -> None:
        """Bring what has ended in *queues* into the history, if there is one."""
        if self._parts.shipping is not None:
            for name in queues:
                await ship_queue(self._parts.broker.journal, self._parts.shipping.archive, name)

    async def _from_history(self, job_id: str, asked: Sees) -> JobStatus | None:
        if self._parts.executions is None:
            return None
        executions = [each for each in await self._parts.executions.of_job(job_id) if asked(each.queue)]
        return account.of_history(executions) if executions else None

    async def _from_dead_letters(self, job_id: str, asked: Sees) -> JobStatus | None:
        try:
            stored = await self._parts.dead_letters.get(job_id)
        except DeadLetterNotFound:
            return None
        return account.of_letter(stored) if asked(stored.letter.queue) else None

    async def _add_letter(self, status: JobStatus) -> None:
        try:
            stored = await self._parts.dead_letters.get(status.id)
        except DeadLetterNotFound:
            return
        if stored.letter.queue == status.queue:
            account.add_letter(status, stored)
