"""Where a search stands: in which stage, in which queue, and behind which job. Pure."""

import base64
import binascii
from enum import StrEnum
from typing import Final

import msgspec

from jobqueue.broker.base import Place
from jobqueue.errors import ConfigError
from jobqueue.job import JobState
from jobqueue.search.choice import JobFilter
from jobqueue.status import ENDED

_LONGEST: Final = 2_000


class Stage(StrEnum):
    """Where is looked, in this order."""

    ID = "id"
    RUNNING = "running"
    QUEUED = "queued"
    DELAYED = "delayed"
    ENDED = "ended"


PLACES: Final = {Stage.RUNNING: Place.RUNNING, Stage.QUEUED: Place.QUEUED, Stage.DELAYED: Place.DELAYED}
_STAGE_OF: Final = {
    JobState.RUNNING: Stage.RUNNING,
    JobState.QUEUED: Stage.QUEUED,
    JobState.SCHEDULED: Stage.DELAYED,
    JobState.RETRYING: Stage.DELAYED,
    **dict.fromkeys(ENDED, Stage.ENDED),
}


class Standing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place to go on from: within *stage*, in the first queue from *queue* on, behind *after* there."""

    stage: Stage
    queue: str = ""
    after: str | None = None


def stages(where: JobFilter) -> list[Stage]:
    """The stages in which jobs of *where* can be."""
    by_id = [Stage.ID] if where.job_id else []
    if where.state is None:
        return [*by_id, *PLACES, Stage.ENDED]
    return [*by_id, _STAGE_OF[where.state]]


def write(standing: Standing | None) -> str | None:
    """The cursor that says so."""
    if standing is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(standing)).decode().rstrip("=")


def read(cursor: str, where: JobFilter) -> Standing:
    """What `write` wrote.

    Raises:
        ConfigError: it is no cursor of a search for *where*.
    """
    try:
        text = base64.b64decode(cursor[:_LONGEST] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        standing = msgspec.json.decode(text, type=Standing)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise _refused(cursor) from error
    if standing.stage not in stages(where):
        raise _refused(cursor)
    return standing


def _refused(cursor: str) -> ConfigError:
    return ConfigError(
        f"cursor must be one that the page before returned, for the same filter, got {cursor[:64]!r}; "
        f"leave it out to begin at the first page"
    )
