"""A child process ends with its parent, however the parent ends.

The parent keeps the writing end of a pipe; when it dies, also by kill -9, the child reads the end of it.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Final

VARIABLE: Final = "JOBQUEUE_LIFELINE"


@dataclass(frozen=True, slots=True)
class Lifeline:
    """The parent's side: `read` is passed to the children, `grace_s` is how long they may take to end."""

    grace_s: float
    ends: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def read(self) -> int:
        return self.ends[0]

    @property
    def environment(self) -> dict[str, str]:
        """What tells a child of it."""
        return {VARIABLE: f"{self.read}:{self.grace_s}"}

    def close(self) -> None:
        """Let go: children that still live are asked to end."""
        for end in self.ends:
            os.close(end)


def hold_on() -> None:
    """The child's side: with the parent gone, SIGTERM to ourselves, and the end when the grace is over."""
    told = os.environ.pop(VARIABLE, None)
    if told is None:
        return
    end, _, grace_s = told.partition(":")
    os.set_inheritable(int(end), False)
    threading.Thread(target=_watch, args=(int(end), float(grace_s)), name="lifeline", daemon=True).start()


def _watch(end: int, grace_s: float) -> None:
    os.read(end, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(1)
