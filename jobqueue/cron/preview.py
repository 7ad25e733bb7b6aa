"""What to say about a tick at which, or before which, the clock is set."""

from dataclasses import dataclass
from datetime import datetime

from jobqueue.cron.walls import Walls
from jobqueue.cron.zone import SECOND, Zone

# More missing times than these are told by the first and the last.
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class TickPreview:
    """A tick, the same instant in the schedule's zone, and a note when the clock is set at it or before it."""

    at: datetime
    local: datetime
    note: str | None


def note(zone: Zone, walls: Walls, *, interval: bool, last: datetime, tick: datetime) -> str | None:
    """What is particular about *tick*, seen from *last*, the tick before."""
    wall = zone.wall(tick)
    instants = zone.instants(wall)
    if len(instants) == 2:
        which = "second" if tick == instants[1] else "first" if interval else "first, and it is not due again"
        return f"the clock goes back: {_time(wall, wall)} comes twice; this is the {which}"
    turn = zone.turn(last, tick)
    if turn is None:
        return None
    way = "forward" if zone.wall(turn) > zone.wall_before(turn) else "back"
    where = "here" if turn == tick else "before this"
    if missing := _missing(zone, walls, turn, wall):
        return f"the clock goes {way} {where}: {missing}"
    return f"the clock goes {way} {where}: UTC{zone.local(tick).isoformat()[19:]} from now on"


def _missing(zone: Zone, walls: Walls, turn: datetime, near: datetime) -> str:
    """The due times that the clock leaves out when it is set forward."""
    end = zone.wall(turn)
    first = walls.next(zone.wall_before(turn) - SECOND)
    last = walls.previous(end)
    if first is None or last is None or first >= end:
        return ""
    named = [first]
    while named[-1] < last and len(named) < MOST_NAMED:
        following = walls.next(named[-1])
        assert following is not None
        named.append(following)
    if named[-1] < last:
        return f"{_time(first, near)} to {_time(last, near)} do not exist"
    told = [_time(wall, near) for wall in named]
    if len(told) == 1:
        return f"{told[0]} does not exist"
    return f"{', '.join(told[:-1])} and {told[-1]} do not exist"


def _time(wall: datetime, near: datetime) -> str:
    """`02:30`, with the date when it is not that of *near*."""
    day = "" if wall.date() == near.date() else f"{wall:%Y-%m-%d} "
    return day + wall.strftime("%H:%M:%S" if wall.second else "%H:%M")
