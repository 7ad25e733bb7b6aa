"""The task of the schedules under test. It tells when it ran, and with which payload."""

from jobqueue import JobContext, Registry
from tests.acceptance.app import tell

registry = Registry()


@registry.task("tick")
async def tick(ctx: JobContext, mark: int = 0) -> None:
    """The mark is told where other tasks tell their number."""
    tell("start", ctx, mark)
