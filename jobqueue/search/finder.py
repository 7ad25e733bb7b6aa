"""Finding jobs by what they are: live ones in the broker, then those that ended.

A page is made by short looks, each at one place, until it is full or enough was looked at. Where it stands then
is the cursor: the next page goes on there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from jobqueue.bootstrap import Parts
from jobqueue.errors import ConfigError, JobQueueError, RepositoryUnavailable
from jobqueue.job import JobState
from jobqueue.search.choice import JobFilter
from jobqueue.search.ended import EndedJobs
from jobqueue.search.live import LiveJobs
from jobqueue.search.look import Look
from jobqueue.search.lookup import Lookup
from jobqueue.search.place import PLACES, Stage, Standing, read, stages, write
from jobqueue.status import ENDED, JobStatus

MAX_PAGE: Final = 1_000
LOOKED_AT: Final = 2_000
_LOOKS: Final = 100


@dataclass(slots=True, kw_only=True)
class _Page:
    """A page while it is made."""

    limit: int
    may_look_at: int
    looks: int = _LOOKS
    jobs: dict[tuple[str, str], JobStatus] = field(default_factory=dict)
    """By id and queue: an id may be taken in each of them."""

    @property
    def left(self) -> int:
        return self.limit - len(self.jobs)

    @property
    def open(self) -> bool:
        return self.left > 0 and self.may_look_at > 0 and self.looks > 0

    def add(self, look: Look) -> None:
        for job in look.jobs:
            self.jobs.setdefault((job.id, job.queue), job)
        self.may_look_at -= look.looked_at
        self.looks -= 1


class Finder:
    """See `JobQueue.find`."""

    def __init__(self, parts: Parts, lookup: Lookup) -> None:
        self._parts = parts
        self._lookup = lookup
        self._live = LiveJobs(parts.broker, parts.clock)
        self._ended = EndedJobs(parts, lookup)

    async def page(
        self, where: JobFilter, *, limit: int, after: str | None = None
    ) -> tuple[list[JobStatus], str | None]:
        """A page of jobs and the cursor of the next one."""
        if not 1 <= limit <= MAX_PAGE:
            raise ConfigError(f"limit must be from 1 to {MAX_PAGE}, got {limit}")
        self._check_history(where)
        queues = where.among(await self._parts.broker.queues())
        page = _Page(limit=limit, may_look_at=LOOKED_AT)
        standing: Standing | None = Standing(stages(where)[0]) if after is None else read(after, where)
        while standing is not None and page.open:
            standing = await self._look(where, queues, standing, page)
        return list(page.jobs.values()), write(standing)

    def _check_history(self, where: JobFilter) -> None:
        only_history = where.state in ENDED and where.state != JobState.DEAD
        if only_history and self._parts.executions is None:
            raise JobQueueError(
                f"{where.state} jobs are known only from Postgres, and none is configured; set DATABASE_URL, "
                f"or pass database_url"
            )

    async def _look(self, where: JobFilter, queues: Sequence[str], standing: Standing, page: _Page) -> Standing | None:
        """Look once from *standing* on; returns where to go on, None at the end."""
        match standing.stage:
            case Stage.ID:
                page.add(await self._look_up(where))
                return _next_stage(where, standing)
            case Stage.ENDED:
                return await self._look_among_ended(where, queues, standing, page)
            case _:
                return await self._look_into_queue(where, queues, standing, page)

    async def _look_up(self, where: JobFilter) -> Look:
        assert where.job_id is not None
        status = await self._lookup.job(where.job_id, queue=where.queue, sees=lambda name: bool(where.among([name])))
        return Look(jobs=[status] if status is not None and where.is_of(status) else [], more=None, looked_at=1)

    async def _look_into_queue(
        self, where: JobFilter, queues: Sequence[str], standing: Standing, page: _Page
    ) -> Standing | None:
        queue = next((name for name in queues if name >= standing.queue), None)
        if queue is None:
            return _next_stage(where, standing)
        # A queue that has gone meanwhile leaves its cursor behind.
        after = standing.after if queue == standing.queue else None
        look = await self._live.look(where, queue, PLACES[standing.stage], limit=page.left, after=after)
        page.add(look)
        if look.more is not None:
            return Standing(standing.stage, queue, look.more)
        following = next((name for name in queues if name > queue), None)
        return Standing(standing.stage, following) if following is not None else _next_stage(where, standing)

    async def _look_among_ended(
        self, where: JobFilter, queues: Sequence[str], standing: Standing, page: _Page
    ) -> Standing | None:
        try:
            look = await self._ended.look(where, queues, limit=page.left, after=standing.after)
        except RepositoryUnavailable:
            if not page.jobs:
                raise
            # What is live can be shown; the next page says what is the matter.
            page.looks = 0
            return standing
        page.add(look)
        return None if look.more is None else Standing(standing.stage, "", look.more)


def _next_stage(where: JobFilter, standing: Standing) -> Standing | None:
    order = stages(where)
    following = order[order.index(standing.stage) + 1 :]
    return Standing(following[0]) if following else None
