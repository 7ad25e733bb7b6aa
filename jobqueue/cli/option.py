"""Options that several commands share, and how their values are read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from jobqueue.cli.output import Form
from jobqueue.clock import parse_duration

_Command = TypeVar("_Command", bound=Callable[..., Any])


def duration(text: str) -> timedelta:
    """`500ms`, `30s`, `5m`, `1h`, `1h30m`, `2d`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def instant(text: str) -> datetime:
    """An ISO 8601 date and time with its offset: the worker may be elsewhere than this shell."""
    found = any_time(text)
    if found.tzinfo is None:
        raise click.BadParameter(f"{text!r} does not say where it is so late; add Z or an offset such as +02:00")
    return found.astimezone(UTC)


def any_time(text: str) -> datetime:
    """An ISO 8601 date and time, with an offset or without."""
    try:
        found = datetime.fromisoformat(text)
        found.astimezone(UTC)
        return found
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is not a time; write e.g. 2026-12-25T09:00:00+01:00") from error


def past(text: str) -> datetime:
    """An instant, by this machine's clock when it has no offset, or how long ago."""
    try:
        return datetime.now(UTC) - parse_duration(text)
    except (ValueError, OverflowError):
        return any_time(text).astimezone(UTC)


def app_option(command: _Command) -> _Command:
    """`-A module:registry`."""
    return click.option(
        "-A",
        "--app",
        metavar="MODULE:REGISTRY",
        help="Where your tasks are; else JOBQUEUE_APP, else [tool.jobqueue] app in pyproject.toml.",
    )(command)


def probe_option(command: _Command) -> _Command:
    """`--probe-port`."""
    return click.option(
        "--probe-port",
        type=click.IntRange(0, 65_535),
        help="Serve /health, /ready and /metrics here; 0 takes a free port. Else JOBQUEUE_PROBE_PORT, else none.",
    )(command)


def output_option(command: _Command) -> _Command:
    """`-o table|json|jsonl`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice([each.value for each in Form]),
        default=Form.TABLE.value,
        show_default=True,
        callback=lambda _ctx, _param, value: Form(value),
        help="How to print.",
    )(command)


def yes_option(command: _Command) -> _Command:
    """`--yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless *yes*; anything but yes aborts. Where nobody can answer, say which flag to give."""
    if yes:
        return
    try:
        answer = click.confirm(question, err=True)
    except click.Abort:
        raise click.ClickException("nobody answered, nothing was done; give --yes to do it without asking") from None
    if not answer:
        raise click.Abort
