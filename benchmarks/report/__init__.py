"""From the results of a run: docs/reference/benchmarks.md and its charts.

    python -m benchmarks.report benchmarks/results.json --scale scale.json --docs docs

Everything on the page is generated; nobody edits it by hand.
"""

from pathlib import Path

from benchmarks.report.measured import Measured, Scaled
from benchmarks.report.page import page

PAGE = Path("reference", "benchmarks.md")
IMAGES = Path("images")


def write(results: Path, scale: Path | None = None, docs: Path = Path("docs")) -> Path:
    """Write the page and the charts; returns the page's path.

    Without *scale*, `scale.json` beside the results is taken if it is there.
    """
    from benchmarks import charts  # noqa: PLC0415 - needs matplotlib; the arithmetic does not

    beside = results.with_name("scale.json")
    if scale is None and beside.exists():
        scale = beside
    measured = Measured.load(results)
    scaled = Scaled.load(scale) if scale is not None else None
    images, target = docs / IMAGES, docs / PAGE
    images.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = charts.draw(measured, scaled, images)
    target.write_text(page(measured, scaled, drawn), encoding="utf-8")
    return target
