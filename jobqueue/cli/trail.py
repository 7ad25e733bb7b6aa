"""The audit log, as commands write it."""

import getpass
import os
from collections.abc import Mapping

from jobqueue.access.base import AuditEntry
from jobqueue.app import JobQueue
from jobqueue.clock import from_ms


async def note(jobs: JobQueue, action: str, target: str, detail: Mapping[str, object] | None = None) -> None:
    """Write down what is about to be done: an entry for what was broken off is better than none for what was not."""
    if jobs.parts.access is None:
        return
    at = from_ms(jobs.parts.clock.now_ms())
    entry = AuditEntry(at=at, actor=who(), action=action, target=target, detail=detail or {})
    await jobs.parts.access.audit.append(entry)


def who() -> str:
    """Who runs this command; in a container that knows no names, the number."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"
