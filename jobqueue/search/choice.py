"""Which jobs are meant. Pure."""

import uuid
from collections.abc import Iterable
from typing import Final

import msgspec

from jobqueue.broker.base import Place
from jobqueue.job import JobState, canonical_id
from jobqueue.status import JobStatus


class JobFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which jobs; None means any.

    *queues* means any of them. *q* is a text in the payload (its JSON), the error's class or its message,
    in upper or lower case; or a whole job id.
    """

    state: JobState | None = None
    type: str | None = None
    queue: str | None = None
    queues: tuple[str, ...] | None = None
    q: str | None = None

    @property
    def job_id(self) -> str | None:
        """The id that *q* is, if it is one."""
        try:
            return canonical_id(uuid.UUID(self.q)) if self.q else None
        except ValueError:
            return None

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of *names* that are queues of this filter, in order."""
        return sorted(
            name for name in names if self.queue in (None, name) and (self.queues is None or name in self.queues)
        )

    def is_of(self, status: JobStatus) -> bool:
        """Whether a job has this state, type and queue."""
        return (
            self.state in (None, status.state) and self.type in (None, status.type) and bool(self.among([status.queue]))
        )

    def is_in(self, *texts: str | bytes | None) -> bool:
        """Whether *q* is in one of the texts, or nothing is looked for."""
        if not self.q:
            return True
        wanted = self.q.casefold()
        return any(wanted in _text(each).casefold() for each in texts if each)

    def looks_inside(self, place: Place) -> bool:
        """Whether the place does not tell: each job in it must be looked at."""
        return self.type is not None or bool(self.q) or (place is Place.DELAYED and self.state is not None)


ANY: Final = JobFilter()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
