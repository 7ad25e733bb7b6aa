"""Schedulers that are broken as naive ones are."""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Final

from jobqueue.broker import scripts
from jobqueue.broker.firing import RedisTimetable
from jobqueue.broker.timetable import Fired, Standing
from jobqueue.schedule import Schedule
from jobqueue.scheduler import firing
from jobqueue.scheduler.broker_clock import BrokerClock
from jobqueue.tick import Decision, Step
from testutil.chaos.broken import in_lua, in_python

_BETWEEN_S: Final = 0.4
_FAST_S: Final = 1.5


def fired_without_a_look() -> None:
    """Each scheduler fires what is due by its own reckoning: nothing is compared before it is set."""
    in_lua.change(scripts.FIRE, "version .. ' ' .. last == seen and ", "")


def advanced_before_enqueued() -> None:
    """A tick is marked as fired by one script, and its job is queued after it."""
    in_lua.change(scripts.FIRE, "local index, soonest = {}, nil", "queued = {}\nlocal index, soonest = {}, nil")

    async def fire(self: RedisTimetable, schedule: Schedule, seen: Standing, steps: Sequence[Step]) -> Fired:
        fired: Fired = await whole(self, schedule, seen, steps)
        await asyncio.sleep(_BETWEEN_S)
        keys, rank = self._keys(schedule.queue), schedule.priority.rank
        for record in fired.records:
            if record.decision is Decision.FIRED:
                job = schedule.tick_job(record.tick_ms)
                entry_id = await self._firing.call(["XADD", keys.streams[rank], "*", "i", job.id, "b", job.to_wire()])
                await self._firing.call(["HSET", keys.jobs, job.id, b"%d%s" % (rank, entry_id)])
                await self._firing.call(["HINCRBY", keys.meta, "enqueued", 1])
        return fired

    whole = in_python.swap(RedisTimetable, "fire", fire)


def host_clock_decides() -> None:
    """Each scheduler fires by the clock of its host, one of which is fast."""
    fast_s = _FAST_S if os.environ.get("CHAOS_MEMBER") == "scheduler-1" else 0.0

    def now_ms(_self: BrokerClock) -> int:
        return int((time.time() + fast_s) * 1000)

    in_lua.change(scripts.FIRE, "> now then fits = false", "> now + 60000 then fits = false")
    in_python.swap(BrokerClock, "now_ms", now_ms)


def only_the_newest_tick() -> None:
    """A scheduler fires when a tick has come, and does not ask whether others came before it."""

    def due_steps(*args: object, **kwargs: object) -> list[Step]:
        steps: list[Step] = whole(*args, **kwargs)
        return steps[-1:]

    whole = in_python.swap(firing, "due_steps", due_steps)


def overlap_not_judged() -> None:
    """The rule `overlap="skip"` is written down, and not looked at."""
    in_lua.change(scripts.FIRE, "elseif overlap == 'skip' and busy == 1 then", "elseif false then")
