"""A schedule's ticks: the instants at which a cron expression is due in its time zone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from jobqueue.cron.fields import MAX_EXPRESSION_CHARS as MAX_EXPRESSION_CHARS
from jobqueue.cron.fields import Fields, read, tidy
from jobqueue.cron.preview import TickPreview as TickPreview
from jobqueue.cron.preview import note
from jobqueue.cron.text import describe
from jobqueue.cron.walls import Walls
from jobqueue.cron.zone import SECOND, WINDOW, Zone
from jobqueue.errors import InvalidSchedule

FIRST = datetime(1900, 1, 1, tzinfo=UTC)
END = datetime(9000, 1, 1, tzinfo=UTC)

# Years in which an interval falls into the time left out, each time: then the search ends.
MAX_TURNS = 60


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression in a time zone. Make one with `CronSchedule.parse`; two of the same text are equal.

    **Days.** When both day fields are restricted, a day that matches either is due; when one of them begins with
    `*` (so `*/2` too), a day must match both. That is what Vixie's and Debian's cron do.

    **Daylight saving.** An expression is an *interval* if its second (if it has one), minute or hour field begins
    with `*`: `*/5 * * * *`, `30 * * * *`, `*/10 2 * * *`. Any other names *fixed times*: `30 2 * * *`,
    `0 9-17 * * *`. When the clock is set forward, an interval has no ticks in the time left out, and a fixed time
    in it is due once, at the instant the clock is set. When the clock is set back, an interval is due each time
    the clock says so, and a fixed time only the first time.

    Ticks are whole seconds, in UTC, from the year 1900 until before the year 9000.
    """

    expression: str
    timezone: str
    seconds: bool
    _fields: Fields = field(repr=False, compare=False)
    _zone: Zone = field(repr=False, compare=False)
    _walls: Walls = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, *, timezone: str = "UTC", seconds: bool = False) -> "CronSchedule":
        """Read *expression*: five fields, or with *seconds* six, the seconds first; or `@daily` and its like.

        Raises:
            InvalidSchedule: the expression or the time zone is refused, or the expression names no day that exists.
        """
        text = tidy(expression)
        fields = read(text, seconds=seconds)
        zone = Zone(timezone)
        walls = Walls(fields)
        if walls.next(datetime(2000, 1, 1)) is None:
            raise InvalidSchedule(
                f"cron expression {text!r} never comes: no year has such a day; "
                f"look at its day of month, month and day of week"
            )
        return cls(text, timezone, seconds, fields, zone, walls)

    def next(self, after: datetime) -> datetime | None:
        """The first tick strictly after the aware instant *after*.

        None: there is none within 50 years, or before the year 9000.
        """
        start = max(_whole(after), FIRST - SECOND)
        if start >= END:
            return None
        found = self._next_interval(start + SECOND) if self._fields.interval else self._next_fixed(start)
        return found if found is not None and found < END else None

    def previous(self, before: datetime) -> datetime | None:
        """The last tick strictly before the aware instant *before*.

        None: there is none within 50 years, or since the year 1900.
        """
        whole = _whole(before)
        end = min(whole + SECOND if before.microsecond else whole, END)
        if end <= FIRST:
            return None
        found = self._previous_interval(end - SECOND) if self._fields.interval else self._previous_fixed(end)
        return found if found is not None and found >= FIRST else None

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """The ticks after *after*, one after the other."""
        tick = self.next(after)
        while tick is not None:
            yield tick
            tick = self.next(tick)

    def describe(self) -> str:
        """The schedule in plain English: `at 09:00, Monday to Friday, Europe/Madrid`."""
        return describe(self._fields, self.timezone)

    def preview(self, after: datetime, count: int) -> list[TickPreview]:
        """The next *count* ticks, with a note on each at which, or before which, the clock is set."""
        told = []
        last = _whole(after)
        for tick in islice(self.ticks(after), count):
            about = note(self._zone, self._walls, interval=self._fields.interval, last=last, tick=tick)
            told.append(TickPreview(tick, self._zone.local(tick), about))
            last = tick
        return told

    def _next_fixed(self, after: datetime) -> datetime | None:
        due = self._walls.next(self._zone.wall(after))
        if due is None:
            return None
        tick = self._first(due)
        if tick > after:
            return tick
        # The clock was set back before *after*: pass over what it said before and says again.
        turn = self._zone.turn(after - WINDOW, after)
        assert turn is not None
        due = self._walls.next(self._zone.wall_before(turn) - SECOND)
        return None if due is None else self._first(due)

    def _previous_fixed(self, before: datetime) -> datetime | None:
        limit = self._zone.wall(before)
        turn = self._zone.turn(before - WINDOW, before)
        if turn is not None:
            # Set forward at *before*: the times left out are due there, not before. Set back: all of them were said.
            reached = self._zone.wall_before(turn)
            limit = reached if turn == before else max(limit, reached)
        due = self._walls.previous(limit)
        return None if due is None else self._first(due)

    def _first(self, wall: datetime) -> datetime:
        """The instant at which a fixed time is due."""
        instants = self._zone.instants(wall)
        return instants[0] if instants else self._zone.jump(wall)

    def _next_interval(self, start: datetime) -> datetime | None:
        """The first tick at or after *start*, stretch by stretch between two settings of the clock."""
        for _ in range(MAX_TURNS):
            due = self._walls.next(self._zone.wall(start) - SECOND)
            if due is None:
                return None
            turn = self._zone.turn(start, start + WINDOW)
            if turn is None:
                found = [instant for instant in self._zone.instants(due) if instant >= start]
                if found:
                    return found[0]
                start = self._zone.jump(due)
            else:
                tick = due.replace(tzinfo=UTC) - self._zone.offset(start)
                if tick < turn:
                    return tick
                start = turn
        return None

    def _previous_interval(self, end: datetime) -> datetime | None:
        """The last tick at or before *end*, stretch by stretch between two settings of the clock."""
        for _ in range(MAX_TURNS):
            due = self._walls.previous(self._zone.wall(end) + SECOND)
            if due is None:
                return None
            turn = self._zone.turn(end - WINDOW, end)
            if turn is None:
                found = [instant for instant in self._zone.instants(due) if instant <= end]
                if found:
                    return found[-1]
                end = self._zone.jump(due) - SECOND
            else:
                tick = due.replace(tzinfo=UTC) - self._zone.offset(end)
                if tick >= turn:
                    return tick
                end = turn - SECOND
        return None


def _whole(instant: datetime) -> datetime:
    """*instant* in UTC without its microseconds, and within the years that are searched."""
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(f"a schedule needs an aware datetime, got {instant!r}; e.g. datetime.now(UTC)")
    if instant.year > END.year:
        return END
    if instant.year < FIRST.year - 1:
        return FIRST - SECOND
    return instant.astimezone(UTC).replace(microsecond=0)
