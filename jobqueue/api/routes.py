"""Every address of the API, once: the router, the OpenAPI document and the tests of scopes come from this table."""

from collections.abc import Sequence
from typing import Final

from jobqueue.api.route import PREFIX as PREFIX
from jobqueue.api.route import Route
from jobqueue.api.routing.about import ABOUT
from jobqueue.api.routing.access import ACCESS
from jobqueue.api.routing.crew import CREW
from jobqueue.api.routing.history import HISTORY
from jobqueue.api.routing.jobs import JOBS
from jobqueue.api.routing.letters import DEAD_LETTERS
from jobqueue.api.routing.queues import QUEUES
from jobqueue.api.routing.schedules import SCHEDULES

ROUTES: Final[Sequence[Route]] = (
    *JOBS,
    *QUEUES,
    *DEAD_LETTERS,
    *SCHEDULES,
    *HISTORY,
    *CREW,
    *ACCESS,
    *ABOUT,
)
