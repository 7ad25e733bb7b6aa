"""A progress bar on stderr; lines now and then where nobody watches, or rich is not installed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import click

from jobqueue.cli.output import is_terminal

_SECONDS_BETWEEN_LINES = 2.0


class Progress(Protocol):
    """Where the progress is shown."""

    def __call__(self, done: int) -> None:
        """So many are done now."""
        ...


@contextmanager
def progress(what: str, total: int, *, things: str) -> Iterator[Progress]:
    """Show how far *what* is, in *things* of *total*, until the context ends."""
    rich = _rich() if is_terminal() else None
    if rich is None:
        yield _Lines(what, total)
        return
    with _bar(rich, things) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._said, self._at = 0, time.monotonic()

    def __call__(self, done: int) -> None:
        ended = done == self._total
        if done != self._said and (ended or time.monotonic() - self._at >= _SECONDS_BETWEEN_LINES):
            self._said, self._at = done, time.monotonic()
            click.echo(f"{self._what}: {done} of {self._total}", err=True)


def _rich() -> Any:
    try:
        return import_module("rich.progress")
    except ImportError:
        return None


def _bar(rich: Any, things: str) -> Any:
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=40),
        rich.MofNCompleteColumn(),
        rich.TextColumn(things),
        rich.TimeElapsedColumn(),
    )
    return rich.Progress(*columns, console=import_module("rich.console").Console(stderr=True))
