"""History: what every attempt came to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from jobqueue.outcome import storable
from jobqueue.record import Execution
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import EXECUTIONS as SQL
from jobqueue.repository.postgres.row import execution_of, uuid_of

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresExecutions:
    """The history port over Postgres. A read sees what was shipped, which is all but the last second or so."""

    def __init__(self, database: Database, *, namespace: str = "jq") -> None:
        self._database = database
        self._namespace = namespace

    async def of_job(self, job_id: str) -> Sequence[Execution]:
        """Every attempt of a job, oldest first; none for what is no job id."""
        key = uuid_of(job_id)
        if key is None:
            return []
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.of_job, self._namespace, key)
        return [execution_of(row) for row in rows]

    async def recent(
        self, *, queue: str | None = None, type: str | None = None, outcome: str | None = None, limit: int
    ) -> Sequence[Execution]:
        """The newest executions first; None means any."""
        wanted = (self._namespace, _known(type), _known(outcome), limit)
        async with self._database.transaction() as session:
            if queue is None:
                rows = await session.rows(SQL.recent, *wanted)
            else:
                rows = await session.rows(SQL.recent_of_queue, *wanted, storable(queue))
        return [execution_of(row) for row in rows]

    async def count_by_outcome(self, *, queue: str | None = None, since: datetime | None = None) -> dict[str, int]:
        """How many executions came to which outcome; *since* is an aware datetime."""
        async with self._database.transaction() as session:
            rows = await session.rows(SQL.count_by_outcome, self._namespace, _known(queue), since or _BEGINNING)
        return {row["outcome"]: row["executions"] for row in rows}


def _known(text: str | None) -> str | None:
    """A filter as it would have been stored, so that no text is an error."""
    return None if text is None else storable(text)
