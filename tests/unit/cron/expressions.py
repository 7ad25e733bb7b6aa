"""Expressions for hypothesis; cronsim's wall times, and the rules by definition, both without croniter."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim
from hypothesis import strategies as st

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

zones = st.sampled_from(sorted(available_timezones() - {"localtime"}))


@st.composite
def items(draw: st.DrawFn, low: int, high: int, steps: bool = True) -> str:
    first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    step = draw(st.integers(1, max(high, 1)))
    # cronsim reads `4-4/46` as `4/46`, from 4 to the end; here it is 4, as in every other cron.
    stepped = f"{first}-{last}/{step}" if first < last else f"{first}"
    shapes = [f"{first}", f"{first}-{last}", stepped, f"*/{step}"]
    return draw(st.sampled_from([*shapes, f"{first}/{step}"] if steps else shapes))


def fields(low: int, high: int, steps: bool = True) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(items(low, high, steps), min_size=1, max_size=3).map(",".join)


hours = fields(0, 23) | st.sampled_from(["0", "1", "2", "3", "2-3", "23", "0-3"])
days = fields(1, 31) | st.sampled_from(["L", "1,L", "29", "31", "*"])
months = fields(1, 12) | st.sampled_from(["*", "*", "2", "mar,oct"])
weekdays = (
    fields(0, 7, steps=False)
    | st.sampled_from(["*", "*", "mon-fri", "SAT,sun"])
    | st.builds("{}#{}".format, st.sampled_from(DAY_NAMES), st.integers(1, 5))
    | st.builds("{}L".format, st.integers(0, 7))
    | st.builds("{},{}#{}".format, st.integers(0, 7), st.integers(0, 7), st.integers(1, 5))
)
expressions = st.builds("{} {} {} {} {}".format, fields(0, 59), hours, days, months, weekdays)
with_seconds = st.builds("{} {} {} {} {} {}".format, fields(0, 59), fields(0, 59), hours, days, months, weekdays)
# Times of the night on most days, so that a clock set forward or back matters.
nightly = st.builds(
    "{} {} {} * {}".format,
    fields(0, 59) | st.sampled_from(["0", "30", "*", "*/15", "5,35"]),
    st.sampled_from(["*", "0", "1", "2", "3", "23", "0-4", "*/2", "1,2", "2-3", "22-23"]),
    st.sampled_from(["*", "*/2", "1-31"]),
    st.sampled_from(["*", "*", "sun", "0-7"]),
)


@st.composite
def instants(draw: st.DrawFn, zone: str) -> datetime:
    """Any instant from 1970 to 2100, or as often one near the next time that the clock of *zone* is set."""
    start = draw(st.datetimes(datetime(1970, 1, 1), datetime(2098, 1, 1), timezones=st.just(UTC)))
    if draw(st.booleans()):
        return start
    info = ZoneInfo(zone)
    for _ in range(200):  # 2 years
        if offset(info, start) != offset(info, start + 4 * DAY):
            return jump(info, start.replace(microsecond=0), start + 4 * DAY) + draw(nearby)
        start += 4 * DAY
    return start


nearby = st.builds(timedelta, seconds=st.integers(-100_000, 100_000)) | st.sampled_from(
    [timedelta(0), SECOND, -SECOND, timedelta(microseconds=1), timedelta(microseconds=-1)]
)


def offset(info: ZoneInfo, instant: datetime) -> timedelta:
    ahead = instant.astimezone(info).utcoffset()
    assert ahead is not None
    return ahead


def walls(expression: str, low: datetime, high: datetime) -> Iterator[datetime]:
    """The naive wall times of *expression* within [low, high], by cronsim, for which clocks are never set."""
    for wall in CronSim(expression, low - SECOND):
        if wall > high:
            return
        yield wall


def ticks_by_definition(expression: str, zone: str, low: datetime, high: datetime, *, interval: bool) -> list[datetime]:
    """The ticks within [low, high]: every instant of each wall time; of fixed ones the first, or the jump over it."""
    info = ZoneInfo(zone)
    found = set()
    for wall in walls(expression, naive(low, info) - DAY, naive(high, info) + DAY):
        instants = sorted(wall.replace(tzinfo=info, fold=fold).astimezone(UTC) for fold in (0, 1))
        real = [instant for instant in instants if naive(instant, info) == wall]
        if interval:
            found.update(real)
        elif real:
            found.add(real[0])
        else:
            found.add(jump(info, *instants))
    return sorted(tick for tick in found if low <= tick <= high)


def jump(info: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The instant between the two at which the clock is set."""
    while after - before > SECOND:
        middle = before + (after - before) // 2 // SECOND * SECOND
        before, after = (middle, after) if offset(info, middle) == offset(info, before) else (before, middle)
    return after


def naive(instant: datetime, info: ZoneInfo) -> datetime:
    return instant.astimezone(info).replace(tzinfo=None)
