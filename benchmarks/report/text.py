"""Numbers and cells as they are printed."""

import re
from collections.abc import Sequence

from benchmarks.report.measured import Spread

_PATH = re.compile(r"(?:[A-Z]:)?(?:[\\/][\w.+@-]+){2,}[\\/]?")
_URL = re.compile(r"\b\w+://\S+")
_LONGEST = 200
_THOUSAND = 10_000


def number(value: float | None) -> str:
    """Two to four digits that count: 12.3 k, 4 567, 89.1, 0.52, 0.0067; a dash for what is not known."""
    if value is None:
        return "–"
    if abs(value) >= _THOUSAND:
        thousands = value / 1000
        return f"{thousands:.0f} k" if abs(thousands) >= 100 else f"{thousands:.1f} k"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    for limit, places in ((100, 0), (10, 1)):
        if abs(value) >= limit:
            return f"{value:.{places}f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def times(spread: Spread | None) -> str:
    """A ratio with its least and most: 1.23 × (1.10–1.31)."""
    if spread is None:
        return "–"
    if spread.rounds == 1:
        return f"{number(spread.median)} ×"
    return f"{number(spread.median)} × ({number(spread.least)}–{number(spread.most)})"


def plain(message: str) -> str:
    """An error on one short line, without paths and addresses of the machine it came from."""
    line = " ".join(_PATH.sub("…", _URL.sub("…", message)).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """A Markdown table; all but the first *left* columns stand to the right."""
    marks = ["---"] * left + ["--:"] * (len(head) - left)
    return [_line(head), _line(marks), *(_line(row) for row in rows), ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
