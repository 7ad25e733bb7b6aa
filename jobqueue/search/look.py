"""What one look of a search saw."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobqueue.status import JobStatus


@dataclass(slots=True, frozen=True, kw_only=True)
class Look:
    """The jobs found, and where to go on (None: there are no more here)."""

    jobs: Sequence[JobStatus]
    more: str | None
    looked_at: int
