"""Against cronsim 2.8 in every zone, and against the rules by definition where clocks are set.

cronsim differs in four places. It reads `4-4/46` as `4/46`. Six fields are never fixed times to it: daylight saving
skips and repeats `0 30 2 * * *`. It looks for fixed times on the wall, so that between the two passes of an hour that
comes twice it answers with an instant of the first, which is over: see `test_daylight_saving.py`. And it counts hours
from where it stands, so that it leaves out half an hour of an interval after a change by half an hour.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jobqueue.cron import CronSchedule
from jobqueue.errors import InvalidSchedule
from tests.unit.cron import expressions as e

EXAMPLES = 3_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 50
TICKS = 3
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


oracle = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@oracle
@given(e.expressions, e.instants("UTC"))
def test_both_directions_are_cronsims(expression: str, start: datetime) -> None:
    cron = schedule(expression)

    assert list(islice(cron.ticks(start), TICKS)) == by_cronsim(expression, start)
    assert backwards(cron, start) == by_cronsim(expression, start, reverse=True)


@oracle
@given(e.with_seconds, e.instants("UTC"))
def test_expressions_with_seconds_are_cronsims_in_both_directions(expression: str, start: datetime) -> None:
    cron = schedule(expression, seconds=True)

    assert list(islice(cron.ticks(start), TICKS)) == by_cronsim(expression, start)
    assert backwards(cron, start) == by_cronsim(expression, start, reverse=True)


@oracle
@given(e.expressions | e.nightly, e.zones, st.data())
def test_ticks_are_cronsims_in_every_zone(expression: str, zone: str, data: st.DataObject) -> None:
    start = data.draw(e.instants(zone))
    cron = schedule(expression, zone)

    ours = list(islice(cron.ticks(start), TICKS))
    theirs = by_cronsim(expression, start.astimezone(ZoneInfo(zone)))

    info = ZoneInfo(zone)
    assume(all(tick > start for tick in theirs))
    assume(not any((e.offset(info, tick) - e.offset(info, start)) % HOUR for tick in ours))
    assert ours == theirs


@oracle
@given(e.nightly, e.zones, st.data())
def test_ticks_around_a_change_of_the_clock_are_those_of_the_rules(
    expression: str, zone: str, data: st.DataObject
) -> None:
    start = data.draw(e.instants(zone))
    minute, hour, *_ = expression.split()
    low, high = start - timedelta(hours=30), start + timedelta(hours=30)
    cron = schedule(expression, zone)

    due = e.ticks_by_definition(expression, zone, low, high, interval=minute.startswith("*") or hour.startswith("*"))

    # None: the next is further off than what was looked at.
    following, preceding = cron.next(start), cron.previous(start)
    assert within(following, low, high) == next((tick for tick in due if tick > start), None)
    assert within(preceding, low, high) == next((tick for tick in reversed(due) if tick < start), None)


@oracle
@given(e.nightly | e.with_seconds, e.zones, st.data())
def test_previous_is_the_inverse_of_next(expression: str, zone: str, data: st.DataObject) -> None:
    start = data.draw(e.instants(zone))
    cron = schedule(expression, zone, seconds=len(expression.split()) == 6)

    last = cron.previous(start)

    assume(last is not None)
    assert last is not None
    assert last < start
    assert cron.next(last - SECOND) == last
    following = cron.next(last)
    assert following is None or following >= start
    assert following is None or cron.previous(following) == last


def schedule(expression: str, zone: str = "UTC", *, seconds: bool = False) -> CronSchedule:
    try:
        return CronSchedule.parse(expression, timezone=zone, seconds=seconds)
    except InvalidSchedule as error:
        assume(not any(rule in str(error) for rule in ("never comes", "at most 100 characters")))
        raise


def by_cronsim(expression: str, start: datetime, *, reverse: bool = False) -> list[datetime]:
    return [tick.astimezone(UTC) for tick in islice(CronSim(expression, start, reverse=reverse), TICKS)]


def backwards(cron: CronSchedule, tick: datetime | None) -> list[datetime]:
    found: list[datetime] = []
    while tick is not None and len(found) < TICKS:
        tick = cron.previous(tick)
        found += [tick] if tick is not None else []
    return found


def within(tick: datetime | None, low: datetime, high: datetime) -> datetime | None:
    return tick if tick is not None and low <= tick <= high else None
