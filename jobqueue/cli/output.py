"""How answers are printed: as a table for people, or as JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import click
import msgspec

from jobqueue.clock import format_duration

Record = Mapping[str, Any]


class Form(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def show_all(records: Sequence[Record], form: Form, *, columns: Sequence[str], empty: str = "none") -> None:
    """Print records: *columns* of them as a table, or everything as a JSON array or as JSON lines."""
    match form:
        case Form.JSON:
            click.echo(to_json(list(records), indent=2))
        case Form.JSONL:
            for record in records:
                click.echo(to_json(record))
        case Form.TABLE if records:
            click.echo(table([[record.get(column) for column in columns] for record in records], columns))
        case Form.TABLE:
            click.echo(empty, err=True)


def show_one(record: Record, form: Form) -> None:
    """Print one record: a line per field, or a JSON object."""
    match form:
        case Form.JSON:
            click.echo(to_json(record, indent=2))
        case Form.JSONL:
            click.echo(to_json(record))
        case Form.TABLE:
            readable = {_name(name): _readable(name, value) for name, value in record.items()}
            width = max(map(len, readable), default=0)
            for name, value in readable.items():
                click.echo(f"{click.style(name.ljust(width), bold=True)}  {_paragraph(value, width + 2)}")


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> str:
    """Aligned text with a heading; numbers to the right, and milliseconds as people write durations."""
    cells = [[text(_readable(column, value)) for column, value in zip(columns, row, strict=True)] for row in rows]
    heads = [_name(column).replace("_", " ").upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [all(_is_number(row[n]) for row in rows) for n in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([click.style(line(heads), bold=True), *map(line, cells)])


def text(value: Any) -> str:
    """A value as people read it, on one line, with nothing in it that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in _words(value))


def to_json(value: Any, *, indent: int = 0) -> str:
    """JSON: instants as ISO 8601, what JSON does not know as text."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    return (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def human(ms: float) -> str:
    """A duration to two units at most: `2m41s`, `3.2s`, `312ms`."""
    sign, ms = ("-" if ms < 0 else ""), abs(ms)
    if ms < 1_000:
        return f"{sign}{ms:.3g}ms" if ms < 999.5 else f"{sign}1s"
    if ms < 9_950:
        return f"{sign}{ms / 1_000:.1f}".removesuffix(".0") + "s"
    unit_s = next((unit for over, unit in ((86_400, 3_600), (3_600, 60)) if ms >= over * 1_000), 1)
    return sign + format_duration(timedelta(seconds=round(ms / 1_000 / unit_s) * unit_s))


def _name(column: str) -> str:
    return column.removesuffix("_ms")


def _readable(column: str, value: Any) -> Any:
    return human(value) if column.endswith("_ms") and isinstance(value, int | float) else value


def _words(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone().isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
        case str():
            return value
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case _:
            return to_json(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _paragraph(value: Any, indent: int) -> str:
    """Several lines stay several lines, below each other."""
    if not isinstance(value, str):
        return text(value)
    return ("\n" + " " * indent).join(map(text, value.splitlines() or [""]))


def is_terminal() -> bool:
    """Whether somebody watches stderr, where progress is shown."""
    return sys.stderr.isatty()
