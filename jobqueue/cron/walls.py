"""The wall times that an expression names, as if clocks were never set: croniter's search.

croniter gets plain lists of numbers, not what the user wrote: it reads `5-5` as the whole range and `22-2` as a
range around midnight, and it takes seconds last.
"""

import copy
from collections.abc import Iterable
from datetime import datetime

from croniter import CroniterBadDateError, croniter

from jobqueue.cron.fields import LAST, Field, Fields

# Longer than any schedule that comes at all is silent: 29 February is a given weekday every 28 years, 40 over 2100.
MAX_YEARS = 50


class Walls:
    """Naive wall times in whole seconds, ascending or descending."""

    __slots__ = ("_searches",)

    def __init__(self, fields: Fields) -> None:
        self._searches = [_search(fields, days, weekdays) for days, weekdays in _day_rules(fields)]

    def next(self, after: datetime) -> datetime | None:
        """The first wall time after *after*; None: none within `MAX_YEARS`."""
        return min(self._found(after, forward=True), default=None)

    def previous(self, before: datetime) -> datetime | None:
        """The last wall time before *before*; None: none within `MAX_YEARS`."""
        return max(self._found(before, forward=False), default=None)

    def _found(self, start: datetime, *, forward: bool) -> Iterable[datetime]:
        for search in self._searches:
            mine = copy.copy(search)  # a search keeps its place, and threads share a schedule
            try:
                yield mine.get_next(datetime, start) if forward else mine.get_prev(datetime, start)
            except CroniterBadDateError:
                continue


def _search(fields: Fields, days: str, weekdays: str) -> "croniter[datetime]":
    texts = [
        _numbers(fields.minutes.values, 60),
        _numbers(fields.hours.values, 24),
        days,
        _numbers(fields.months.values, 12),
        weekdays,
    ]
    if fields.seconds is not None:
        texts.append(_numbers(fields.seconds.values, 60))
    return croniter(
        " ".join(texts), datetime(2000, 1, 1), ret_type=datetime, day_or=False, max_years_between_matches=MAX_YEARS
    )


def _day_rules(fields: Fields) -> list[tuple[str, str]]:
    """Pairs of day of month and day of week; a day is due that matches both of any pair."""
    days, weekdays = _days(fields.days), _weekdays(fields.weekdays)
    if fields.both_days:
        return [(days, weekday) for weekday in weekdays]
    return [(days, "*"), *(("*", weekday) for weekday in weekdays)]


def _days(field: Field) -> str:
    listed = [str(day) for day in sorted(field.values)] + (["l"] if field.last_day else [])
    return "*" if len(field.values) == 31 else ",".join(listed)


def _weekdays(field: Field) -> list[str]:
    """croniter refuses weekdays mixed with the n-th of a month, so these are a search of their own."""
    rules = [_numbers(field.values, 7)] if field.values else []
    nth = [f"l{day}" if number == LAST else f"{day}#{number}" for day, number in sorted(field.nth)]
    return [*rules, ",".join(nth)] if nth else rules


def _numbers(values: Iterable[int], count: int) -> str:
    listed = sorted(values)
    return "*" if len(listed) == count else ",".join(map(str, listed))
