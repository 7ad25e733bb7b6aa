"""An expression in plain English, so that its author sees what it means before it fires."""

from collections.abc import Callable, Collection, Iterable
from itertools import pairwise

from jobqueue.cron.fields import LAST, Field, Fields

MONTHS = (
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# More times of day than these are told as minutes of hours.
MOST_TIMES = 6
# A list with a constant step that is at least this long is told as "every 2nd".
LEAST_STEPS = 4


def describe(fields: Fields, timezone: str) -> str:
    """`at 09:00, Monday to Friday, Europe/Madrid`; UTC goes without saying."""
    times, days = _times(fields), _days(fields)
    if not days and times[3:4].isdigit():  # at 09:00
        days = "every day"
    return ", ".join(part for part in (times, days, "" if timezone == "UTC" else timezone) if part)


def _times(fields: Fields) -> str:
    seconds = fields.seconds.values if fields.seconds else frozenset({0})
    minutes, hours = fields.minutes.values, fields.hours.values
    if len(seconds) * len(minutes) * len(hours) <= MOST_TIMES:
        return f"at {_list(_clock_times(hours, minutes, seconds))}"
    if seconds == {0}:
        return _minutes(minutes, hours)
    if len(minutes) == 60 and len(hours) == 24:
        return _every(seconds, 60, "second") or f"at {_numbered('second', seconds)} of every minute"
    told = _every(seconds, 60, "second") or f"at {_numbered('second', seconds)}"
    return f"{told} of {_minutes_of(minutes, hours)}"


def _minutes(minutes: Collection[int], hours: Collection[int]) -> str:
    if len(minutes) == 1:
        (minute,) = minutes
        return _hourly(minute, hours)
    every = _every(minutes, 60, "minute")
    if every and len(hours) == 24:
        return every
    if every and len(_runs(hours)) <= 2:
        spans = [f"from {low:02}:00 to {high:02}:59" for low, high in _runs(hours)]
        return f"{every} {' and '.join(spans)}"
    return f"{every} of {_hours(hours)}" if every else f"at {_minutes_of(minutes, hours)}"


def _hourly(minute: int, hours: Collection[int]) -> str:
    """At one minute of many hours."""
    every = _every(hours, 24, "hour")
    if every:
        if minute == 0:
            return every
        return f"at minute {minute} of every hour" if len(hours) == 24 else f"{every}, at minute {minute}"
    spans = _runs(hours)
    if len(spans) == 1:
        ((low, high),) = spans
        return f"every hour from {low:02}:{minute:02} to {high:02}:{minute:02}"
    return f"at minute {minute} of {_hours(hours)}"


def _minutes_of(minutes: Collection[int], hours: Collection[int]) -> str:
    told = "every minute" if len(minutes) == 60 else _numbered("minute", minutes)
    return f"{told} of {_hours(hours)}"


def _hours(hours: Collection[int]) -> str:
    if len(hours) == 24:
        return "every hour"
    return ("the hours " if len(hours) > 1 else "hour ") + _values(hours, str)


def _numbered(unit: str, values: Collection[int]) -> str:
    return f"{unit} {min(values)}" if len(values) == 1 else f"{unit}s {_values(values, str)}"


def _every(values: Collection[int], count: int, unit: str) -> str:
    """`every 5 minutes` when the *values* really are that far apart, all around the clock; else nothing."""
    step = count // len(values)
    if step < count and sorted(values) == list(range(0, count, step)) and count % step == 0:
        return f"every {unit}" if step == 1 else f"every {step} {unit}s"
    return ""


def _clock_times(hours: Iterable[int], minutes: Iterable[int], seconds: Collection[int]) -> list[str]:
    return [
        f"{hour:02}:{minute:02}" + ("" if seconds == {0} else f":{second:02}")
        for hour in sorted(hours)
        for minute in sorted(minutes)
        for second in sorted(seconds)
    ]


def _days(fields: Fields) -> str:
    months = "" if len(fields.months.values) == 12 else _values(fields.months.values, MONTHS.__getitem__)
    within = f"from {months}" if _is_range(months) else f"in {months}" if months else ""
    of_month = f" of every month {within}" if _is_range(months) else f" of {months or 'the month'}"
    by_day = len(fields.days.values) < 31
    by_weekday = len(fields.weekdays.values) < 7
    if not fields.both_days and not (by_day and by_weekday):
        by_day = by_weekday = False  # either is enough, and one is every day
    if by_day and by_weekday and fields.both_days:
        return f"on {_month_days(fields.days)}{of_month} if that is {_weekdays(fields.weekdays)}"
    if by_day and by_weekday:
        either = f"on {_month_days(fields.days)}{of_month} and on {_weekdays(fields.weekdays, each=True)}"
        return ", ".join(part for part in (either, within) if part)
    if by_day:
        return f"on {_month_days(fields.days)}{of_month}"
    if by_weekday and fields.weekdays.nth:
        return f"on {_weekdays(fields.weekdays, each=True)}{of_month}"
    told = _weekdays(fields.weekdays, each=True).removeprefix("every day from ") if by_weekday else ""
    return ", ".join(part for part in (told, within) if part)


def _is_range(months: str) -> bool:
    return " to " in months and "," not in months and " and " not in months


def _month_days(days: Field) -> str:
    told = [f"the {_values(days.values, _ordinal)}"] if days.values else []
    return _list([*told, "the last day"] if days.last_day else told)


def _weekdays(weekdays: Field, *, each: bool = False) -> str:
    from_monday = {7 if day == 0 else day for day in weekdays.values}
    told = [_values(from_monday, WEEKDAYS.__getitem__)] if from_monday else []
    if each and told:
        told = [f"every {told[0]}" if " to " not in told[0] else f"every day from {told[0]}"]
    nth = [f"the {'last' if n == LAST else _ordinal(n)} {WEEKDAYS[day]}" for n, day in _by_number(weekdays)]
    return _list([*told, *nth])


def _by_number(weekdays: Field) -> list[tuple[int, int]]:
    return sorted((number, day or 7) for day, number in weekdays.nth)


def _values(values: Collection[int], name: Callable[[int], str]) -> str:
    """*values* in words: three or more in a row as a range, many with one step as every n-th."""
    listed = sorted(values)
    steps = {second - first for first, second in pairwise(listed)}
    if len(listed) >= LEAST_STEPS and len(steps) == 1 and steps != {1}:
        return f"{name(listed[0])} to {name(listed[-1])} in steps of {min(steps)}"
    told: list[str] = []
    for low, high in _runs(values):
        told += [f"{name(low)} to {name(high)}"] if high - low > 1 else [name(low), name(high)][: high - low + 1]
    return _list(told)


def _runs(values: Iterable[int]) -> list[tuple[int, int]]:
    """The stretches of *values* without a hole, each with its first and last."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _list(told: list[str]) -> str:
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _ordinal(number: int) -> str:
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
