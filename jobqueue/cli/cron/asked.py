"""What somebody asks about schedules: times, expressions that the shell took apart, and errors in words of options."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

import click

from jobqueue.cli.option import any_time
from jobqueue.cron.zone import Zone
from jobqueue.errors import InvalidSchedule

_OPTIONS: Final = {
    "when seconds=True is given": "with --seconds",
    "with seconds=True": "with --seconds",
    "with timezone=": "with --timezone",
    "with jitter=": "with --jitter",
    "max_catchup must": "--max-catchup must",
    "grace must": "--grace must",
    "jitter must": "--jitter must",
    "until must": "--to must",
}


class Quoted(click.Command):
    """A command that takes an expression: of one that was not quoted, the shell makes many arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is left over, without its names: they are those of files."""
        ctx.allow_extra_args = True
        left = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            raise click.UsageError("more arguments than it takes; quote the expression, e.g. '*/5 * * * *', and JSON")
        return left


@contextmanager
def in_options() -> Iterator[None]:
    """Let errors name the options of the command line, not the parameters of Python."""
    try:
        yield
    except InvalidSchedule as error:
        words = str(error)
        for parameter, option in _OPTIONS.items():
            words = words.replace(parameter, option)
        raise InvalidSchedule(words) from error


def moment(text: str) -> date:
    """A date, or a date and time with or without an offset. Without one it is of a zone that is known later."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return any_time(text)


def instant_in(option: str, asked: date, timezone: str) -> datetime:
    """The instant that was asked for in *option*: by its own offset, else by the clock there.

    A date is the beginning of that day. A time that the clock there skips or says twice is refused.
    """
    if isinstance(asked, datetime) and asked.tzinfo is not None:
        return asked.astimezone(UTC)
    zone = Zone(timezone)
    try:
        found = zone.instants(asked) if isinstance(asked, datetime) else [_beginning(asked, zone)]
    except OverflowError as error:
        raise click.UsageError(f"{option}: {asked.isoformat()} is too early or too late for a time") from error
    if len(found) != 1:
        comes = "comes twice" if found else "does not exist"
        raise click.UsageError(
            f"{option}: {asked} {comes} in {timezone}, where the clock is set; "
            f"write Z or an offset such as +02:00 behind it"
        )
    return found[0]


def _beginning(day: date, zone: Zone) -> datetime:
    """Where the clock skips midnight, the day begins when it is set."""
    midnight = datetime(day.year, day.month, day.day)
    return (zone.instants(midnight) or [zone.jump(midnight)])[0]
