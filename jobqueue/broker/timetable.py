"""The port through which schedules fire: where each schedule stands, kept beside the queue that its jobs go to."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

import msgspec

from jobqueue.schedule import Schedule
from jobqueue.tick import Step, TickRecord

AHEAD: Final = timedelta(days=1)
"""What was decided further ahead of the broker's clock was decided when that clock was wrong."""


class Standing(msgspec.Struct, kw_only=True, frozen=True):
    """Where a schedule stands on its queue."""

    version: int
    last_ms: int
    """Its newest decided tick, or the instant from which it counts."""
    waiting: tuple[int, ...] = ()
    """Ticks that wait for the job before them, oldest first."""
    job_id: str | None = None
    """The job of the tick that fired last."""
    busy: bool = False
    """That job is live."""


class Look(msgspec.Struct, kw_only=True, frozen=True):
    """What the broker answers: its own time, and where the schedules stand that were asked for, if anywhere."""

    now_ms: int
    standings: Mapping[str, Standing]


class Fired(msgspec.Struct, kw_only=True, frozen=True):
    """The answer to `fire`. *done* is False when nothing was changed: the schedule does not stand where it was
    thought to (*standing* says where; None: nowhere), or the broker's clock has not reached a tick yet."""

    done: bool
    now_ms: int
    standing: Standing | None
    records: Sequence[TickRecord] = ()
    """What was decided."""


class Timetable(Protocol):
    """Where schedules stand. All verbs are atomic, and safe to repeat after a lost reply.

    Raises:
        BrokerUnavailable: no answer; it may or may not have been done.
    """

    async def look(self, queue: str, names: Sequence[str]) -> Look:
        """Where these schedules stand on this queue; one read for up to 500 of them.

        A schedule that has ended here stands at the version that ended it, without job and waiting ticks.
        """
        ...

    async def begin(
        self,
        queue: str,
        name: str,
        *,
        version: int,
        at_ms: int,
        waiting: Sequence[int] = (),
        job_id: str | None = None,
    ) -> Standing:
        """Let *version* count here, from *at_ms* on or from the newest decided tick, whichever is later.

        Nothing is changed where this version or a newer one stands already. *waiting* and *job_id* are what a schedule
        brings from another queue; where it stands here already, what is here stays. Ticks that were decided more than
        `AHEAD` of the broker's clock do not count, nor do those that wait with them.
        """
        ...

    async def end(self, queue: str, name: str, *, version: int) -> Look:
        """Let no version before *version* fire here again: the schedule has gone to another queue. Answers what stood
        here, the same each time."""
        ...

    async def drop(self, queue: str, name: str, *, version: int) -> int:
        """Skip the ticks that wait, with a record each (`ended`); where *version* stands. Returns how many."""
        ...

    async def fire(self, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> Fired:
        """Carry the steps out, all or nothing: queue the jobs (`Schedule.tick_job`, due at `Schedule.due_ms`), and
        record each decision. `last_ms` becomes that of the last step. Of steps whose jobs have more than 1 MiB
        together, it may be only the first ones: `last_ms` tells.

        A job whose id is live already is not queued again; its tick counts as fired.

        Only where the schedule stands as *seen* (version, `last_ms`, first of `waiting`), and the broker's clock has
        reached every tick. The `overlap` of the schedule is judged tick by tick. First of all, the first of the ticks
        that wait is fired if the job before it has ended; so with no *steps*, only that is looked after.

        Raises:
            Backpressure: the broker is full; nothing was changed.
            ValueError: the steps do not ascend, or begin before `last_ms`.
        """
        ...

    async def note(self, records: Sequence[TickRecord]) -> None:
        """Record what was done by hand: `run`, `backfilled`. *at_ms* is set by the broker. The same records again
        within ten minutes are not recorded twice.

        Raises:
            Backpressure: the broker is full; nothing, or only some hundreds of them, were recorded.
        """
        ...

    async def records(
        self, queue: str, *, name: str | None = None, limit: int, after: str | None = None
    ) -> tuple[list[TickRecord], str | None]:
        """A page of what is recorded here, newest first, and the cursor of the next page. Bounded work: a page may be
        short, even empty, with a cursor to go on. With Postgres, only what has not been shipped yet.

        Raises:
            ConfigError: *after* is not a cursor that this method returned.
        """
        ...
