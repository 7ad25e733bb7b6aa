"""A time zone: between wall times, which daylight saving skips and repeats, and instants."""

import difflib
import functools
import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone

from jobqueue.errors import InvalidSchedule

SECOND = timedelta(seconds=1)

# Within this time a clock is set at most once, in any zone of the database (at least 3 days pass: Freetown, 1939),
# and by at most a day (Samoa left out 30 December 2011): a wall time that comes again comes within it.
WINDOW = timedelta(hours=25)


class Zone:
    """One zone of the IANA database. Instants are aware and in UTC, walls are naive, both in whole seconds."""

    __slots__ = ("_info", "name")

    def __init__(self, name: str) -> None:
        """
        Raises:
            InvalidSchedule: the database has no such zone; the message names the closest ones.
        """
        if not isinstance(name, str):
            raise InvalidSchedule(f"timezone takes the name of a zone, e.g. 'Europe/Madrid', got {name!a:.80}")
        if name not in _names():
            raise InvalidSchedule(f"no time zone named {name!a:.80}; {_closest(name)}")
        self.name = name
        self._info = zoneinfo.ZoneInfo(name)

    def local(self, instant: datetime) -> datetime:
        """*instant* at this zone's offset, fixed: Python holds zoned times that come twice unequal to any in UTC."""
        local = instant.astimezone(self._info)
        return local.replace(tzinfo=timezone(self.offset(instant), local.tzname() or ""), fold=0)

    def wall(self, instant: datetime) -> datetime:
        """What the clock on the wall says at *instant*."""
        return instant.astimezone(self._info).replace(tzinfo=None)

    def wall_before(self, turn: datetime) -> datetime:
        """What the clock would say at *turn* if it were not set then."""
        return self.wall(turn - SECOND) + SECOND

    def instants(self, wall: datetime) -> list[datetime]:
        """When the clock says *wall*: once; twice if it was set back over it; never if it was set forward over it."""
        guesses = sorted({wall.replace(tzinfo=self._info, fold=fold).astimezone(UTC) for fold in (0, 1)})
        return [instant for instant in guesses if self.wall(instant) == wall]

    def jump(self, wall: datetime) -> datetime:
        """The instant at which the clock is set forward over *wall*, a time that it never says."""
        before, after = sorted(wall.replace(tzinfo=self._info, fold=fold).astimezone(UTC) for fold in (0, 1))
        turn = self.turn(before, after)
        assert turn is not None
        return turn

    def turn(self, low: datetime, high: datetime) -> datetime | None:
        """The instant within (low, high] at which the clock is set; high - low is at most `WINDOW`."""
        offset = self.offset(low)
        if self.offset(high) == offset:
            return None
        while high - low > SECOND:
            middle = low + (high - low) // (2 * SECOND) * SECOND
            if self.offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def offset(self, instant: datetime) -> timedelta:
        """How far the clock is ahead of UTC."""
        ahead = instant.astimezone(self._info).utcoffset()
        assert ahead is not None
        return ahead


@functools.cache
def _names() -> frozenset[str]:
    """Debian's `localtime` is whatever the machine is set to, and no zone of the database."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def _closest(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_+/ -]{1,64}", name, re.ASCII):
        by_lower = {known.lower(): known for known in sorted(_names())}
        wanted = name.lower().replace(" ", "_")
        places = {known.rpartition("/")[2]: known for known in by_lower}
        found = difflib.get_close_matches(wanted, by_lower, n=3, cutoff=0.75)
        found += [places[place] for place in difflib.get_close_matches(wanted, places, n=3, cutoff=0.85)]
        if found:
            return f"did you mean {', '.join(by_lower[known] for known in dict.fromkeys(found[:3]))}?"
    return "write a name of the IANA database, e.g. UTC, Europe/Madrid or America/New_York"
