"""Which jobs are meant. Pure."""

import re
import uuid
from collections.abc import Iterable
from typing import Final

import msgspec

from jobqueue.broker.base import Place
from jobqueue.job import JobState, canonical_id
from jobqueue.status import JobStatus


class JobFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which jobs; None means any.

    With *queue* and *queues* (any of these), both must hold. *q* is a whole job id; or words that stand in the
    payload, the error's class or its message: each of them, in any order, in upper or lower case; the last one may
    be the beginning of a word. Letters and digits make a word. Of a live job, the error's message is not kept.
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
        """Whether every word of *q* is in these texts, read together, or nothing is looked for.

        As `Executions.search` reads the history: see `ExecutionFilter.q`.
        """
        if not self.q:
            return True
        wanted = _words(self.q[:_LONGEST_QUERY])
        text = " ".join(_text(each) for each in texts if each)[:_READ].casefold()
        if not wanted or not all(word in text for word in wanted):
            return False
        words = set(_words(text))
        return words.issuperset(wanted[:-1]) and any(word.startswith(wanted[-1]) for word in words)

    def looks_inside(self, place: Place) -> bool:
        """Whether the place does not tell: each job in it must be looked at."""
        return self.type is not None or bool(self.q) or (place is Place.DELAYED and self.state is not None)


ANY: Final = JobFilter()


_LONGEST_QUERY: Final = 200
_READ: Final = 8192
_WORD: Final = re.compile(r"[^\W_]+")
_ESCAPED_BLANK: Final = re.compile(r"\\[nrt]")


def _words(text: str) -> list[str]:
    return _WORD.findall(_ESCAPED_BLANK.sub(" ", text.casefold()))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
