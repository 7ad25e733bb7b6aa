"""What callers of `queue.schedules` gave, checked before anything is done."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from jobqueue.errors import ConfigError
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import Schedule
from jobqueue.tick import Decision


def checked_filter(where: object) -> TickFilter:
    """A filter whose *decision* is one of the enum, also where it was given as text.

    Raises:
        ConfigError: there is no such decision.
        TypeError: it is no filter, or one of its instants is not aware.
    """
    if not isinstance(where, TickFilter):
        raise TypeError(f"ticks takes a TickFilter such as TickFilter(name='digest'), got {where!r}")
    for option, instant in (("since", where.since), ("until", where.until)):
        if instant is not None:
            check_instant(option, instant)
    return where if where.decision is None else msgspec.structs.replace(where, decision=_decision(where.decision))


def _decision(value: str) -> Decision:
    try:
        return Decision(value)
    except ValueError as error:
        *others, last = Decision
        raise ConfigError(f"decision must be {', '.join(others)} or {last}, got {value!r}") from error


def check_instant(option: str, instant: object) -> None:
    """Refuse what is no instant.

    Raises:
        TypeError: it is no datetime, or not aware.
    """
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise TypeError(f"{option} must be an aware datetime such as datetime(2026, 1, 1, tzinfo=UTC), got {instant!r}")


def check_whole(option: str, value: object) -> None:
    """Refuse what is no whole number.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} must be a whole number, got {value!r}")


def check_schedule(schedule: object) -> None:
    """Refuse what is no schedule.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(f"a schedule must be a Schedule, such as Schedule.of(...) makes, got {schedule!r}")


def check_schedules(schedules: object) -> None:
    """Refuse what are no schedules, such as the registry that has them.

    Raises:
        TypeError: it is no list of them.
    """
    if not isinstance(schedules, Sequence) or not all(isinstance(each, Schedule) for each in schedules):
        raise TypeError(f"declare takes a list of Schedule, such as registry.schedules, got {schedules!r}")
