"""The schedules that an app defines in code: by name, each with the place where it is defined."""

from datetime import timedelta

import msgspec

from jobqueue.errors import RegistryError
from jobqueue.job import Job
from jobqueue.schedule import Misfire, Overlap, Schedule


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When, and by which rules: what `@registry.cron` was given about ticks."""

    expression: str
    timezone: str
    seconds: bool
    misfire: Misfire | str
    max_catchup: int
    grace: timedelta
    overlap: Overlap | str
    jitter: timedelta

    def schedule(self, name: str, job: Job) -> Schedule:
        """The schedule that makes a job like *job*.

        Raises:
            InvalidSchedule, InvalidJob: something was refused.
        """
        return Schedule.of(
            name,
            self.expression,
            job,
            timezone=self.timezone,
            seconds=self.seconds,
            misfire=self.misfire,
            max_catchup=self.max_catchup,
            grace=self.grace,
            overlap=self.overlap,
            jitter=self.jitter,
        )


class Declarations:
    """Schedules by name. A name is given once."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._places: dict[str, str] = {}

    def add(self, schedule: Schedule, place: str) -> None:
        """Take a schedule in.

        Raises:
            RegistryError: the name is taken; says where.
        """
        self._refuse_second(schedule, place)
        self._schedules[schedule.name] = schedule
        self._places[schedule.name] = place

    def check(self, other: "Declarations") -> None:
        """Refuse *other* if one of its names is taken here.

        Raises:
            RegistryError: says where both are.
        """
        for name, schedule in other._schedules.items():
            self._refuse_second(schedule, other._places[name])

    def include(self, other: "Declarations") -> None:
        """Take over all of *other*, which was checked."""
        self._schedules |= other._schedules
        self._places |= other._places

    def in_order(self) -> list[Schedule]:
        """All of them, by name."""
        return [self._schedules[name] for name in sorted(self._schedules)]

    def _refuse_second(self, schedule: Schedule, place: str) -> None:
        there = self._schedules.get(schedule.name)
        if there is not None:
            raise RegistryError(
                f"schedule {schedule.name!r} is defined twice: {there.expression!r} above "
                f"{self._places[schedule.name]} and {schedule.expression!r} above {place}; give one a name="
            )
