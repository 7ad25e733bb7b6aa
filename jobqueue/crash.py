"""Places where a process kills itself when it is told to: how the tests prove that a crash there costs nothing.

`JOBQUEUE_CRASH_AT=after_run` kills with SIGKILL at the first passing, `after_run:3` at the third. The variable is
read once, at import. Without it a point costs an empty call: 30 ns, of the 12 000 around an empty handler.
"""

import os
import signal
from dataclasses import dataclass
from typing import Final, NamedTuple

from jobqueue.errors import ConfigError

VARIABLE: Final = "JOBQUEUE_CRASH_AT"


class Point(NamedTuple):
    """A place in the code, and what has happened and what has not when it is passed."""

    name: str
    meaning: str


POINTS: Final = (
    Point("before_enqueue_send", "producer: a batch of jobs is ready to be sent"),
    Point("after_enqueue_send", "producer: a batch of jobs is queued, no caller has been told"),
    Point("after_join", "worker: registered as a consumer, nothing fetched"),
    Point("after_fetch", "worker: jobs taken, none started"),
    Point("before_run", "worker: a job has its slot, its handler has not begun"),
    Point("after_run", "worker: a handler has ended, its outcome is known to nobody else"),
    Point("before_settle_send", "worker: a batch of outcomes is ready to be sent"),
    Point("after_settle_send", "worker: a batch of outcomes has been carried out, nothing here knows of it"),
    Point("before_release", "worker: told to stop, fetches no more, nothing given back"),
    Point("before_leave", "worker: everything settled or given back, the consumer still registered"),
    Point("before_fire_send", "scheduler: decisions about the ticks of a schedule are ready to be sent"),
    Point("after_fire_send", "scheduler: jobs of ticks queued and decisions recorded, nothing here knows of it"),
    Point("after_promote", "promoter: a batch has been looked for and what was due made ready"),
    Point("before_reap", "reaper: a worker was found dead, nothing of it given back"),
    Point("after_reap_page", "reaper: up to 200 jobs of a dead worker given back, its consumer still there"),
    Point("after_journal_read", "shipper: a page read from Redis under the cursor's lock, nothing written"),
    Point("before_commit", "shipper: rows written and cursor moved, not committed"),
    Point("after_commit", "shipper: committed, the page still in Redis"),
    Point("after_trim", "shipper: the page committed and gone from Redis"),
    Point("after_schedule_put", "an edit: the new version of a schedule is kept, the former one still stands"),
    Point("after_schedule_end", "a move: the former queue's schedule is ended, nothing stands on the new one"),
    Point("after_schedule_begin", "an edit: the new version stands, ticks that wait may have to be dropped yet"),
    Point("before_requeue_enqueue", "requeue: the letter marked as on its way back, the job not queued"),
    Point("after_requeue_enqueue", "requeue: the job queued, the letter still marked as on its way back"),
)


def point(name: str) -> None:
    """Die here, if this is the point and the passing that the process was armed with."""
    if _armed is not None:
        _armed.passed(name)


@dataclass(slots=True)
class Armed:
    """A point at which to die, and the passings until then."""

    name: str
    left: int

    def passed(self, name: str) -> None:
        """Count a passing of *name*; die at the last one."""
        if name != self.name:
            return
        self.left -= 1
        if self.left == 0:
            os.write(2, f"jobqueue: killed at crash point {name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def armed_with(text: str | None) -> Armed | None:
    """What the variable's text arms; None for no text.

    Raises:
        ConfigError: no such point, or the passing is no positive number.
    """
    if not text:
        return None
    name, _, passing = text.partition(":")
    names = [each.name for each in POINTS]
    if name not in names:
        raise ConfigError(f"{VARIABLE} must name a crash point, got {text!r}; there are {', '.join(names)}")
    if ":" in text and not (passing.isdecimal() and int(passing) > 0):
        raise ConfigError(f"{VARIABLE} must be a point, or a point and a passing such as {name}:3, got {text!r}")
    return Armed(name, int(passing or 1))


_armed = armed_with(os.environ.get(VARIABLE))
