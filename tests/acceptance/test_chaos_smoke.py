"""The chaos checker from end to end, at its smallest: real servers, a crew of five, ten seconds of faults."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from testutil.chaos.profile import PROFILES, small
from testutil.chaos.run import run

FEW = replace(small(PROFILES["valkey"]), workers=2, producers=1, rate=40, links=1)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_ten_seconds_of_faults_leave_nothing_lost_stuck_or_unexplained(tmp_path: Path) -> None:
    report = await run(FEW, seed=3, seconds=10, folder=tmp_path, command="the command")
    report.write(tmp_path)

    assert report.ok, f"{report.line}\n" + "\n".join(report.details)
    assert report.measures["jobs"] > 100
    assert report.measures["ticks_fired"] > 10
    assert sum(fault["took"] for fault in report.faults) >= 2
    assert json.loads((tmp_path / "report.json").read_text())["line"] == report.line
    assert (tmp_path / "report.txt").read_text().startswith("CLEAN valkey seed=3 ")
    page = Page((tmp_path / "report.html").read_text())
    assert page.bars == len(report.faults)
    assert page.curves == 4
    assert not page.loaded


class Page(HTMLParser):
    """What the report's page shows: bars of faults, curves, and what it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.bars = self.curves = 0
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.bars += tag == "rect"
        self.curves += tag == "polyline"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
