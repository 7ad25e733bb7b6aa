"""What is measured: one row per figure, case and round."""

import json
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """*x* is the case: a number such as 1000 (jobs queued before), or its name."""

    figure: str
    x: float | str
    value: float
    unit: str
    round: int = 1


def rows_of(x: float | str, figures: dict[str, tuple[float, str]]) -> list[Row]:
    """Rows of one case, from figure -> (value, unit)."""
    return [Row(figure=figure, x=x, value=value, unit=unit) for figure, (value, unit) in figures.items()]


def numbered(row: Row, number: int) -> Row:
    """The row, as one of round *number*."""
    return replace(row, round=number)


def write(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Write `{"about": {...}, "rows": [...]}`."""
    document = {"about": about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What one has to know of the machine to read the numbers; no names and no paths."""
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}


def medians(rows: Iterable[Row]) -> dict[str, dict[float | str, tuple[float, str]]]:
    """Figure -> case -> (median over rounds, unit), in the order of the rows."""
    values: dict[str, dict[float | str, list[Row]]] = {}
    for row in rows:
        values.setdefault(row.figure, {}).setdefault(row.x, []).append(row)
    return {
        figure: {x: (statistics.median(row.value for row in same), same[0].unit) for x, same in cases.items()}
        for figure, cases in values.items()
    }


def show(rows: Sequence[Row]) -> None:
    """Print a table for each group of figures that have the same cases."""
    tables: dict[tuple[str, tuple[float | str, ...]], list[tuple[str, dict[float | str, tuple[float, str]]]]] = {}
    for figure, cases in medians(rows).items():
        tables.setdefault((figure.partition("_")[0], tuple(cases)), []).append((figure, cases))
    console = Console(width=200)
    for (title, xs), figures in tables.items():
        table = Table("figure", "unit", *(f"{x:,}" if isinstance(x, int | float) else x for x in xs), title=title)
        for figure, cases in figures:
            unit = next(iter(cases.values()))[1]
            table.add_row(
                figure, unit, *(f"{cases[x][0]:,.4g}" if cases[x][0] < 1000 else f"{cases[x][0]:,.0f}" for x in xs)
            )
        console.print(table)
