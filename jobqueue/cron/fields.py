"""A cron expression, read: which seconds, minutes, hours, days, months and weekdays it names."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from jobqueue.errors import InvalidSchedule

MAX_EXPRESSION_CHARS = 100

LAST = 6
"""In place of 1 to 5 in `Field.nth`: the last such weekday of the month."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Part(NamedTuple):
    """One of the places of an expression, its lowest and highest number, and the names for them."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


SECOND = Part("second", 0, 59)
MINUTE = Part("minute", 0, 59)
HOUR = Part("hour", 0, 23)
DAY = Part("day of month", 1, 31)
MONTH = Part("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = Part("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
"""0 and 7 are both Sunday; what is read says 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one field names; `star` when its text begins with `*`, which decides two rules of cron."""

    text: str
    values: frozenset[int]
    star: bool
    last_day: bool = False
    nth: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """An expression's fields; one without seconds is due at second 0."""

    seconds: Field | None
    minutes: Field
    hours: Field
    days: Field
    months: Field
    weekdays: Field

    @property
    def interval(self) -> bool:
        """Whether the second (if given), the minute or the hour begins with `*`: Debian cron's rule."""
        return self.minutes.star or self.hours.star or (self.seconds is not None and self.seconds.star)

    @property
    def both_days(self) -> bool:
        """Whether a day must match both day fields, as when either begins with `*`; else either is enough."""
        return self.days.star or self.weekdays.star


def tidy(expression: object) -> str:
    """*expression* with one space between its fields.

    Raises:
        InvalidSchedule: it is no text, empty, too long, or holds what no expression holds.
    """
    if not isinstance(expression, str):
        raise InvalidSchedule(f"a cron expression is text, got {expression!r:.100}; e.g. '0 9 * * mon-fri'")
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise InvalidSchedule(
            f"a cron expression has at most {MAX_EXPRESSION_CHARS} characters, this one has {len(expression)}: "
            f"{expression[:20]!r}...; use ranges and steps, or two schedules"
        )
    if not re.fullmatch(r"[ \t!-~]*", expression, re.ASCII):
        raise InvalidSchedule(
            f"cron expression {expression!a}: it is written in ASCII letters, digits, spaces and the signs * , - / # @"
        )
    return " ".join(expression.split())


def read(expression: str, *, seconds: bool) -> Fields:
    """The fields of a tidy *expression*; with *seconds*, six of them and the seconds first.

    Raises:
        InvalidSchedule: the message names the field, its value, the rule and the way out.
    """
    texts = _texts(expression, seconds=seconds)
    parts = ((SECOND,) if len(texts) == 6 else ()) + (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
    fields = []
    for part, text in zip(parts, texts, strict=True):
        try:
            fields.append(_field(part, text))
        except _Refused as refused:
            raise InvalidSchedule(f"cron expression {expression!r}: {part.name} {text!r}: {refused}") from None
    return Fields(
        seconds=fields[0] if len(fields) == 6 else None,
        minutes=fields[-5],
        hours=fields[-4],
        days=fields[-3],
        months=fields[-2],
        weekdays=fields[-1],
    )


class _Refused(Exception):
    """Why a field was refused."""


def _texts(expression: str, *, seconds: bool) -> list[str]:
    if expression.startswith("@"):
        return _macro(expression).split()
    texts = expression.split()
    if "=" in expression:
        raise InvalidSchedule(
            f"cron expression {expression!r}: no settings inside an expression; name the time zone with timezone="
        )
    if len(texts) == 6 and not seconds:
        raise InvalidSchedule(
            f"cron expression {expression!r} has six fields: five are taken (minute, hour, day of month, month, "
            f"day of week), or six with the seconds first when seconds=True is given"
        )
    if len(texts) == 5 and seconds:
        raise InvalidSchedule(
            f"cron expression {expression!r} has five fields: with seconds=True there are six, the seconds first; "
            f"write {'0 ' + expression!r}"
        )
    if len(texts) != (6 if seconds else 5):
        wanted = "six fields (second, " if seconds else "five fields ("
        raise InvalidSchedule(
            f"cron expression {expression!r} has {_counted(len(texts))}: it takes {wanted}minute, hour, day of month, "
            f"month, day of week); e.g. {'0 ' if seconds else ''}0 9 * * mon-fri for 09:00 from Monday to Friday"
        )
    return texts


def _counted(count: int) -> str:
    return f"{count} field{'' if count == 1 else 's'}"


def _macro(expression: str) -> str:
    if macro := MACROS.get(expression.lower()):
        return macro
    known = ", ".join(MACROS)
    raise InvalidSchedule(f"cron expression {expression!r} is not one of {known}; or write its five fields")


def _field(part: Part, text: str) -> Field:
    values: set[int] = set()
    nth: set[tuple[int, int]] = set()
    last_day = False
    items = text.split(",")
    for item in items:
        if item == "*" and len(items) > 1:
            raise _Refused("'*' is every value already; leave out the rest of the list")
        if part is DAY and item in ("L", "l"):
            last_day = True
        elif part is WEEKDAY and ("#" in item or (item[-1:] in ("L", "l") and len(item) > 1)):
            nth.add(_nth_weekday(item))
        else:
            values.update(_span(part, item))
    if part is WEEKDAY:
        values = {value % 7 for value in values}
    return Field(text=text, values=frozenset(values), star=text.startswith("*"), last_day=last_day, nth=frozenset(nth))


def _nth_weekday(item: str) -> tuple[int, int]:
    """`fri#2`, `5#2`: the second Friday of the month; `friL`, `5L`: the last."""
    if "#" not in item:
        return _number(WEEKDAY, item[:-1]) % 7, LAST
    day, _, nth = item.partition("#")
    if nth not in ("1", "2", "3", "4", "5"):
        raise _Refused(f"{item!r}: after '#' comes 1 to 5, as in fri#2 for the second Friday, or friL for the last")
    return _number(WEEKDAY, day) % 7, int(nth)


def _span(part: Part, item: str) -> range:
    """`*`, `5`, `1-5`, `*/2`, `1-30/2`, `5/2` (from 5 to the highest)."""
    span, slash, step = item.partition("/")
    low, dash, high = span.partition("-")
    by = _step(part, item, step) if slash else 1
    if span == "*":
        return range(part.low, part.high + (0 if part is WEEKDAY else 1), by)
    first = _number(part, low)
    if dash:
        return range(first, _range_end(part, first, span, high) + 1, by)
    if not slash:
        return range(first, first + 1)
    if part is WEEKDAY:
        raise _Refused(f"{item!r}: a step of weekdays needs a range, since crons differ on its end; e.g. 1-5/2")
    return range(first, part.high + 1, by)


def _range_end(part: Part, first: int, span: str, high: str) -> int:
    last = _number(part, high)
    if part is WEEKDAY and last == 0 and first > 0:
        last = 7
    if last < first:
        raise _Refused(
            f"the range {span!r} ends before it begins; write it as two, "
            f"e.g. {first}-{min(part.high, 6) if part is WEEKDAY else part.high},{part.low}-{last}"
        )
    return last


def _step(part: Part, item: str, text: str) -> int:
    most = 7 if part is WEEKDAY else part.high
    if not (text.isdigit() and 1 <= int(text) <= most):
        raise _Refused(f"{item!r}: a step is a number from 1 to {most}, and starts anew with each {_WITHIN[part]}")
    return int(text)


_WITHIN = {SECOND: "minute", MINUTE: "hour", HOUR: "day", DAY: "month", MONTH: "year", WEEKDAY: "week"}


def _number(part: Part, text: str) -> int:
    if text.lower() in part.names:
        return part.names.index(text.lower()) + part.low
    if text.isdigit() and part.low <= int(text) <= part.high:
        return int(text)
    named = f" or a name from {part.names[0]} to {part.names[-1]}" if part.names else ""
    raise _Refused(f"{text!r} is not a number from {part.low} to {part.high}{named}{_hint(part, text)}")


def _hint(part: Part, text: str) -> str:
    if text == "?":
        return "; write * for any"
    if text in ("L", "l") and part is WEEKDAY:
        return "; write friL for the last Friday of the month"
    if text[:1] in ("H", "h", "R", "r") and part not in (WEEKDAY, MONTH):
        return "; H and R are not taken: spread schedules with jitter="
    if text[-1:] in ("W", "w") and part is DAY:
        return "; the weekday nearest to a day is not taken"
    return ""
