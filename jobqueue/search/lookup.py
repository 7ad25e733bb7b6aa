"""One job, wherever it is: live in the broker, then in the history, among the dead letters, or by its kept result."""

from collections.abc import Sequence

from jobqueue.bootstrap import Parts
from jobqueue.errors import DeadLetterNotFound, RepositoryUnavailable
from jobqueue.job import JobState, canonical_id
from jobqueue.scheduler.shared import SharedShipping
from jobqueue.search import account
from jobqueue.search.letter import Sees, find_letter
from jobqueue.status import JobStatus


class Lookup:
    """Finds one job by its id."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        archive = None if parts.shipping is None else parts.shipping.archive
        self._shipping = None if archive is None else SharedShipping(parts.broker.journal, archive)

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
        found = await self._parts.broker.locate_in(queues, job_id)
        return None if found is None else account.of_live(found, now_ms=self._parts.clock.now_ms())

    async def _ended(self, job_id: str, queues: Sequence[str], asked: Sees) -> JobStatus | None:
        kept = await self._parts.broker.result_in(queues, job_id)
        try:
            status = await self._recorded(job_id, queues, asked)
        except RepositoryUnavailable:
            if kept is None:
                raise
            status = None
        if kept is not None and status is not None and status.queue != kept[0]:
            kept = await self._parts.broker.result_in([status.queue], job_id)
        return status if kept is None else account.with_result(status, job_id, *kept)

    async def _recorded(self, job_id: str, queues: Sequence[str], asked: Sees) -> JobStatus | None:
        """From the history, once what still waits to be shipped has been, or from the dead letters."""
        status = await self._from_history(job_id, asked)
        if self._shipping is not None:
            await self.ship(queues if status is None else [status.queue])
            status = await self._from_history(job_id, asked)
        if status is None:
            stored = await find_letter(self._parts.dead_letters, job_id, sees=asked, queues=queues)
            return None if stored is None else account.of_letter(stored)
        if status.state is JobState.DEAD:
            await self._add_letter(status)
        return status

    async def ship(self, queues: Sequence[str]) -> None:
        """Bring what has ended in *queues* into the history, if there is one."""
        if self._shipping is not None:
            await self._shipping.ship(queues)

    async def _from_history(self, job_id: str, asked: Sees) -> JobStatus | None:
        if self._parts.executions is None:
            return None
        executions = [each for each in await self._parts.executions.of_job(job_id) if asked(each.queue)]
        return account.of_history(executions) if executions else None

    async def _add_letter(self, status: JobStatus) -> None:
        try:
            account.add_letter(status, await self._parts.dead_letters.get(status.id, queue=status.queue))
        except DeadLetterNotFound:
            return
